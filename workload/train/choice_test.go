package train

import (
	"fmt"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/workload"
)

// published are n devices of a kind on a node.
func published(node string, n int, d device.Device) []claim.Offer {
	var out []claim.Offer
	for i := range n {
		d.Name, d.UUID, d.Form = fmt.Sprintf("%s-%d", d.Kind, i), fmt.Sprintf("%s-%d", node, i), device.Whole
		p := profile.Publish(&d)
		out = append(out, claim.Offer{Driver: profile.Domain, Pool: node, Node: node, Device: &p})
	}
	return out
}

// TestChoiceFollowsWhatWasMeasured: of what is free the fastest, if that is known of both;
// what nobody has measured is as before.
func TestChoiceFollowsWhatWasMeasured(t *testing.T) {
	offers := append(published("h", 1, device.Device{Kind: device.GPU, Vendor: "nvidia", Product: "T4", Software: "cuda", Memory: 16e9}),
		published("n", 1, device.Device{Kind: device.NPU, Vendor: "huawei", Product: "910B2", Software: "cann", Memory: 64 << 30})...)
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Spec: v1alpha1.RuntimeSpec{Variants: []v1alpha1.RuntimeVariant{{Software: "cuda"}, {Software: "cann"}}}}
	ran := func(code, software string, metrics map[string]string) v1alpha1.TrainJob {
		j := *digits(1)
		j.UID, j.Spec.Code.Image, j.Spec.Accelerators.Count = types.UID(code+software), code, 1
		j.Status.Software, j.Status.Progress = software, &v1alpha1.Progress{Metrics: metrics}
		return j
	}
	this := ran("code/default/digits@sha256:1", "", nil)
	all := []v1alpha1.TrainJob{this,
		ran("code/default/digits@sha256:2", "cuda", map[string]string{"images_per_s": "100", "loss": "9"}),
		ran("code/default/digits:v3", "cann", map[string]string{"images_per_s": "700", "loss": "1"}),
		ran("code/default/other", "cuda", map[string]string{"images_per_s": "9000"}),
	}
	for name, c := range map[string]struct {
		jobs  []v1alpha1.TrainJob
		taken []claim.Offer
		pick  string
	}{
		"the faster":                {all, nil, "cann"},
		"the faster is taken":       {all, offers[1:], "cuda"},
		"one of them was measured":  {all[:2], nil, "cuda"},
		"another program's numbers": {all[3:], nil, "cuda"},
		"no number":                 {append(all[:1:1], ran("code/default/digits", "cann", map[string]string{"images_per_s": "NaN"}), all[1]), nil, "cuda"},
	} {
		s := workload.Supply{Offers: offers, Taken: map[claim.ID]*resourcev1.ResourceClaim{}, Faster: workload.Measured(&this, c.jobs).Faster}
		for _, o := range c.taken {
			s.Taken[o.ID()] = &resourcev1.ResourceClaim{}
		}
		got, err := workload.Choose(rt, v1alpha1.Accelerators{Count: 1}, 1, nil, &s)
		if err != nil || got.Variant.Software != c.pick {
			t.Errorf("%s: chose %q, %v", name, got.Variant.Software, err)
		}
	}
}

func TestClaimIsTheWorkersOnlyRequestForDevices(t *testing.T) {
	job := digits(1)
	job.Spec.Accelerators = v1alpha1.Accelerators{Count: 2}
	r := claim.Of(job.Spec.Accelerators)
	r.Software = []string{"cuda"}
	c := workload.Choice{Variant: v1alpha1.RuntimeVariant{Software: "cuda"}, Claim: &r}
	spec := podTemplate(job, c, "image", 1, false).Spec
	res := spec.Containers[0].Resources
	if len(res.Claims) != 1 || len(res.Limits) != 1 {
		t.Errorf("resources are %+v; a claim, and no extended resource", res)
	}
	template, err := templateOf(job, 1, r)
	if err != nil {
		t.Fatal(err)
	}
	if *spec.ResourceClaims[0].ResourceClaimTemplateName != template.Name || template.Spec.Spec.Devices.Requests[0].Exactly.Count != 2 {
		t.Errorf("the pod names %+v, the template is %+v", spec.ResourceClaims, template)
	}
}
