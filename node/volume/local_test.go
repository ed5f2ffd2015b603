package volume

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
	"sigs.k8s.io/yaml"
)

const uid = types.UID("11111111-2222-3333-4444-555555555555")

func class(t *testing.T) *storagev1.StorageClass {
	t.Helper()
	var c storagev1.StorageClass
	if err := yaml.UnmarshalStrict(Manifest, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func claim(size string) *corev1.PersistentVolumeClaim {
	name := Class
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "run", UID: uid, Annotations: map[string]string{
			annotationSelected: "one", "volume.kubernetes.io/storage-provisioner": Provisioner,
		}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &name,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}

func newLocal(t *testing.T) (*Local, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(class(t), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: map[string]string{corev1.LabelHostname: "host-one"}}})
	l, err := New(slog.New(slog.DiscardHandler), client, Config{Dir: filepath.Join(t.TempDir(), "volumes"), Node: "one"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	l.free = func(string) (int64, error) { return 10 << 30, nil }
	return l, client
}

// made provisions the volume of a claim and binds the two.
func made(t *testing.T, l *Local, client *fake.Clientset, c *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	t.Helper()
	pv, _, err := l.Provision(t.Context(), controller.ProvisionOptions{StorageClass: class(t), PVName: "pvc-" + string(c.UID), PVC: c, SelectedNodeName: "one"})
	if err != nil {
		t.Fatal(err)
	}
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: c.Namespace, Name: c.Name, UID: c.UID}
	if _, err := client.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Spec.VolumeName, c.Status.Phase = pv.Name, corev1.ClaimBound
	return pv
}

func TestProvision(t *testing.T) {
	l, _ := newLocal(t)
	o := controller.ProvisionOptions{StorageClass: class(t), PVName: "pvc-1", PVC: claim("2Gi"), SelectedNodeName: "one"}
	for range 2 { // twice is once
		pv, state, err := l.Provision(t.Context(), o)
		if err != nil || state != controller.ProvisioningFinished {
			t.Fatalf("Provision = %s, %v", state, err)
		}
		if got := pv.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0]; got != "host-one" {
			t.Errorf("affinity is to host %s", got)
		}
		info, err := os.Stat(pv.Spec.Local.Path)
		if err != nil || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o770 {
			t.Errorf("directory = %v, %v; want 2770", info, err)
		}
		if q := pv.Spec.Capacity[corev1.ResourceStorage]; q.String() != "2Gi" || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			t.Errorf("volume = %+v", pv.Spec)
		}
	}
}

func TestProvisionRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*controller.ProvisionOptions)
		says   string
	}{
		"a disk too small":  {func(o *controller.ProvisionOptions) { o.PVC = claim("11Gi") }, "node one has 10.0 GiB free, less than the 11.0 GiB asked for"},
		"many nodes":        {func(o *controller.ProvisionOptions) { o.PVC.Spec.AccessModes[0] = corev1.ReadWriteMany }, "spec.accessModes ReadWriteMany"},
		"a selector":        {func(o *controller.ProvisionOptions) { o.PVC.Spec.Selector = &metav1.LabelSelector{} }, "spec.selector"},
		"another node":      {func(o *controller.ProvisionOptions) { o.SelectedNodeName = "two" }, `node "two" was selected`},
		"a climbing name":   {func(o *controller.ProvisionOptions) { o.PVName = "../x" }, "is not a name"},
		"a file in the way": {func(o *controller.ProvisionOptions) { o.PVName = "file" }, "is in the way"},
		"a link in the way": {func(o *controller.ProvisionOptions) { o.PVName = "link" }, "is in the way"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, _ := newLocal(t)
			other := t.TempDir()
			if err := errors.Join(os.WriteFile(filepath.Join(l.dir, "file"), nil, 0o600), os.Symlink(other, filepath.Join(l.dir, "link"))); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadDir(l.dir)
			o := controller.ProvisionOptions{StorageClass: class(t), PVName: "pvc-1", PVC: claim("2Gi"), SelectedNodeName: "one"}
			tt.change(&o)
			_, _, err := l.Provision(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Provision = %v, want an error that says %q", err, tt.says)
			}
			if after, _ := os.ReadDir(l.dir); len(after) != len(before) {
				t.Errorf("it left something: %v", after)
			}
		})
	}
}

