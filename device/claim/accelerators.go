package claim

import (
	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
)

// Of is a requirement as people write it in the API.
func Of(a v1alpha1.Accelerators) device.Requirement {
	r := device.Requirement{
		Count: int(a.Count), Precision: device.Precision(a.Precision),
		Software: a.Software, SameFabric: a.SameFabric, Share: a.Share,
	}
	for _, k := range a.Kinds {
		r.Kinds = append(r.Kinds, device.Kind(k))
	}
	if a.Memory != nil {
		r.Memory = a.Memory.Value()
	}
	return r
}
