package system

import (
	"context"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/cel"

	"polder.dev/polder/device/claim"
)

// judge evaluates the selectors of resource claims for the controller of Queues, which
// thereby does not link what evaluates CEL.
type judge struct{ cache *cel.Cache }

const judgedMax = 256 // compiled expressions

func newJudge() *judge {
	return &judge{cel.NewCache(judgedMax, cel.Features{EnableConsumableCapacity: true, EnableListTypeAttributes: true})}
}

// Accepts implements controller.Judge.
func (j *judge) Accepts(o *claim.Offer, selectors []resourcev1.DeviceSelector) (bool, error) {
	d := cel.Device{Driver: o.Driver, AllowMultipleAllocations: o.Device.AllowMultipleAllocations, Attributes: o.Device.Attributes, Capacity: o.Device.Capacity}
	for _, s := range selectors {
		if s.CEL == nil {
			return false, nil
		}
		r := j.cache.GetOrCompile(s.CEL.Expression)
		if r.Error != nil {
			return false, fmt.Errorf("compiling %q: %w", s.CEL.Expression, r.Error)
		}
		if ok, _, err := r.DeviceMatches(context.Background(), d); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
