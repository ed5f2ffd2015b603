package claim

import (
	"cmp"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/profile"
)

// Offer is a device that a driver publishes.
type Offer struct {
	Driver, Pool string
	// Node that has the device; "" if it is not one node's.
	Node   string
	Device *resourcev1.Device
	// Rules are taints that DeviceTaintRules add to the device's own.
	Rules []resourcev1.DeviceTaint
}

// ID tells a device from all others of a cluster.
type ID struct{ Driver, Pool, Device string }

// ID of the offer.
func (o *Offer) ID() ID { return ID{o.Driver, o.Pool, o.Device.Name} }

// Taints of the device, by whomever.
func (o *Offer) Taints() []resourcev1.DeviceTaint {
	return append(slices.Clone(o.Device.Taints), o.Rules...)
}

// Offers are the devices of complete pools, each at its newest generation, in the
// order in which the scheduler takes them. Of pools that are being rewritten there
// are none, as for the scheduler. The devices are those of slices, not copies.
func Offers(slicesOf []resourcev1.ResourceSlice, rules []resourcev1.DeviceTaintRule) []Offer {
	type pool struct{ driver, name string }
	newest := map[pool]int64{}
	count := map[pool]int64{}
	for i := range slicesOf {
		s := &slicesOf[i].Spec
		p := pool{s.Driver, s.Pool.Name}
		switch g, seen := newest[p]; {
		case !seen || s.Pool.Generation > g:
			newest[p], count[p] = s.Pool.Generation, 1
		case s.Pool.Generation == g:
			count[p]++
		}
	}
	var out []Offer
	for i := range slicesOf {
		s := &slicesOf[i].Spec
		p := pool{s.Driver, s.Pool.Name}
		if s.Pool.Generation != newest[p] || count[p] < s.Pool.ResourceSliceCount {
			continue
		}
		for j := range s.Devices {
			o := Offer{Driver: s.Driver, Pool: s.Pool.Name, Device: &s.Devices[j]}
			if s.NodeName != nil {
				o.Node = *s.NodeName
			} else if n := s.Devices[j].NodeName; n != nil {
				o.Node = *n
			}
			o.Rules = taintsFor(&o, rules)
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b Offer) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.Pool, b.Pool))
	})
	return out
}

func taintsFor(o *Offer, rules []resourcev1.DeviceTaintRule) []resourcev1.DeviceTaint {
	var out []resourcev1.DeviceTaint
	for i := range rules {
		s := rules[i].Spec.DeviceSelector
		if s == nil || s.Driver != nil && *s.Driver != o.Driver || s.Pool != nil && *s.Pool != o.Pool || s.Device != nil && *s.Device != o.Device.Name {
			continue
		}
		out = append(out, rules[i].Spec.Taint)
	}
	return out
}

// Taken are the devices that claims hold for themselves, with the claims. A device
// that many share is taken by none.
func Taken(claims []resourcev1.ResourceClaim) map[ID]*resourcev1.ResourceClaim {
	out := map[ID]*resourcev1.ResourceClaim{}
	for i := range claims {
		a := claims[i].Status.Allocation
		if a == nil {
			continue
		}
		for _, r := range a.Devices.Results {
			if r.ShareID == nil && (r.AdminAccess == nil || !*r.AdminAccess) {
				out[ID{r.Driver, r.Pool, r.Device}] = &claims[i]
			}
		}
	}
	return out
}

// Describe says of a device what its driver tells, in the standard's terms.
func (o *Offer) Describe() device.Device {
	d := device.Device{Name: o.Device.Name, Product: o.Product(), Form: device.Whole}
	m, ok := driverOf(o)
	if !ok {
		return d
	}
	if m.Standard != "" {
		return profile.Read(o.Device)
	}
	d.Vendor, d.Kind, d.Software = m.Vendor, m.Kind, m.Software
	if q, ok := capacity(m.Name, m.Memory, o); ok && m.Memory != "" {
		d.Memory = q.Value()
	}
	if p, ok := catalogue.ByName(m.Vendor, d.Product); ok && d.Memory == 0 && p.Memory != nil {
		d.Memory = p.Memory.N
		d.Note(device.Origin{From: "catalogue", Confidence: p.Memory.Confidence, Source: p.Memory.Source}, "memory")
	}
	for i := range m.Part {
		if is, have := m.Part[i].holds(m.Name, o); is {
			d.Form, d.Profile = device.Share, have
		}
	}
	return d
}

// Shared reports whether the device may be given out many times.
func (o *Offer) Shared() bool {
	m := o.Device.AllowMultipleAllocations
	return m != nil && *m
}

// Emulated reports whether the device is not there.
func (o *Offer) Emulated() bool {
	a, ok := attribute(profile.Domain, profile.AttrEmulated, o)
	return ok && a.BoolValue != nil && *a.BoolValue
}

// Fabric is what is equal on devices of one fabric; "" if the driver does not tell.
func (o *Offer) Fabric() string {
	m, ok := driverOf(o)
	if !ok || m.Fabric == "" {
		return ""
	}
	a, ok := attribute(m.Name, m.Fabric, o)
	if !ok {
		return ""
	}
	return said(a)
}

// Software is the stack that programs for the device are built on; "" if the driver
// does not tell.
func (o *Offer) Software() string {
	m, ok := driverOf(o)
	if !ok {
		return ""
	}
	if m.StackIn == "" {
		return m.Software
	}
	a, ok := attribute(m.Name, m.StackIn, o)
	if !ok {
		return ""
	}
	return said(a)
}

// Part reports whether the device shares counters with the whole that it is a part
// of: both are published, and only one can be had.
func (o *Offer) Part() bool {
	a, ok := attribute(profile.Domain, profile.AttrForm, o)
	return len(o.Device.ConsumesCounters) > 0 && ok && a.StringValue != nil && *a.StringValue != string(device.Whole)
}

// Available are the devices that could be given out now: nobody has them, and what
// others have of the counters that they share leaves enough. A whole consumes all of
// its counters, so it says how much there is; a set without a whole is not judged.
func Available(offers []Offer, taken map[ID]*resourcev1.ResourceClaim) map[ID]bool {
	type counter struct{ driver, pool, set, name string }
	most, used := map[counter]int64{}, map[counter]int64{}
	each := func(o *Offer, do func(counter, int64)) {
		for _, c := range o.Device.ConsumesCounters {
			for name, v := range c.Counters {
				do(counter{o.Driver, o.Pool, c.CounterSet, name}, v.Value.Value())
			}
		}
	}
	for i := range offers {
		o := &offers[i]
		each(o, func(c counter, n int64) {
			most[c] = max(most[c], n)
			if taken[o.ID()] != nil {
				used[c] += n
			}
		})
	}
	out := map[ID]bool{}
	for i := range offers {
		o := &offers[i]
		fits := taken[o.ID()] == nil
		each(o, func(c counter, n int64) { fits = fits && used[c]+n <= most[c] })
		out[o.ID()] = fits
	}
	return out
}
