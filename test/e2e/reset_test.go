//go:build e2e

package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// TestReset removes a cloud with pods in it, after a normal life and after a
// sudden death, and compares the machine with what it was before.
func TestReset(t *testing.T) {
	c := own(t, "reset")
	for _, way := range []struct {
		name string
		end  func(t *testing.T)
	}{
		{"of a cloud that is up", func(*testing.T) {}},
		{"after kill -9 of the supervisor", func(t *testing.T) {
			s, err := c.status()
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}},
		{"after kill -9 of everything", func(t *testing.T) { c.killAll(t) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			before, err := snapshot(c)
			if err != nil {
				t.Fatal(err)
			}
			c.client = nil // each life has authorities of its own
			c.up(t)
			occupy(t, c)
			during, err := snapshot(c)
			if err != nil {
				t.Fatal(err)
			}
			if found := left(c, before, during); len(found) < 20 {
				t.Fatalf("a cloud with pods shows in only %d things, so that a comparison shows nothing: %q", len(found), found)
			}
			way.end(t)
			c.must(t, "reset", "--yes")
			after, err := snapshot(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range left(c, before, after) {
				t.Error(l)
			}
			for _, d := range []string{c.Dir, c.Run(), c.NetnsPath()} {
				if _, err := os.Lstat(d); err == nil {
					t.Errorf("%s is there", d)
				}
			}
			if out := c.must(t, "reset", "--yes"); !strings.Contains(out, "is removed") {
				t.Errorf("a second reset says %q", out)
			}
		})
	}
}

// occupy starts pods of both kinds, with a volume.
func occupy(t *testing.T, c *cloud) {
	c.probe(t)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "boxed", Name: "claim"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("16Mi")}},
	}}
	for name, labels := range map[string]map[string]string{"boxed": nil, "plain": {v1alpha1.LabelSandbox: "runc"}} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if err := c.api(t).Create(brief(t), ns); err != nil {
			t.Fatal(err)
		}
		c.account(t, name)
	}
	if err := c.api(t).Create(brief(t), claim); err != nil {
		t.Fatal(err)
	}
	boxed := probePod("boxed", "server", "serve", "8080", "x")
	boxed.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"},
	}}}
	first(boxed).VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	boxed.Spec.AutomountServiceAccountToken = nil // a token is a mount, too
	c.start(t, boxed)
	c.start(t, probePod("plain", "server", "serve", "8080", "x"))
}
