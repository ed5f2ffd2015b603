package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/cel"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// wish is what claims ask for in words of the board.
type wish struct {
	// tiers are alternatives, in the order in which they are wanted; of those of one
	// tier none is wanted more. CPU and memory are the pod's.
	tiers [][]sched.Request
	// also says that more is asked for than this: other devices, or that they differ in
	// something. A node where the wish fits may not do.
	also bool
}

// errUpstream says that claims cannot be said in words of the board.
var errUpstream = errors.New("left to upstream")

// compiler knows which classes selectors accept.
type compiler struct {
	catalogue *stock.Catalogue
	classes   func(name string) (*resourcev1.DeviceClass, error)
	cache     *cel.Cache
	judged    map[string]*judgement // by device class and selectors
	lists     bool                  // attributes may be lists
}

// judgement is which classes of the catalogue, up to the last that was asked about,
// selectors accept.
type judgement struct {
	upTo     int
	accepted []*stock.Class
}

// Limits of what is remembered: selectors, and compiled expressions.
const (
	judgedMax   = 4096
	compiledMax = 256
)

func newCompiler(k *stock.Catalogue, classes func(string) (*resourcev1.DeviceClass, error), f cel.Features) *compiler {
	return &compiler{catalogue: k, classes: classes, cache: cel.NewCache(compiledMax, f), judged: map[string]*judgement{}, lists: f.EnableListTypeAttributes}
}

// compile says what the claims of one pod ask for together.
func (c *compiler) compile(claims []*resourcev1.ResourceClaim) (wish, error) {
	var parts [][][]sched.Request
	var w wish
	for _, claim := range claims {
		spec := &claim.Spec.Devices
		for i := range spec.Requests {
			tiers, err := c.request(&spec.Requests[i], bonds{spec, &w.also})
			if err != nil {
				return wish{}, fmt.Errorf("claim %s, request %s: %w", claim.Name, spec.Requests[i].Name, err)
			}
			parts = append(parts, tiers)
		}
	}
	if len(parts) == 0 {
		return wish{}, errUpstream
	}
	// What is the same of several requests is one; of what differs, the one that takes
	// most of devices decides, and upstream finds the rest.
	main := 0
	for i := range parts {
		if milli(parts[i]) > milli(parts[main]) {
			main = i
		}
	}
	w.tiers = parts[main]
	for i := range parts {
		if i == main {
			continue
		}
		if len(w.tiers) == 1 && len(parts[i]) == 1 && slices.EqualFunc(w.tiers[0], parts[i][0], sameDevices) {
			for j := range w.tiers[0] {
				w.tiers[0][j].Count += parts[i][0][j].Count
			}
			continue
		}
		w.also = true
	}
	return w, nil
}

func milli(tiers [][]sched.Request) int64 { return tiers[0][0].Milli() }

// sameDevices reports whether two requests are one for more. What is to be together with
// its like need not be with that of another request.
func sameDevices(a, b sched.Request) bool {
	return a.Share == b.Share && a.Together+b.Together == "" && slices.Equal(a.Models, b.Models)
}

// bonds are the constraints of a claim.
type bonds struct {
	spec *resourcev1.DeviceClaim
	// also is set if one says more than the board can be told.
	also *bool
}

// of a request, or of one of its alternatives, that is named REQUEST/ALTERNATIVE: the
// attribute that its devices must have in common.
func (b bonds) of(name string) string {
	base, _, _ := strings.Cut(name, "/")
	together := ""
	for i := range b.spec.Constraints {
		c := &b.spec.Constraints[i]
		if len(c.Requests) > 0 && !slices.Contains(c.Requests, base) && !slices.Contains(c.Requests, name) {
			continue
		}
		others := len(b.spec.Requests) > 1 && (len(c.Requests) == 0 || slices.ContainsFunc(c.Requests, func(r string) bool { return r != base && !strings.HasPrefix(r, base+"/") }))
		if c.MatchAttribute == nil || together != "" || others {
			*b.also = true
		}
		if c.MatchAttribute != nil && together == "" {
			together = string(*c.MatchAttribute)
		}
	}
	return together
}

// bind has all devices of a tier be together, as far as the board can know: parts of a
// device have no domains of their own, and an attribute may have several values.
func (c *compiler) bind(tier []sched.Request, attribute string, b bonds) {
	if attribute == "" {
		return
	}
	if c.lists || slices.ContainsFunc(tier, func(r sched.Request) bool { return r.Share < sched.Whole && c.parts(&r) }) {
		*b.also = true
		return
	}
	for i := range tier {
		tier[i].Together = attribute
	}
}

// parts reports whether a request takes parts of devices.
func (c *compiler) parts(r *sched.Request) bool {
	return slices.ContainsFunc(c.catalogue.Classes, func(k *stock.Class) bool {
		return k.Part > 0 && (len(r.Models) == 0 || slices.Contains(r.Models, k.Model))
	})
}

// told is a request for people: a part of a device is something whole to them.
func (c *compiler) told(r sched.Request) sched.Request {
	shared := slices.ContainsFunc(c.catalogue.Classes, func(k *stock.Class) bool { return k.Part == 0 && slices.Contains(r.Models, k.Model) })
	if r.Count > 0 && len(r.Models) > 0 && !shared {
		r.Share = sched.Whole
	}
	return r
}

