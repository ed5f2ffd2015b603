package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched/queue"
)

// supply is what there is of devices, by flavour.
type supply struct {
	flavors []queue.Flavor
	// given is the flavour whose devices an item has been allocated, by its id; none
	// where it is of several.
	given map[string]string
	// samples are devices of each flavour, by its name: a whole, and one of each size of
	// part.
	samples map[string][]sample
}

// sample stands for devices that differ in nothing that a request can ask for, as far
// as requests are about what devices are and not about which they are.
type sample struct {
	offer *claim.Offer
	takes int64 // of a device
}

// flavorKey tells flavours apart: devices that are equal in it are equal to a queue.
type flavorKey struct {
	product, software string
	kind              device.Kind
	memory            int64
}

// place is a set of counters that a whole and its parts share.
type place struct{ driver, pool, set string }

// survey says what there is of devices. What work that no queue knows has of them is no
// capacity.
func survey(w *world, speeds map[string]float64) *supply {
	base := w.devicesBy
	if base == nil {
		base = sorted(w.offers)
	}
	s := *base
	s.flavors = make(map[flavorKey]*queue.Flavor, len(base.flavors))
	for k, f := range base.flavors {
		c := *f
		c.Speed = speeds[k.product]
		s.flavors[k] = &c
	}
	given := s.allocated(w)
	out := &supply{given: map[string]string{}, samples: map[string][]sample{}, flavors: []queue.Flavor{
		{Name: queue.CPU, Resource: queue.CPU, Capacity: -1}, {Name: queue.Memory, Resource: queue.Memory, Capacity: -1},
	}}
	names := s.names()
	keys := slices.SortedFunc(maps.Keys(s.flavors), func(a, b flavorKey) int { return cmp.Compare(names[a], names[b]) })
	for _, k := range keys {
		f := s.flavors[k]
		f.Name = names[k]
		if !s.shared[k] {
			f.Capacity = max(0, f.Capacity)
		}
		out.flavors = append(out.flavors, *f)
		out.samples[f.Name] = s.samples[k]
	}
	for id, k := range given {
		if k != nil {
			out.given[id] = names[*k]
		}
	}
	return out
}

// sorted sorts the devices that drivers publish into flavours. Parts of a device belong
// to the flavour of the whole, and take of it what they take of its counters. With many
// devices it takes longer than the rest of a decision, and is done when they change.
func sorted(offers []claim.Offer) *surveyor {
	s := &surveyor{
		whole: map[place]map[string]int64{}, of: map[place]flavorKey{}, flavors: map[flavorKey]*queue.Flavor{},
		shared: map[flavorKey]bool{}, samples: map[flavorKey][]sample{}, device: map[claim.ID]flavorKey{}, takes: map[claim.ID]int64{},
	}
	for i := range offers {
		s.measure(&offers[i])
	}
	for _, parts := range []bool{false, true} {
		for i := range offers {
			s.sort(&offers[i], parts)
		}
	}
	return s
}

// sortedFor returns what was sorted for the same slices and rules before, or sorts them.
func (c *Controller) sortedFor(devices []resourcev1.ResourceSlice, rules []resourcev1.DeviceTaintRule) *surveyor {
	seen := make(map[types.UID]string, len(devices)+len(rules))
	for i := range devices {
		seen[devices[i].UID] = devices[i].ResourceVersion
	}
	for i := range rules {
		seen[rules[i].UID] = rules[i].ResourceVersion
	}
	if c.sorted == nil || len(seen) != len(devices)+len(rules) || !maps.Equal(seen, c.seen) {
		c.sorted, c.seen = sorted(claim.Offers(devices, rules)), seen
	}
	return c.sorted
}

type surveyor struct {
	whole   map[place]map[string]int64 // the most of each counter
	of      map[place]flavorKey
	flavors map[flavorKey]*queue.Flavor
	shared  map[flavorKey]bool
	samples map[flavorKey][]sample
	device  map[claim.ID]flavorKey
	takes   map[claim.ID]int64
}

// measure learns how much there is of each counter: a whole takes all of it.
func (s *surveyor) measure(o *claim.Offer) {
	for _, c := range o.Device.ConsumesCounters {
		p := place{o.Driver, o.Pool, c.CounterSet}
		if s.whole[p] == nil {
			s.whole[p] = map[string]int64{}
		}
		for name, v := range c.Counters {
			s.whole[p][name] = max(s.whole[p][name], v.Value.Value())
		}
	}
}

// counterShare is the counter of a device's computing, in thousandths, of drivers that
// keep to the standard.
const counterShare = "share"