func TestRootStaysInside(t *testing.T) {
	l, client := newLocal(t)
	c := claim("1Gi")
	pv := made(t, l, client, c)
	secret := filepath.Join(l.dir, "secret")
	if err := errors.Join(
		os.WriteFile(secret, []byte("s"), 0o600),
		os.WriteFile(filepath.Join(pv.Spec.Local.Path, "mine"), []byte("m"), 0o600),
		os.Symlink("../secret", filepath.Join(pv.Spec.Local.Path, "relative")),
		os.Symlink(secret, filepath.Join(pv.Spec.Local.Path, "absolute")),
		os.Symlink("/etc", filepath.Join(pv.Spec.Local.Path, "output")),
	); err != nil {
		t.Fatal(err)
	}
	root, err := l.Root(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if b, err := root.ReadFile("mine"); string(b) != "m" {
		t.Errorf("mine = %q, %v", b, err)
	}
	for _, name := range []string{"relative", "absolute", "../secret", "output/passwd"} {
		if b, err := root.ReadFile(name); err == nil {
			t.Errorf("%s reads %q from outside", name, b)
		}
	}
	if _, err := root.OpenRoot("output"); err == nil {
		t.Error("a link to /etc opens as a directory of the volume")
	}
}

func TestRootRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(l *Local, c *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume)
		says   string
	}{
		"an unbound claim": {func(_ *Local, c *corev1.PersistentVolumeClaim, _ *corev1.PersistentVolume) {
			c.Status.Phase = corev1.ClaimPending
		}, "not bound"},
		"another's volume": {func(_ *Local, c *corev1.PersistentVolumeClaim, _ *corev1.PersistentVolume) { c.UID = "other" }, "does not belong to claim"},
		"another's provisioner": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			pv.Annotations[annotationProvisioner] = "x"
		}, "was not made by"},
		"another node's": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			pv.Annotations[annotationNode] = "two"
		}, `is on node "two"`},
		"another type": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) { pv.Spec.Local = nil }, "not of type local"},
		"a path outside": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			pv.Spec.Local.Path = "/etc"
		}, "is at /etc"},
		"a path of another": {func(l *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			pv.Spec.Local.Path = l.dir + "/x"
		}, "not in"},
		"a missing directory": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			os.Remove(pv.Spec.Local.Path)
		}, "no such file"},
		"a link for a directory": {func(_ *Local, _ *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) {
			os.Remove(pv.Spec.Local.Path)
			os.Symlink(".", pv.Spec.Local.Path)
		}, "not a directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, client := newLocal(t)
			c := claim("1Gi")
			pv := made(t, l, client, c)
			tt.change(l, c, pv)
			if _, err := client.CoreV1().PersistentVolumes().Update(t.Context(), pv, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			root, err := l.Root(t.Context(), c)
			if err == nil {
				root.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Root = %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func TestDeleteStaysInside(t *testing.T) {
	l, client := newLocal(t)
	pv := made(t, l, client, claim("1Gi"))
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := errors.Join(
		os.WriteFile(kept, nil, 0o600),
		os.Symlink(outside, filepath.Join(pv.Spec.Local.Path, "link")),
		os.MkdirAll(filepath.Join(pv.Spec.Local.Path, "a", "b"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	bad := pv.DeepCopy()
	bad.Spec.Local.Path = outside
	var ignored *controller.IgnoredError
	if err := l.Delete(t.Context(), bad); !errors.As(err, &ignored) || l.ShouldDelete(t.Context(), bad) {
		t.Errorf("Delete of a path outside = %v, want it ignored", err)
	}
	if err := l.Delete(t.Context(), pv); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(pv.Spec.Local.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file outside went with it: %v", err)
	}
	if err := l.Delete(t.Context(), pv); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
}

// TestRun lives through a claim's life with upstream's controller at work.
func TestRun(t *testing.T) {
	l, client := newLocal(t)
	if err := os.Mkdir(filepath.Join(l.dir, "pvc-orphan"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	c := claim("1Gi")
	if _, err := client.CoreV1().PersistentVolumeClaims("lab").Create(ctx, c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	name := "pvc-" + string(uid)
	var pv *corev1.PersistentVolume
	eventually(t, "a volume is provisioned", func() bool {
		var err error
		pv, err = client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		return err == nil
	})
	c.Spec.VolumeName, c.Status.Phase = name, corev1.ClaimBound
	root, err := l.Root(ctx, c)
	if err != nil {
		t.Fatalf("opening a provisioned volume: %v", err)
	}
	root.Close()
	if err := os.WriteFile(filepath.Join(pv.Spec.Local.Path, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pv.Status.Phase = corev1.VolumeReleased
	if _, err := client.CoreV1().PersistentVolumes().UpdateStatus(ctx, pv, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a released volume is removed", func() bool {
		_, err := os.Lstat(pv.Spec.Local.Path)
		_, gone := client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
		return errors.Is(err, fs.ErrNotExist) && gone != nil
	})
	if _, err := os.Lstat(filepath.Join(l.dir, "pvc-orphan")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an empty directory without a volume is left")
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run = %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Run does not end with its context")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

func TestManifests(t *testing.T) {
	c := class(t)
	if c.Name != Class || c.Provisioner != Provisioner || *c.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer ||
		c.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
		t.Errorf("class = %+v", c)
	}
	role, binding, ok := strings.Cut(string(RBAC), "\n---\n")
	var r rbacv1.ClusterRole
	var b rbacv1.ClusterRoleBinding
	if err := errors.Join(yaml.UnmarshalStrict([]byte(role), &r), yaml.UnmarshalStrict([]byte(binding), &b)); err != nil || !ok {
		t.Fatal(err)
	}
	if b.RoleRef.Name != r.Name || b.Subjects[0].Name != "polder:controllers" {
		t.Errorf("binding = %+v of role %s", b, r.Name)
	}
}
