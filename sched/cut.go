package sched

import (
	"fmt"
	"slices"
)

// Counter is something that a device has a number of and its parts use up: the slices
// of computing or of memory that a vendor cuts it into.
type Counter struct {
	Name string
	Size int64
}

// Part is a piece that a device can be cut into, at its place, or all of the device.
type Part struct {
	Model string  // what requests name
	Share int     // thousandths of the device
	Takes []int64 // of each of the counters
}

// Cut says into what a device can be cut. Devices have it in common, and it does not
// change.
type Cut struct {
	Counters []Counter // sorted by name
	Parts    []Part
}

// Whole is a device that is cut so, and nobody has any of it. Its model is that of the
// largest part.
func (c *Cut) Whole() Device {
	d := Device{Free: Whole, Cut: c, Left: make([]int64, len(c.Counters)), Gone: make([]bool, len(c.Parts))}
	for i := range c.Counters {
		d.Left[i] = c.Counters[i].Size
	}
	most := 0
	for i := range c.Parts {
		if p := &c.Parts[i]; p.Share > most {
			d.Model, most = p.Model, p.Share
		}
	}
	return d
}

func (c *Cut) check() error {
	if len(c.Parts) == 0 {
		return fmt.Errorf("it can be cut into nothing; leave the cut out")
	}
	for i := range c.Counters {
		if c.Counters[i].Size < 0 || i > 0 && c.Counters[i-1].Name >= c.Counters[i].Name {
			return fmt.Errorf("counter %q is negative or out of order; sort them by name", c.Counters[i].Name)
		}
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Model == "" || p.Share < 1 || p.Share > Whole || len(p.Takes) != len(c.Counters) {
			return fmt.Errorf("part %d: its model is %q, it is %d thousandths of the device, and takes of %d of %d counters; name a model, 1 to %d, and all", i, p.Model, p.Share, len(p.Takes), len(c.Counters), Whole)
		}
		for j, n := range p.Takes {
			if n < 0 || n > c.Counters[j].Size {
				return fmt.Errorf("part %d: it takes %d of the %d of counter %q", i, n, c.Counters[j].Size, c.Counters[j].Name)
			}
		}
	}
	return nil
}

// checkCut is check for a device that is cut.
func (d *Device) checkCut() error {
	if err := d.Cut.check(); err != nil {
		return err
	}
	if len(d.Left) != len(d.Cut.Counters) || len(d.Gone) != len(d.Cut.Parts) {
		return fmt.Errorf("it says of %d counters what is left, and of %d parts whether they are gone; it has %d and %d", len(d.Left), len(d.Gone), len(d.Cut.Counters), len(d.Cut.Parts))
	}
	for i, c := range d.Cut.Counters {
		if d.Left[i] < 0 || d.Left[i] > c.Size {
			return fmt.Errorf("%d of %d of counter %q are left; that must be from none to all", d.Left[i], c.Size, c.Name)
		}
	}
	return nil
}

// has reports whether part p can be had.
func (d *Device) has(p int) bool {
	if d.Gone[p] {
		return false
	}
	for i, n := range d.Cut.Parts[p].Takes {
		if n > d.Left[i] {
			return false
		}
	}
	return true
}

// cut takes part p off, or with -1 puts it back.
func (d *Device) cut(p, sign int) {
	part := &d.Cut.Parts[p]
	d.Gone[p] = sign > 0
	d.Free -= sign * part.Share
	for i, n := range part.Takes {
		d.Left[i] -= int64(sign) * n
	}
}

// takes reports whether the request takes such a part.
func (r *Request) takes(p *Part) bool { return p.Share >= r.Share && r.allows(p.Model) }

// parts of a cut that the request takes.
func (r *Request) parts(c *Cut) []int {
	var out []int
	for i := range c.Parts {
		if r.takes(&c.Parts[i]) {
			out = append(out, i)
		}
	}
	return out
}

// room is how many parts for the request the device has at once, at most so many.
func (d *Device) room(r *Request, most int) int {
	if !r.near(d) {
		return 0
	}
	if most == 1 {
		for i := range d.Cut.Parts {
			if r.takes(&d.Cut.Parts[i]) && d.has(i) {
				return 1
			}
		}
		return 0
	}
	return len(d.pack(r.parts(d.Cut), most))
}

