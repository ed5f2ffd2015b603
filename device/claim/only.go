package claim

import (
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device/profile"
)

// Only keeps a claim to devices that have one of these UUIDs, as our own driver publishes
// them. None keeps it to nothing.
func Only(c *resourcev1.DeviceClaim, uuids []string) {
	if len(uuids) == 0 {
		return
	}
	var quoted []string
	for _, u := range uuids {
		quoted = append(quoted, fmt.Sprintf("%q", u))
	}
	only := resourcev1.DeviceSelector{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q && device.attributes[%q].%s in [%s]",
		profile.Domain, profile.Domain, profile.AttrUUID, strings.Join(quoted, ", "))}}
	for i := range c.Requests {
		r := &c.Requests[i]
		if r.Exactly != nil {
			r.Exactly.Selectors = append(r.Exactly.Selectors, only)
		}
		for j := range r.FirstAvailable {
			r.FirstAvailable[j].Selectors = append(r.FirstAvailable[j].Selectors, only)
		}
	}
}

// UUID by which Only knows the device; "" if it is not our driver's.
func (o *Offer) UUID() string {
	if o.Driver != profile.Domain {
		return ""
	}
	if a, ok := attribute(profile.Domain, profile.AttrUUID, o); ok && a.StringValue != nil {
		return *a.StringValue
	}
	return ""
}
