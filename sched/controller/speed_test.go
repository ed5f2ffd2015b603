package controller

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// mixed is a machine with one GPU and one NPU, a runtime for both, and a queue that has
// both.
func mixed() []client.Object {
	name := "m"
	slice := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceSliceSpec{
		Driver: profile.Domain, NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, Generation: 1, ResourceSliceCount: 1}}}
	for _, d := range []device.Device{
		{Name: "gpu-0", Vendor: "nvidia", Kind: device.GPU, Product: "H100", Memory: 80 << 30, Software: "cuda", Form: device.Whole},
		{Name: "npu-0", Vendor: "huawei", Kind: device.NPU, Product: "910B2", Memory: 64 << 30, Software: "cann", Form: device.Whole},
	} {
		slice.Spec.Devices = append(slice.Spec.Devices, profile.Publish(&d))
	}
	npus := gpus("8")
	npus.Kind = "npu"
	root := q("lab", "", gpus("8"), npus)
	root.Spec.Namespaces = []string{"lab"}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}, root, slice,
		&v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "pytorch"}, Spec: v1alpha1.RuntimeSpec{Variants: []v1alpha1.RuntimeVariant{{Software: "cuda"}, {Software: "cann"}}}},
	}
}

// runs is a job of a program, for either kind.
func runs(name, program string) *v1alpha1.TrainJob {
	j := train(name, "lab", 1)
	j.Spec.Accelerators.Kinds = nil
	j.Spec.Code.Image = "code/lab/" + program + "@sha256:" + name
	return j
}

// ran is one that has ended, and was so fast.
func ran(program, software string, speed float64) *v1alpha1.TrainJob {
	j := runs(program+"-"+software, program)
	at := metav1.NewTime(began.Add(-time.Hour))
	j.UID, j.Status = "of-"+j.UID, v1alpha1.TrainJobStatus{State: v1alpha1.StateSucceeded, StartTime: &at, Software: software,
		Progress: &v1alpha1.Progress{Metrics: map[string]string{"images_per_s": fmt.Sprint(speed)}}}
	return j
}

// TestWhoGainsMostIsGivenTheFastKind: one is 4 times as fast on the GPU, the other 1.1
// times.
func TestWhoGainsMostIsGivenTheFastKind(t *testing.T) {
	known := []*v1alpha1.TrainJob{ran("little", "cuda", 11), ran("little", "cann", 10), ran("much", "cuda", 400), ran("much", "cann", 100)}
	for name, c := range map[string]struct {
		known []*v1alpha1.TrainJob
		first string
		want  map[string]string
	}{
		"measured":                           {known, "little", map[string]string{"little": "cann", "much": "cuda"}},
		"measured, the other first":          {known, "much", map[string]string{"little": "cann", "much": "cuda"}},
		"nothing is known":                   {nil, "little", map[string]string{"little": "cuda", "much": "cann"}},
		"nothing is known of one of them":    {known[2:], "little", map[string]string{"little": "cuda", "much": "cann"}},
		"one is known not to gain":           {[]*v1alpha1.TrainJob{ran("little", "cuda", 10), ran("little", "cann", 11)}, "little", map[string]string{"little": "cann", "much": "cuda"}},
		"only one kind was tried":            {known[:1], "little", map[string]string{"little": "cuda", "much": "cann"}},
		"it was no speed that was reported":  {[]*v1alpha1.TrainJob{ran("much", "cuda", 0), ran("much", "cann", 5)}, "little", map[string]string{"little": "cuda", "much": "cann"}},
		"another number of workers was fast": {[]*v1alpha1.TrainJob{wider(ran("little", "cuda", 1)), wider(ran("little", "cann", 9))}, "little", map[string]string{"little": "cuda", "much": "cann"}},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCloud(t, mixed()...)
			for _, j := range c.known {
				cl.must(cl.client.Create(t.Context(), j.DeepCopy()))
				cl.must(cl.client.Status().Update(t.Context(), func() *v1alpha1.TrainJob {
					k := cl.job(j.Name)
					k.Status = *j.Status.DeepCopy()
					return k
				}()))
			}
			other := map[string]string{"little": "much", "much": "little"}[c.first]
			cl.submit(runs(c.first, c.first), runs(other, other))
			cl.look()
			for name, want := range c.want {
				cl.stands(name, true, reasonAdmitted, "")
				if got := cl.job(name).Status.Queue; got.Software != want {
					t.Errorf("%s runs with %s, want %s", name, got.Software, want)
				}
			}
		})
	}
}

func wider(j *v1alpha1.TrainJob) *v1alpha1.TrainJob {
	j.Spec.Workers = 2
	return j
}

// TestWhatHasRunKeepsItsSoftware, however fast others were: its checkpoints are of that.
func TestWhatHasRunKeepsItsSoftware(t *testing.T) {
	cl := newCloud(t, mixed()...)
	for _, j := range []*v1alpha1.TrainJob{ran("much", "cuda", 400), ran("much", "cann", 100)} {
		cl.must(cl.client.Create(t.Context(), j))
	}
	cl.submit(runs("again", "much"))
	j := cl.job("again")
	at := metav1.NewTime(began)
	j.Status.StartTime, j.Status.Software, j.Status.State = &at, "cann", v1alpha1.StateRestarting
	cl.must(cl.client.Status().Update(t.Context(), j))
	cl.look()
	if got := cl.job("again").Status.Queue; got == nil || !got.Admitted || got.Software != "cann" {
		t.Errorf("it stands at %+v", got)
	}
}
