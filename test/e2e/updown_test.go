//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestUpDownUp stops a cloud and starts it again, in every way that occurs, and
// finds the same objects each time.
func TestUpDownUp(t *testing.T) {
	c := shared(t)
	w := furnish(t, c)

	t.Run("up again is harmless", func(t *testing.T) {
		before, err := c.status()
		if err != nil {
			t.Fatal(err)
		}
		if out := c.must(t, "up"); !strings.Contains(out, "is up already") {
			t.Errorf("polder up says %q", out)
		}
		other := write(t, filepath.Join(t.TempDir(), "other.yaml"), "{logs: {files: 9}}")
		if _, errs, code := c.run("up", "--config="+other); code != 1 || !strings.Contains(errs, "another configuration") {
			t.Errorf("polder up with another configuration: exit code %d, %q", code, errs)
		}
		after, err := c.status()
		if err != nil {
			t.Fatal(err)
		}
		if before.PID != after.PID || fmt.Sprint(before.Components) != fmt.Sprint(after.Components) {
			t.Errorf("the cloud was %+v, is %+v", before, after)
		}
		w.same(t)
	})
	t.Run("down and up", func(t *testing.T) {
		c.must(t, "down")
		if s, err := c.status(); err != nil || s.State != "Down" {
			t.Errorf("after down the cloud is %+v, %v", s, err)
		}
		for _, p := range c.processes() {
			t.Errorf("after down process %d runs: %.100s", p.pid, p.args)
		}
		if _, errs, code := c.run("jobs"); code != 1 || !strings.Contains(errs, "polder status") {
			t.Errorf("polder jobs on a cloud that is down: exit code %d, %q", code, errs)
		}
		c.must(t, "up")
		w.same(t)
	})
	t.Run("containers outlive down --keep-pods", func(t *testing.T) {
		w.keeps(t, func() { c.must(t, "down", "--keep-pods") })
	})
	t.Run("containers outlive kill -9 of the supervisor", func(t *testing.T) {
		w.keeps(t, func() {
			s, err := c.status()
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitFor(t, time.Minute, "the cloud being down", func(context.Context) error {
				s, err := c.status()
				if err == nil && s.State != "Down" {
					err = errors.New(s.State)
				}
				return err
			})
		})
	})
	t.Run("kill -9 of everything", func(t *testing.T) {
		c.killAll(t)
		c.must(t, "up")
		w.same(t)
	})
}

// killAll kills all that belongs to the cloud, containers included, at once.
func (c *cloud) killAll(t testing.TB) {
	t.Helper()
	killed := map[int]bool{}
	waitFor(t, time.Minute, "the end of all processes of the cloud", func(context.Context) error {
		all := c.processes()
		for _, p := range all {
			killed[p.pid] = true
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if len(all) > 0 {
			return fmt.Errorf("%d are left", len(all))
		}
		return nil
	})
	if len(killed) < 12 {
		t.Errorf("only %d processes were killed", len(killed))
	}
}

// furniture is what a cloud must not lose.
type furniture struct {
	c       *cloud
	ns      string
	objects map[string]client.Object
	uids    map[string]string
	images  []string
	data    string
	servers []*corev1.Pod
}

// furnish makes one of each: settings, a secret, a volume with data in it, an
// image, a model, and servers in both kinds of pod.
func furnish(t *testing.T, c *cloud) *furniture {
	c.tiny(t)
	w := &furniture{c: c, ns: c.namespace(t, "kept", nil), data: fmt.Sprintf("written %d", time.Now().UnixNano()), uids: map[string]string{}}
	plain := c.namespace(t, "kept-plain", map[string]string{v1alpha1.LabelSandbox: "runc"})
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: w.ns, Name: name} }
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("claim"), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("16Mi")}},
	}}
	w.objects = map[string]client.Object{
		"settings": &corev1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"a": "b"}},
		"secret":   &corev1.Secret{ObjectMeta: meta("secret"), StringData: map[string]string{"a": "b"}},
		"claim":    claim,
	}
	for _, k := range slices.Sorted(maps.Keys(w.objects)) {
		if err := c.api(t).Create(brief(t), w.objects[k]); err != nil {
			t.Fatal(err)
		}
	}
	const model = "kept-model"
	c.submit(t, tinyJob(model, 1, map[string]string{"epochs": "3"}))
	c.awaitJob(t, model, "its end", jobLimit, inState(v1alpha1.StateSucceeded))
	w.objects["model"] = &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: model}}

	server := probePod(w.ns, "server", "serve", "8080", "boxed")
	server.Spec.RestartPolicy = corev1.RestartPolicyAlways
	server.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"},
	}}}
	first(server).VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	other := probePod(plain, "server", "serve", "8080", "plain")
	other.Spec.RestartPolicy = corev1.RestartPolicyAlways
	w.servers = []*corev1.Pod{c.start(t, server), c.start(t, other)}
	if _, err := c.exec(brief(t), t, w.servers[0], "write", "/data/note", w.data); err != nil {
		t.Fatal(err)
	}
	for i, s := range w.servers {
		w.objects[fmt.Sprint("server", i)] = s
	}
	for k, o := range w.objects {
		if err := c.api(t).Get(brief(t), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		w.uids[k] = string(o.GetUID())
	}
	c.calm(t)
	w.images = images(t, c)
	return w
}