// packStepsMax bounds the search for how parts fit into a device. Vendors' parts are
// found in a few steps; of what takes more the best is taken that was found.
const packStepsMax = 4096

// pack is as many of these parts as the device has room for at once, at most so many.
func (d *Device) pack(parts []int, most int) []int {
	p := packer{d: d, left: slices.Clone(d.Left), most: most}
	for _, i := range parts {
		if d.has(i) {
			p.parts = append(p.parts, i)
		}
	}
	p.least = make([]int64, len(d.Left))
	for k, i := range p.parts {
		for c, n := range d.Cut.Parts[i].Takes {
			if k == 0 || n < p.least[c] {
				p.least[c] = n
			}
		}
	}
	p.search(0)
	return p.best
}

type packer struct {
	d     *Device
	left  []int64
	parts []int
	least []int64 // that any part takes of each counter
	most  int
	steps int

	now, best []int
}

// search tries all ways to go on from a part, the first parts first; true ends it.
func (p *packer) search(from int) bool {
	if len(p.now) > len(p.best) {
		p.best = slices.Clone(p.now)
	}
	if p.steps++; len(p.best) >= p.most || p.steps > packStepsMax {
		return true
	}
	for at := from; at < len(p.parts); at++ {
		if len(p.now)+p.bound(len(p.parts)-at) <= len(p.best) {
			return false
		}
		takes := p.d.Cut.Parts[p.parts[at]].Takes
		if !p.take(takes) {
			continue
		}
		p.now = append(p.now, p.parts[at])
		done := p.search(at + 1)
		p.now = p.now[:len(p.now)-1]
		for c, n := range takes {
			p.left[c] += n
		}
		if done {
			return true
		}
	}
	return false
}

func (p *packer) take(takes []int64) bool {
	for c, n := range takes {
		if n > p.left[c] {
			return false
		}
	}
	for c, n := range takes {
		p.left[c] -= n
	}
	return true
}

// bound is more parts than can still be had, of so many that are left to try.
func (p *packer) bound(n int) int {
	for c, least := range p.least {
		if least > 0 {
			n = int(min(int64(n), p.left[c]/least))
		}
	}
	return n
}

// pick is a device of a node that a request gets, or a part of one.
type pick struct{ device, part int }

// uncut is in place of a part where the device is not cut.
const uncut = -1

// picks of a decision.
func (d *Decision) picks() []pick {
	out := make([]pick, len(d.Devices))
	for i, k := range d.Devices {
		out[i] = pick{k, uncut}
		if d.Parts != nil {
			out[i].part = d.Parts[i]
		}
	}
	return out
}

// decision says where a request gets these.
func decision(node string, all []pick, score int64) Decision {
	d := Decision{Node: node, Devices: make([]int, len(all)), Score: score}
	for i, p := range all {
		if d.Devices[i] = p.device; p.part != uncut && d.Parts == nil {
			d.Parts = slices.Repeat([]int{uncut}, len(all))
		}
		if d.Parts != nil {
			d.Parts[i] = p.part
		}
	}
	return d
}

// milli is how many thousandths of devices these are for a request.
func (n *Node) milli(r *Request, all []pick) int64 {
	sum := 0
	for _, p := range all {
		if p.part == uncut {
			sum += r.Share
		} else {
			sum += n.Devices[p.device].Cut.Parts[p.part].Share
		}
	}
	return int64(sum)
}

// fill takes devices in an order: of one that is cut as many parts as there is room for.
func fill(n *Node, r *Request, order []int) []pick {
	out := make([]pick, 0, r.Count)
	for _, k := range order {
		d, want := &n.Devices[k], r.Count-len(out)
		switch {
		case want == 0:
			return out
		case d.Cut == nil:
			out = append(out, pick{k, uncut})
		default:
			for _, p := range d.pack(r.parts(d.Cut), want) {
				out = append(out, pick{k, p})
			}
		}
	}
	return out
}
