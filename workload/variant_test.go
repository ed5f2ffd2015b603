package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
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

func TestVariant(t *testing.T) {
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	for _, s := range []string{"cpu", "cuda", "rocm", "cann", "odd"} {
		rt.Spec.Variants = append(rt.Spec.Variants, v1alpha1.RuntimeVariant{Software: s})
	}
	amd := corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"amd.com/gpu": resource.MustParse("8")}}}
	tests := []struct {
		name  string
		want  v1alpha1.Accelerators
		nodes []corev1.Node
		pick  string // "" for an error
		says  string
	}{
		{"none asked", v1alpha1.Accelerators{}, nil, "cpu", ""},
		{"any, none there", v1alpha1.Accelerators{Count: 1}, nil, "cuda", ""},
		{"any, one there", v1alpha1.Accelerators{Count: 1}, []corev1.Node{amd}, "rocm", ""},
		{"by software", v1alpha1.Accelerators{Count: 1, Software: []string{"cann", "xla"}}, []corev1.Node{amd}, "cann", ""},
		{"by kind", v1alpha1.Accelerators{Count: 1, Kinds: []string{"npu"}}, nil, "cann", ""},
		{"kind and software disagree", v1alpha1.Accelerators{Count: 1, Kinds: []string{"tpu"}, Software: []string{"cuda"}}, nil, "", "accelerators of kind tpu with software cuda; it has cpu, cuda, rocm, cann, odd"},
		{"memory, and nobody tells it", v1alpha1.Accelerators{Count: 1, Memory: ptr.To(resource.MustParse("60Gi"))}, []corev1.Node{amd}, "", "spec.accelerators.memory cannot be promised"},
		{"unknown software", v1alpha1.Accelerators{Count: 1, Software: []string{"odd"}}, nil, "", "odd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Choose(rt, tt.want, 1, tt.nodes, &Supply{})
			v := got.Variant
			if v.Software != tt.pick || (err == nil) != (tt.pick != "") {
				t.Fatalf("choice is %q, %v; want %q", v.Software, err, tt.pick)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

func TestChoiceFollowsWhatIsFree(t *testing.T) {
	h100 := published("h", 8, device.Device{Kind: device.GPU, Vendor: "nvidia", Product: "H100", Software: "cuda", Memory: 80e9})
	npu := published("n", 8, device.Device{Kind: device.NPU, Vendor: "huawei", Product: "910B2", Software: "cann", Memory: 64 << 30})
	cpu := published("c", 2, device.Device{Kind: device.CPU, Vendor: "amd", Product: "EPYC", Software: "cpu", Memory: 16 << 30})
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	for _, s := range []string{"cuda", "cann", "cpu"} {
		rt.Spec.Variants = append(rt.Spec.Variants, v1alpha1.RuntimeVariant{Software: s})
	}
	any := v1alpha1.Accelerators{Count: 2, Kinds: []string{"gpu", "npu", "cpu"}}
	seven := map[claim.ID]*resourcev1.ResourceClaim{}
	for _, o := range h100[:7] {
		seven[o.ID()] = &resourcev1.ResourceClaim{}
	}
	all := append(append(append([]claim.Offer{}, h100...), npu...), cpu...)
	for _, c := range []struct {
		name    string
		want    v1alpha1.Accelerators
		workers int32
		supply  Supply
		pick    string
		says    string
	}{
		{"the first kind", any, 1, Supply{Offers: all}, "cuda", ""},
		{"the next, when the first is taken", any, 1, Supply{Offers: all, Taken: seven}, "cann", ""},
		{"the only one", any, 1, Supply{Offers: npu}, "cann", ""},
		{"the processors, when there is nothing else", any, 1, Supply{Offers: cpu}, "cpu", ""},
		{"all workers count", any, 4, Supply{Offers: all, Taken: seven}, "cann", ""},
		{"what is taken comes free again", v1alpha1.Accelerators{Count: 2}, 1, Supply{Offers: h100, Taken: seven}, "cuda", ""},
		{"no processors unless asked for", v1alpha1.Accelerators{Count: 1}, 1, Supply{Offers: cpu}, "", "no device of this cluster has kind"},
		{"what works in the pod's sandbox", any, 1, Supply{Offers: all, Sandbox: "gvisor"}, "cpu", ""},
		{"nothing that works in it", v1alpha1.Accelerators{Count: 1}, 1, Supply{Offers: h100, Sandbox: "gvisor"}, "",
			"works in runc: have an administrator label the namespace polder.dev/sandbox=runc"},
		{"nothing, in a sandbox or out of it", v1alpha1.Accelerators{Count: 16}, 1, Supply{Offers: h100, Sandbox: "gvisor"}, "", "ask for less"},
		{"no sandbox", any, 1, Supply{Offers: all, Sandbox: "runc"}, "cuda", ""},
		{"more than a node has", v1alpha1.Accelerators{Count: 16}, 1, Supply{Offers: all}, "", "no node has 16 such devices"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(rt, c.want, c.workers, nil, &c.supply)
			if got.Variant.Software != c.pick {
				t.Fatalf("chose %q, %v; not %q", got.Variant.Software, err, c.pick)
			}
			if c.pick == "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
			if c.pick != "" && (got.Claim == nil || got.Claim.Software[0] != c.pick) {
				t.Errorf("the claim asks for %+v", got.Claim)
			}
		})
	}
}

// TestDevicesGoWithTheirNode: what a node that is gone has published is nothing to choose.
func TestDevicesGoWithTheirNode(t *testing.T) {
	var list []resourcev1.ResourceSlice
	for _, name := range []string{"gone", "there"} {
		list = append(list, resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{
			Driver: "d", NodeName: &name, Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: 1}, Devices: []resourcev1.Device{{Name: "x"}},
		}})
	}
	list = append(list, resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{
		Driver: "d", Pool: resourcev1.ResourcePool{Name: "fabric", ResourceSliceCount: 1}, Devices: []resourcev1.Device{{Name: "x"}},
	}})
	var pools []string
	for _, o := range SupplyOf(list, nil, nil, []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "there"}}}).Offers {
		pools = append(pools, o.Pool)
	}
	if want := []string{"fabric", "there"}; !slices.Equal(pools, want) {
		t.Errorf("devices of %q are offered, want %q", pools, want)
	}
}
