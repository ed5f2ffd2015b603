//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// dumps are what a detector prints on machines that nobody here has: made up, in the
// format of gpustack-runtime's `detect --format json`.
var dumps = []struct {
	node, software, vendor, product string
	memoryMiB                       int
}{
	{"h100", "cuda", "nvidia", "NVIDIA H100 80GB HBM3", 81559},
	{"ascend", "cann", "ascend", "910B2", 65536},
	{"mi300x", "rocm", "amd", "AMD Instinct MI300X OAM", 196592},
}

// dump writes one with eight devices.
func dump(t testing.TB, vendor, product string, memoryMiB int) string {
	return dumpOf(t, 8, vendor, product, memoryMiB)
}

func dumpOf(t testing.TB, devices int, vendor, product string, memoryMiB int) string {
	t.Helper()
	var all []map[string]any
	for i := range devices {
		all = append(all, map[string]any{
			"manufacturer": vendor, "index": i, "name": product, "uuid": fmt.Sprintf("made-up-%d", i), "driver_version": "1.0",
			"memory": memoryMiB, "memory_status": "healthy", "appendix": map[string]any{"bdf": fmt.Sprintf("0000:%02x:00.0", 0x10+i), "numa": fmt.Sprint(i / 4), "physical_id": i},
		})
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), vendor+".json"), string(b))
}

// anyChip sees to it that there is a Runtime for every vendor. Only its variant for
// processors has an image that is there.
func (c *cloud) anyChip(t testing.TB) {
	t.Helper()
	r := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "any-chip"}, Spec: v1alpha1.RuntimeSpec{
		Framework: "probe", Version: "1", Variants: []v1alpha1.RuntimeVariant{{Software: "cpu", Image: probeRepository, Digest: c.probe(t)}},
	}}
	for _, d := range dumps {
		r.Spec.Variants = append(r.Spec.Variants, v1alpha1.RuntimeVariant{Software: d.software, Image: "docker.io/example/" + d.software + ":1"})
	}
	if err := c.api(t).Create(brief(t), r); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// TestOneFileOnAnyChip submits one and the same job file to a cloud that has, in turn,
// accelerators of one vendor or another, and none but its processors.
func TestOneFileOnAnyChip(t *testing.T) {
	c := shared(t)
	c.anyChip(t)
	job := tinyJob("any-chip", 1, nil)
	job.Spec.Runtime = "any-chip"
	job.Spec.Accelerators = v1alpha1.Accelerators{Count: 1, Kinds: []string{"gpu", "npu", "cpu"}}
	dir := file(t, job)
	t.Run("in a sandbox", func(t *testing.T) { c.boxed(t, job.Spec.Accelerators) })
	c.trusted(t, "default")
	for _, d := range dumps {
		t.Run(d.software, func(t *testing.T) {
			c.emulate(t, d.node, dump(t, d.vendor, d.product, d.memoryMiB))
			c.must(t, "train", dir)
			j := c.awaitJob(t, job.Name, "being placed", jobLimit, func(j *v1alpha1.TrainJob) bool {
				return strings.Contains(j.Status.Message, "emulated") && j.Status.Devices != ""
			})
			if want := "on node " + d.node + " (emulated)"; j.Status.Software != d.software || !strings.HasPrefix(j.Status.Devices, "1 x ") || !strings.HasSuffix(j.Status.Devices, want) {
				t.Errorf("software is %q and devices are %q; want %s, and a device %s", j.Status.Software, j.Status.Devices, d.software, want)
			}
			c.marked(t, d.node)
			c.gone(t, job.Name)
		})
	}
	t.Run("cpu", func(t *testing.T) {
		c.must(t, "train", dir)
		c.forget(t, job.Name)
		j := c.awaitJob(t, job.Name, "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
		if j.Status.Software != "cpu" || !strings.Contains(j.Status.Devices, "1 x ") || strings.Contains(j.Status.Devices, "emulated") {
			t.Errorf("software is %q, devices are %q", j.Status.Software, j.Status.Devices)
		}
	})
	t.Run("what no product can give", func(t *testing.T) {
		c.emulate(t, dumps[0].node, dump(t, dumps[0].vendor, dumps[0].product, dumps[0].memoryMiB))
		big := tinyJob("too-much", 1, nil)
		big.Spec.Runtime = "any-chip"
		big.Spec.Accelerators = v1alpha1.Accelerators{Count: 1}
		memory := resource.MustParse("200Gi")
		big.Spec.Accelerators.Memory = &memory
		c.submit(t, big)
		c.awaitJob(t, big.Name, "being told", time.Minute, says("no product in this cluster has 200 GiB"))
		if pods, err := c.workers(brief(t), t, big.Name); err != nil || len(pods) > 0 {
			t.Errorf("%d pods were made, error %v", len(pods), err)
		}
	})
}

// TestDriverConforms judges our driver, on the cloud's own node and on an emulated
// one, by its own suite, and an illness by what becomes of the slice.
func TestDriverConforms(t *testing.T) {
	c := shared(t)
	c.emulate(t, "conform", dump(t, "nvidia", "NVIDIA H100 80GB HBM3", 81559))
	waitFor(t, time.Minute, "the driver publishing", func(context.Context) error {
		out, _, code := c.run("devices", "conformance", "--driver", "accelerator.polder.dev")
		if code != 0 {
			return errors.New(out)
		}
		return nil
	})
	var n corev1.Node
	if err := c.api(t).Get(brief(t), kube.Key("", "conform"), &n); err != nil {
		t.Fatal(err)
	}
	before := n.DeepCopy()
	n.Annotations["polder.dev/emulated-faults"] = "gpu-0000-10-00-0=gpu-lost"
	if err := c.api(t).Patch(brief(t), &n, kube.Changes(before)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the fault being published", func(ctx context.Context) error {
		var list resourcev1.ResourceSliceList
		if err := c.api(t).List(ctx, &list); err != nil {
			return err
		}
		for _, s := range list.Items {
			for _, d := range s.Spec.Devices {
				for _, taint := range d.Taints {
					if *s.Spec.NodeName == "conform" && d.Name == "gpu-0000-10-00-0" && taint.Key == "accelerator.polder.dev/gpu-lost" && taint.Effect == resourcev1.DeviceTaintEffectNoExecute {
						return nil
					}
				}
			}
		}
		return errors.New("no device of the node has the taint")
	})
}