// images lists the cloud's images by repository and digest.
func images(t testing.TB, c *cloud) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(c.must(t, "image", "ls")) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(out)
	return out
}

// same checks that everything is there, the same, and works.
func (w *furniture) same(t *testing.T) {
	t.Helper()
	c := w.c
	if s, err := c.status(); err != nil || s.State != "Up" {
		t.Fatalf("the cloud is %s, %v", s.State, err)
	}
	for _, k := range slices.Sorted(maps.Keys(w.objects)) {
		o := w.objects[k]
		if err := c.api(t).Get(brief(t), client.ObjectKeyFromObject(o), o); err != nil {
			t.Errorf("%s: %v", k, err)
		} else if string(o.GetUID()) != w.uids[k] {
			t.Errorf("%s has uid %s, had %s", k, o.GetUID(), w.uids[k])
		}
	}
	if now := images(t, c); !slices.Equal(now, w.images) {
		t.Errorf("images were %q, are %q", w.images, now)
	}
	c.must(t, "model", "pull", "kept-model", t.TempDir())
	for _, s := range w.servers {
		w.answers(t, s)
	}
	out := ""
	waitFor(t, podLimit, "reading the volume in a pod", func(ctx context.Context) (err error) {
		out, err = c.exec(ctx, t, w.servers[0], "read", "/data/note")
		return err
	})
	if out != w.data {
		t.Errorf("the volume holds %q, held %q", out, w.data)
	}
}

// answers waits until a server answers.
func (w *furniture) answers(t *testing.T, s *corev1.Pod) {
	t.Helper()
	waitFor(t, podLimit, "the answer of "+s.Namespace+"/"+s.Name, func(ctx context.Context) error {
		var now corev1.Pod
		if err := w.c.api(t).Get(ctx, client.ObjectKeyFromObject(s), &now); err != nil {
			return err
		}
		if now.Status.Phase != corev1.PodRunning || len(now.Status.ContainerStatuses) == 0 || !now.Status.ContainerStatuses[0].Ready {
			return w.c.seen(ctx, t, &now)
		}
		return w.c.knock(ctx, now.Status.PodIP)
	})
}

// knock asks a server in a pod as the node does, which needs no API and is let in
// by every policy.
func (c *cloud) knock(ctx context.Context, ip string) error {
	dir, err := probeDir()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ip", "netns", "exec", c.Netns(), filepath.Join(dir, "probe"), "get", "http://"+ip+":8080").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// keeps has the cloud stopped, sees that the servers go on without it, starts it
// again, and finds the same containers.
func (w *furniture) keeps(t *testing.T, stop func()) {
	type life struct {
		id       string
		since    metav1.Time
		restarts int32
	}
	lives := func() (out []life, ips []string) {
		for _, s := range w.servers {
			w.answers(t, s)
			var p corev1.Pod
			if err := w.c.api(t).Get(brief(t), kube.Key(s.Namespace, s.Name), &p); err != nil {
				t.Fatal(err)
			}
			cs := p.Status.ContainerStatuses[0]
			if cs.State.Running == nil {
				t.Fatalf("%s/%s does not run: %+v", s.Namespace, s.Name, cs.State)
			}
			out, ips = append(out, life{cs.ContainerID, cs.State.Running.StartedAt, cs.RestartCount}), append(ips, p.Status.PodIP)
		}
		return out, ips
	}
	before, ips := lives()
	stop()
	for i, ip := range ips {
		waitFor(t, time.Minute, fmt.Sprintf("an answer of server %d without the cloud", i), func(ctx context.Context) error { return w.c.knock(ctx, ip) })
	}
	w.c.must(t, "up")
	w.same(t)
	after, _ := lives()
	for i := range before {
		if fmt.Sprint(before[i]) != fmt.Sprint(after[i]) {
			t.Errorf("the container of server %d was %v, is %v", i, before[i], after[i])
		}
	}
}