// request is the tiers of one: those of a prioritized list are its alternatives.
func (c *compiler) request(r *resourcev1.DeviceRequest, b bonds) ([][]sched.Request, error) {
	if e := r.Exactly; e != nil {
		if e.AdminAccess != nil && *e.AdminAccess || len(e.DerivedAttributes) > 0 {
			return nil, errUpstream
		}
		tier, err := c.tier(e.DeviceClassName, e.Selectors, e.Capacity, e.AllocationMode, e.Count, e.Tolerations)
		c.bind(tier, b.of(r.Name), b)
		return [][]sched.Request{tier}, err
	}
	var out [][]sched.Request
	for i := range r.FirstAvailable {
		s := &r.FirstAvailable[i]
		if len(s.DerivedAttributes) > 0 {
			return nil, errUpstream
		}
		tier, err := c.tier(s.DeviceClassName, s.Selectors, s.Capacity, s.AllocationMode, s.Count, s.Tolerations)
		if errors.Is(err, errNone) {
			continue // the others may do
		}
		if err != nil {
			return nil, err
		}
		c.bind(tier, b.of(r.Name+"/"+s.Name), b)
		out = append(out, tier)
	}
	if len(out) == 0 {
		return nil, errUpstream
	}
	return out, nil
}

// errNone says that no device that there is or was would do.
var errNone = fmt.Errorf("no such device: %w", errUpstream)

// tier is one alternative: a request for each share of a device that it is, on the
// models of which it is that share. All devices that share counters with others are
// models of one request, whose share is that of the smallest: which of them is to be
// had, and what is lost by it, is for the board to say.
func (c *compiler) tier(name string, selectors []resourcev1.DeviceSelector, capacity *resourcev1.CapacityRequirements, mode resourcev1.DeviceAllocationMode, count int64, tolerations []resourcev1.DeviceToleration) ([]sched.Request, error) {
	if mode != resourcev1.DeviceAllocationModeExactCount || count < 1 || count > sched.CountMax || len(tolerations) > 0 {
		return nil, errUpstream
	}
	accepted, err := c.accepted(name, selectors)
	if err != nil {
		return nil, err
	}
	models := map[int][]string{}
	var parts []string
	least := sched.Whole
	for _, k := range accepted {
		if k.Odd {
			return nil, errUpstream
		}
		switch share := k.Share(capacity); {
		case share < 1 || share > sched.Whole:
		case k.Part > 0:
			parts, least = append(parts, k.Model), min(least, share)
		default:
			models[share] = append(models[share], k.Model)
		}
	}
	if len(parts) > 0 {
		models[least] = append(models[least], parts...)
	}
	var out []sched.Request
	for share, m := range models {
		slices.Sort(m)
		if len(m) == c.all(share) {
			m = nil // any, also of models yet to come
		}
		out = append(out, sched.Request{Count: int(count), Share: share, Models: m})
	}
	if len(out) == 0 {
		return nil, errNone
	}
	// The one that most models can serve is first: it is what is learned.
	slices.SortFunc(out, func(a, b sched.Request) int {
		return cmp.Or(cmp.Compare(len(models[b.Share]), len(models[a.Share])), cmp.Compare(a.Share, b.Share))
	})
	return out, nil
}

// all counts the classes that the board knows, but for parts that are smaller than a
// share.
func (c *compiler) all(share int) int {
	n := 0
	for _, k := range c.catalogue.Classes {
		if !k.Odd && (k.Part == 0 || k.Part >= share) {
			n++
		}
	}
	return n
}

// accepted is the classes that a device class and selectors take. Each is asked once:
// what is true of one device is true of its class, unless a selector looks at what
// makes it one.
func (c *compiler) accepted(name string, selectors []resourcev1.DeviceSelector) ([]*stock.Class, error) {
	dc, err := c.classes(name)
	if err != nil {
		return nil, errUpstream
	}
	key := fmt.Sprintf("%s %s %s", dc.Name, dc.UID, dc.ResourceVersion)
	var all []string
	for _, s := range slices.Concat(dc.Spec.Selectors, selectors) {
		if s.CEL == nil || stock.Identity.MatchString(s.CEL.Expression) {
			return nil, errUpstream
		}
		all = append(all, s.CEL.Expression)
	}
	key += "\n" + strings.Join(all, "\n&&\n")
	j := c.judged[key]
	if j == nil {
		if len(c.judged) >= judgedMax {
			clear(c.judged)
		}
		j = &judgement{}
		c.judged[key] = j
	}
	for ; j.upTo < len(c.catalogue.Classes); j.upTo++ {
		k := c.catalogue.Classes[j.upTo]
		ok, err := c.matches(k, all)
		if err != nil {
			return nil, err
		}
		if ok {
			j.accepted = append(j.accepted, k)
		}
	}
	return j.accepted, nil
}

// matches asks expressions about a class. One that cannot be evaluated on it does not
// take it; upstream says so to people when it meets such a device.
func (c *compiler) matches(k *stock.Class, expressions []string) (bool, error) {
	sample := cel.Device{Driver: k.Driver, AllowMultipleAllocations: k.Multiple, Attributes: k.Attributes, Capacity: k.Capacity}
	for _, e := range expressions {
		p := c.cache.GetOrCompile(e)
		if p.Error != nil {
			return false, errUpstream
		}
		if ok, _, err := p.DeviceMatches(context.Background(), sample); err != nil || !ok {
			return false, nil //nolint:nilerr // see above
		}
	}
	return true, nil
}