// fraction is what the device takes of the whole that it is part of.
func (s *surveyor) fraction(o *claim.Offer) (int64, place) {
	most, at := int64(0), place{}
	for _, c := range o.Device.ConsumesCounters {
		p := place{o.Driver, o.Pool, c.CounterSet}
		have := map[string]int64{}
		for name, v := range c.Counters {
			have[name] = v.Value.Value()
		}
		n := queue.Fraction(have, s.whole[p])
		if share, ok := have[counterShare]; ok && s.whole[p][counterShare] == 1000 { // it is rounded
			delete(have, counterShare)
			n = max(queue.Thousandths(share), queue.Fraction(have, s.whole[p]))
		}
		if n > most {
			most, at = n, p
		}
	}
	if most == 0 {
		return queue.Device, at
	}
	return most, at
}

// sort puts one device into its flavour: wholes first, then parts.
func (s *surveyor) sort(o *claim.Offer, parts bool) {
	n, at := s.fraction(o)
	d := o.Describe()
	isPart := at != (place{}) && (n < queue.Device || d.Form != device.Whole) // also one that is nearly the whole
	if parts != isPart {
		return
	}
	s.takes[o.ID()] = n
	k, ok := s.of[at]
	if !parts || !ok {
		k = flavorKey{d.Product, o.Software(), d.Kind, d.Memory}
	}
	s.device[o.ID()] = k
	f := s.flavors[k]
	if f == nil {
		f = &queue.Flavor{Kind: k.kind, Product: k.product, Memory: k.memory, Software: k.software, Precisions: d.Computes()}
		s.flavors[k] = f
	}
	if !slices.ContainsFunc(s.samples[k], func(x sample) bool { return x.takes == n && x.offer.Driver == o.Driver }) {
		s.samples[k] = append(s.samples[k], sample{o, n})
	}
	switch {
	case parts && !slices.Contains(f.Parts, queue.Part{Memory: d.Memory, Takes: n}):
		f.Parts = append(f.Parts, queue.Part{Memory: d.Memory, Takes: n})
	case parts:
	case o.Shared():
		s.shared[k], f.Capacity = true, -1
	case !slices.ContainsFunc(o.Taints(), claim.KeepsAway):
		f.Capacity += queue.Device
	}
	if !parts && at != (place{}) {
		s.of[at] = k
	}
}

// allocated takes off what work that waits in no queue has, and says what the items
// were given: nil is several flavours.
func (s *surveyor) allocated(w *world) map[string]*flavorKey {
	queued := map[string]bool{}
	for i := range w.items {
		queued[w.items[i].id] = w.items[i].queue != "" && w.items[i].ready
	}
	out := map[string]*flavorKey{}
	for i := range w.claims {
		c := &w.claims[i]
		if c.Status.Allocation == nil {
			continue
		}
		id := ""
		for _, o := range c.OwnerReferences {
			id = cmp.Or(id, w.pods[o.UID])
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			d := claim.ID{Driver: r.Driver, Pool: r.Pool, Device: r.Device}
			k, known := s.device[d]
			if !known || r.AdminAccess != nil && *r.AdminAccess {
				continue
			}
			if !queued[id] {
				if !s.shared[k] {
					s.flavors[k].Capacity -= s.takes[d]
				}
				continue
			}
			if before, seen := out[id]; !seen {
				out[id] = &k
			} else if before != nil && *before != k {
				out[id] = nil
			}
		}
	}
	return out
}

// names for flavours: the product, and what else it takes to tell them apart.
func (s *surveyor) names() map[flavorKey]string {
	count := map[string]int{}
	for k := range s.flavors {
		count[k.product]++
	}
	out := map[flavorKey]string{}
	for k := range s.flavors {
		out[k] = k.product
		if count[k.product] > 1 || k.product == "" {
			out[k] = fmt.Sprintf("%s (%s, %d MiB, %s)", cmp.Or(k.product, "unnamed"), k.kind, k.memory>>20, cmp.Or(k.software, "no software"))
		}
	}
	return out
}

// speedsOf are those that roots name; of two, that of the first queue by name.
func speedsOf(queues []v1alpha1.Queue) map[string]float64 {
	out := map[string]float64{}
	for i := range queues {
		for _, s := range queues[i].Spec.Speeds {
			f, err := strconv.ParseFloat(s.Speed, 64)
			if _, twice := out[s.Product]; err == nil && f > 0 && !twice && queues[i].Spec.Parent == "" {
				out[s.Product] = f
			}
		}
	}
	return out
}
