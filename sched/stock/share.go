package stock

import (
	"math"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/sched"
)

// Share is how many thousandths of such a device a request with these capacities
// takes: those of the capacity that it takes most of. None fit if it is above a whole.
func (k *Class) Share(r *resourcev1.CapacityRequirements) int {
	switch {
	case !k.has(r):
		return sched.Whole + 1
	case k.Part > 0:
		return k.Part
	case !k.Shared:
		return sched.Whole
	}
	most := 0.0
	for name, c := range k.Capacity {
		var asked *resource.Quantity
		if r != nil {
			if q, ok := r.Requests[name]; ok {
				asked = &q
			}
		}
		taken := consumed(c, asked)
		if size := c.Value.AsApproximateFloat64(); size > 0 {
			most = max(most, taken.AsApproximateFloat64()/size)
		} else if !taken.IsZero() {
			return sched.Whole + 1
		}
	}
	return int(min(math.Ceil(most*sched.Whole-rounding), sched.Whole+1))
}

// rounding keeps what is a whole thousandth, but for floating point, from being one
// more or less.
const rounding = 1e-6

// has reports whether a device, if nobody else used it, has the capacities.
func (k *Class) has(r *resourcev1.CapacityRequirements) bool {
	if r == nil {
		return true
	}
	for name, q := range r.Requests {
		if c, ok := k.Capacity[name]; !ok || c.Value.Cmp(q) < 0 {
			return false
		}
	}
	return true
}

// consumed is what a request takes of a capacity, by the capacity's own rules: what is
// not asked for is the default, or all of it, and what is asked for is rounded up.
func consumed(c resourcev1.DeviceCapacity, asked *resource.Quantity) resource.Quantity {
	p := c.RequestPolicy
	switch {
	case asked == nil && p != nil && p.Default != nil:
		return *p.Default
	case asked == nil:
		return c.Value
	case p == nil:
		return *asked
	case p.ValidRange != nil && p.ValidRange.Min != nil:
		return stepped(*asked, p.ValidRange)
	}
	for _, v := range p.ValidValues { // ascending
		if asked.Cmp(v) <= 0 {
			return v
		}
	}
	return *asked
}

// stepped is the next amount in range.
func stepped(asked resource.Quantity, r *resourcev1.CapacityRequestPolicyRange) resource.Quantity {
	if asked.Cmp(*r.Min) <= 0 {
		return *r.Min
	}
	if r.Step == nil || r.Step.IsZero() {
		return asked
	}
	first, step := r.Min.AsApproximateFloat64(), r.Step.AsApproximateFloat64()
	steps := math.Ceil((asked.AsApproximateFloat64()-first)/step - rounding)
	return *resource.NewMilliQuantity(int64(math.Round((first+steps*step)*1000)), r.Step.Format)
}

// Use is what one claim has of a device.
type Use struct {
	Claim    types.UID
	Alone    bool // nobody else may have any of it
	Consumed map[resourcev1.QualifiedName]resource.Quantity
}

// Left is how many thousandths of a device of this class are free beside such uses.
func (k *Class) Left(uses []Use) int {
	if len(uses) == 0 {
		return sched.Whole
	}
	if !k.Shared {
		return 0
	}
	free := 1.0
	for name, c := range k.Capacity {
		size := c.Value.AsApproximateFloat64()
		if size <= 0 {
			continue
		}
		taken := 0.0
		for i := range uses {
			if uses[i].Alone {
				return 0
			}
			if q, ok := uses[i].Consumed[name]; ok {
				taken += q.AsApproximateFloat64()
			}
		}
		free = min(free, 1-taken/size)
	}
	return max(0, int(math.Floor(free*sched.Whole+rounding)))
}
