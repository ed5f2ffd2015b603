package stock

import (
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// TestShareRoundsAsUpstreamDoes: by the rules of the capacity.
func TestShareRoundsAsUpstreamDoes(t *testing.T) {
	q := resource.MustParse
	for _, c := range []struct {
		name   string
		policy *resourcev1.CapacityRequestPolicy
		asked  string
		want   int
	}{
		{"as asked", nil, "10", 100},
		{"all, where nothing is asked", nil, "", 1000},
		{"the default", &resourcev1.CapacityRequestPolicy{Default: ptr.To(q("25"))}, "", 250},
		{"the next step", &resourcev1.CapacityRequestPolicy{ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: ptr.To(q("10")), Step: ptr.To(q("20"))}}, "31", 500},
		{"a step itself", &resourcev1.CapacityRequestPolicy{ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: ptr.To(q("10")), Step: ptr.To(q("20"))}}, "30", 300},
		{"the least", &resourcev1.CapacityRequestPolicy{ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: ptr.To(q("10"))}}, "1", 100},
		{"the next value", &resourcev1.CapacityRequestPolicy{ValidValues: []resource.Quantity{q("20"), q("50")}}, "21", 500},
		{"a third is rounded up", nil, "33.33", 334},
		{"more than there is", nil, "101", 1001},
	} {
		k := &Class{Shared: true, Capacity: map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"m": {Value: q("100"), RequestPolicy: c.policy}}}
		var r *resourcev1.CapacityRequirements
		if c.asked != "" {
			r = &resourcev1.CapacityRequirements{Requests: map[resourcev1.QualifiedName]resource.Quantity{"m": q(c.asked)}}
		}
		if got := k.Share(r); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
