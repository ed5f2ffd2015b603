package sched

import (
	"fmt"
	"slices"
)

// reach knows, of requests that cannot run on every device, where they can, how much
// of it they are expected to want, and how much they have.
type reach struct {
	b      *Board
	stocks []stock
	by     map[string]*reached // by models
}

// stock is a set of sorts of nodes that some requests cannot leave.
type stock struct {
	on       []int
	expected float64 // thousandths of devices, of a full cluster
	held     int64
}

type reached struct {
	hold  Hold
	stock int // index, or -1 for all nodes, or none
}

// newReach expects of a full cluster that its devices are asked for as the workload
// has it.
func newReach(b *Board) reach {
	c := reach{b: b, by: map[string]*reached{}}
	size, demand := int64(0), 0.0
	for i := range b.sorts {
		size += b.sorts[i].size
	}
	kinds := b.config.Workload.Kinds
	for i := range kinds {
		demand += float64(kinds[i].Weight * kinds[i].Request.Milli())
	}
	for i := range kinds {
		r := &kinds[i].Request
		if at := c.of(r); at != nil && at.stock >= 0 {
			c.stocks[at.stock].expected += float64(kinds[i].Weight*r.Milli()) / demand * float64(size)
		}
	}
	return c
}

// of finds where r can go; nil says anywhere.
func (c *reach) of(r *Request) *reached {
	if r.Count == 0 || len(r.Models) == 0 {
		return nil
	}
	key := fmt.Sprintf("%q", r.Models)
	if at := c.by[key]; at != nil {
		return at
	}
	at := &reached{hold: Hold{Models: r.Models}, stock: -1}
	c.by[key] = at
	var on []int
	devices := 0
	for s := range c.b.sorts {
		n := &c.b.nodes[c.b.sorts[s].example]
		if len(n.Devices) > 0 {
			devices++
		}
		if slices.ContainsFunc(n.Devices, func(d Device) bool { return r.could(&d) }) {
			on = append(on, s)
		}
	}
	if len(on) == 0 || len(on) == devices {
		return at
	}
	at.stock = slices.IndexFunc(c.stocks, func(s stock) bool { return slices.Equal(s.on, on) })
	if at.stock < 0 {
		at.stock = len(c.stocks)
		c.stocks = append(c.stocks, stock{on: on})
	}
	return at
}

// hold notes that such requests have so much more.
func (c *reach) hold(r *Request, milli int64) {
	if at := c.of(r); at != nil {
		at.hold.Milli += milli
		if at.stock >= 0 {
			c.stocks[at.stock].held += milli
		}
	}
}

// list is what is held, in order.
func (c *reach) list() []Hold {
	var out []Hold
	for _, at := range c.by {
		if at.hold.Milli != 0 {
			out = append(out, at.hold)
		}
	}
	slices.SortFunc(out, func(a, b Hold) int { return slices.Compare(a.Models, b.Models) })
	return out
}