// boxed sees that a job is told when its namespace's sandbox keeps it from the devices
// that would do.
func (c *cloud) boxed(t *testing.T, want v1alpha1.Accelerators) {
	c.emulate(t, dumps[0].node, dump(t, dumps[0].vendor, dumps[0].product, dumps[0].memoryMiB))
	job := tinyJob("boxed", 1, nil)
	job.Spec.Runtime, job.Spec.Accelerators = "any-chip", want
	job.Spec.Accelerators.Kinds = []string{"gpu", "npu"}
	c.submit(t, job)
	c.awaitJob(t, job.Name, "being told", time.Minute, says("works in the sandbox gvisor", "H100", "label the namespace polder.dev/sandbox=runc"))
}

// trusted has a namespace's pods run in no sandbox, until the end of t.
func (c *cloud) trusted(t testing.TB, name string) {
	t.Helper()
	label := func(ctx context.Context, value string) error {
		var ns corev1.Namespace
		if err := c.api(t).Get(ctx, kube.Key("", name), &ns); err != nil {
			return err
		}
		before := ns.DeepCopy()
		if ns.Labels[v1alpha1.LabelSandbox] = value; value == "" {
			delete(ns.Labels, v1alpha1.LabelSandbox)
		}
		return c.api(t).Patch(ctx, &ns, kube.Changes(before))
	}
	if err := label(brief(t), "runc"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := label(ctx, ""); err != nil {
			t.Error(err)
		}
	})
}

// TestPodOnEmulatedNode puts a pod that is no job's on a node that does not exist: it
// is told, and goes when it is removed.
func TestPodOnEmulatedNode(t *testing.T) {
	c := shared(t)
	c.probe(t)
	c.emulate(t, "nowhere", dump(t, "nvidia", "NVIDIA H100 80GB HBM3", 81559))
	p := probePod("default", "nowhere", "look")
	p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "nowhere"}
	p.Spec.Tolerations = []corev1.Toleration{{Key: v1alpha1.LabelEmulated, Operator: corev1.TolerationOpExists}}
	if err := c.api(t).Create(brief(t), p); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the pod being told", func(ctx context.Context) error {
		if err := c.api(t).Get(ctx, kube.Key("default", p.Name), p); err != nil {
			return err
		}
		for _, cond := range p.Status.Conditions {
			if string(cond.Type) == v1alpha1.LabelEmulated && strings.Contains(cond.Message, "nothing runs here") {
				return nil
			}
		}
		return fmt.Errorf("conditions are %+v", p.Status.Conditions)
	})
	if err := c.api(t).Delete(brief(t), p); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the pod being gone", func(ctx context.Context) error {
		if err := c.api(t).Get(ctx, kube.Key("default", p.Name), p); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there (%v)", err)
		}
		return nil
	})
}

