//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// driverImage is where the test puts the driver's image.
const driverImage = "polder/device-driver:test"

// TestDriverInPods has a cloud whose own driver of devices is off, as a cluster is that
// somebody else made, and runs the driver in a DaemonSet there.
func TestDriverInPods(t *testing.T) {
	c := own(t, "pods")
	config := write(t, filepath.Join(t.TempDir(), "cloud.yaml"), "node: {deviceDriver: false}\n")
	c.must(t, "up", "--config", config)
	if out := c.must(t, "devices", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Fatalf("devices are published before there is a driver: %s", out)
	}
	c.must(t, "image", "push", driverFiles(t), driverImage)
	manifest := c.must(t, "device-driver", "manifest", "--image", v1alpha1.RegistryHost+"/"+driverImage,
		"--kubelet-dir", c.Path("kubelet"), "--cdi-dir", c.CDI(), "--state-dir", c.Run("devices"))
	c.apply(t, manifest)
	published := func(context.Context) error {
		out, errs, code := c.run("devices", "conformance", "--driver", "accelerator.polder.dev")
		if code != 0 {
			return errors.New(out + errs + c.driverSays(t))
		}
		return nil
	}
	waitFor(t, podLimit, "the driver publishing", published)
	t.Run("a job gets its devices", func(t *testing.T) {
		c.anyChip(t)
		job := tinyJob("in-pods", 1, nil)
		job.Spec.Runtime = "any-chip"
		job.Spec.Accelerators = v1alpha1.Accelerators{Count: 1, Kinds: []string{"cpu"}}
		c.submit(t, job)
		j := c.awaitJob(t, job.Name, "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
		if !strings.HasPrefix(j.Status.Devices, "1 x ") {
			t.Errorf("devices are %q", j.Status.Devices)
		}
	})
	t.Run("a pod's end is not the devices'", func(t *testing.T) {
		before := c.driverPod(t)
		if err := c.api(t).Delete(brief(t), before); err != nil {
			t.Fatal(err)
		}
		waitFor(t, podLimit, "another pod of the driver", func(context.Context) error {
			if p := c.driverPod(t); p == nil || p.UID == before.UID {
				return errors.New("there is none")
			}
			return published(t.Context())
		})
	})
	t.Run("it publishes for no other node", func(t *testing.T) { c.confinedDriver(t) })
	t.Run("another scheduler gives them out", func(t *testing.T) { c.secondScheduler(t, driverImage) })
}

// driverFiles is a directory with the program, which becomes the image's.
func driverFiles(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	in, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "polder"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// apply creates what a manifest has and the cloud has not.
func (c *cloud) apply(t testing.TB, manifest string) {
	t.Helper()
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifest), 4<<10)
	for {
		var o unstructured.Unstructured
		err := docs.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.api(t).Create(brief(t), &o); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// driverPod is the driver's pod, nil if there is none that is not going.
func (c *cloud) driverPod(t testing.TB) *corev1.Pod {
	var list corev1.PodList
	if err := c.api(t).List(brief(t), &list, kube.InNamespace("polder-system"), kube.Labelled(map[string]string{"app.kubernetes.io/name": "device-driver"})); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			return &list.Items[i]
		}
	}
	return nil
}

// driverSays is what the driver's pod has logged last, and what is known of it.
func (c *cloud) driverSays(t testing.TB) string {
	var set appsv1.DaemonSet
	if err := c.api(t).Get(brief(t), kube.Key("polder-system", "device-driver"), &set); err != nil {
		return err.Error()
	}
	p := c.driverPod(t)
	if p == nil {
		return fmt.Sprintf("the driver has no pod; its set is %+v", set.Status)
	}
	text, err := c.log(brief(t), t, p)
	return fmt.Sprintf("pod %s: %+v, %v\n%s", p.Name, p.Status.ContainerStatuses, err, text)
}

// confinedDriver writes slices as the driver's pod on a node would.
func (c *cloud) confinedDriver(t *testing.T) {
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	there := s.Node
	for _, as := range []struct {
		node, driver string
		allowed      bool
	}{{there, "accelerator.polder.dev", true}, {"another", "accelerator.polder.dev", false}, {"", "accelerator.polder.dev", false}, {there, "gpu.nvidia.com", false}} {
		who := c.asDriver(t, as.node)
		slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{GenerateName: "confined-"}, Spec: resourcev1.ResourceSliceSpec{
			Driver: as.driver, NodeName: &there, Pool: resourcev1.ResourcePool{Name: "confined", ResourceSliceCount: 1}}}
		err := who.Create(brief(t), slice, kube.DryRun())
		if as.allowed != (err == nil) || err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
			t.Errorf("a slice of driver %q for node %q, by the driver on node %q: %v", as.driver, there, as.node, err)
		}
	}
	if err := c.asDriver(t, there).List(brief(t), &corev1.SecretList{}); !apierrors.IsForbidden(err) {
		t.Errorf("the driver may read secrets: %v", err)
	}
}

// asDriver is a client that the API server takes for the driver's pod on a node.
func (c *cloud) asDriver(t testing.TB, node string) *kube.Client {
	t.Helper()
	who := map[string]any{
		"as": "system:serviceaccount:polder-system:device-driver", "as-groups": []string{"system:serviceaccounts", "system:serviceaccounts:polder-system", "system:authenticated"},
	}
	if node != "" {
		who["as-user-extra"] = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	k, err := kube.Open(c.kubeconfigAs(t, who))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// kubeconfigAs is the administrator's, who acts as somebody else.
func (c *cloud) kubeconfigAs(t testing.TB, who map[string]any) string {
	t.Helper()
	b, err := os.ReadFile(c.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := sigsyaml.Unmarshal(b, &cfg); err != nil {
		t.Fatal(err)
	}
	user := cfg["users"].([]any)[0].(map[string]any)["user"].(map[string]any)
	maps.Copy(user, who)
	if b, err = sigsyaml.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), "kubeconfig"), string(b))
}