// TestPartsOfEmulatedDevices: two jobs for which a part will do get the smallest parts that
// do, of one device, and a third for which none will finds the other device whole.
func TestPartsOfEmulatedDevices(t *testing.T) {
	c := shared(t)
	c.anyChip(t)
	c.trusted(t, "default")
	c.emulate(t, "parts", dumpOf(t, 2, "nvidia", "NVIDIA H100 80GB HBM3", 81559))
	memory := resource.MustParse("9Gi")
	for i, share := range []bool{true, true, false} {
		j := tinyJob(fmt.Sprint("parts-", i), 1, nil)
		j.Spec.Runtime, j.Spec.Accelerators = "any-chip", v1alpha1.Accelerators{Count: 1, Kinds: []string{"gpu"}, Memory: &memory, Share: share}
		c.submit(t, j)
		c.awaitJob(t, j.Name, "being placed", jobLimit, func(j *v1alpha1.TrainJob) bool { return j.Status.Devices != "" })
	}
	var claims resourcev1.ResourceClaimList
	if err := c.api(t).List(brief(t), &claims); err != nil {
		t.Fatal(err)
	}
	var given []string
	for _, claim := range claims.Items {
		if claim.Status.Allocation == nil {
			continue
		}
		for _, r := range claim.Status.Allocation.Devices.Results {
			if r.Pool == "parts" {
				given = append(given, r.Device)
			}
		}
	}
	slices.Sort(given)
	const first, second = "gpu-0000-10-00-0", "gpu-0000-11-00-0"
	if want := []string{first + "-1g-10gb-0", first + "-1g-10gb-1", second}; !slices.Equal(given, want) {
		t.Errorf("given are %q, want %q", given, want)
	}
}

// emulate adds a node that does not exist, until the end of t.
func (c *cloud) emulate(t testing.TB, name, dump string) {
	t.Helper()
	c.must(t, "node", "add", "--emulate", dump, "--name", name)
	t.Cleanup(func() { c.unemulate(t, name) })
	waitFor(t, time.Minute, "node "+name+" being ready", func(ctx context.Context) error {
		var n corev1.Node
		if err := c.api(t).Get(ctx, kube.Key("", name), &n); err != nil {
			return err
		}
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions are %+v", n.Status.Conditions)
	})
}

// unemulate removes a node, and returns when its devices are gone, too, which the garbage
// collector sees to: until then they are listed.
func (c *cloud) unemulate(t testing.TB, name string) {
	if out, errs, code := c.run("node", "rm", name); code != 0 {
		t.Errorf("removing node %s: %s%s", name, out, errs)
		return
	}
	api := c.api(t)
	err := awaited(context.Background(), time.Minute, "the end of the devices of node "+name, func(ctx context.Context) error {
		var list resourcev1.ResourceSliceList
		if err := api.List(ctx, &list); err != nil {
			return err
		}
		for _, s := range list.Items {
			if s.Spec.Pool.Name == name {
				return fmt.Errorf("slice %s is there", s.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// marked sees that nothing of an emulated node passes for real.
func (c *cloud) marked(t testing.TB, node string) {
	t.Helper()
	var list []struct {
		Node   string
		Device struct {
			Emulated bool
			Form     string
		}
	}
	if err := json.Unmarshal([]byte(c.must(t, "devices", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, d := range list {
		if (d.Node == node) != d.Device.Emulated {
			t.Errorf("a device of node %s has emulated %v", d.Node, d.Device.Emulated)
		}
		if d.Node == node && d.Device.Form == "pf" {
			count++
		}
	}
	if count != 8 {
		t.Errorf("node %s has %d whole devices, not 8", node, count)
	}
	for _, args := range [][]string{{"devices"}, {"devices", "-o", "wide"}} {
		if out := c.must(t, args...); !strings.Contains(out, "emulated") {
			t.Errorf("%s does not say emulated:\n%s", strings.Join(args, " "), out)
		}
	}
}

// gone removes a job and waits until its pods are gone, too.
func (c *cloud) gone(t testing.TB, name string) {
	t.Helper()
	j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := c.api(t).Delete(brief(t), j); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "job "+name+" and its pods being gone", func(ctx context.Context) error {
		if _, err := c.job(ctx, t, name); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the job is there (%v)", err)
		}
		pods, err := c.workers(ctx, t, name)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d pods are there", len(pods))
		}
		return err
	})
}
