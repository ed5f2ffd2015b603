package sched

import (
	"encoding/binary"
	"slices"
)

// rooms answers Fragments for nodes with devices of several models, or that are cut. How
// many parts of each size a device still has room for depends on what is left of it
// alone, and few ways to be cut come up, so that these are remembered.
type rooms struct {
	workload Workload
	total    int64
	asks     []Request        // those of the kinds that differ in what they want of devices
	of       []int            // by kind: the ask, or -1
	allowed  map[string][]int // by model of a device that is not cut: asks
	cuts     map[*Cut]*cutRooms

	// The node that is looked at, by ask: parts and devices that there are for it, and what
	// those devices have free.
	fit    []int
	usable []int64
	key    []byte
}

// cutRooms is what is known of devices with one cut.
type cutRooms struct {
	twin   []int // of each part, the first that is like it
	states map[string][]int
}

// statesMax bounds what is remembered of a cut.
const statesMax = 1 << 14

func newRooms(w Workload) *rooms {
	m := &rooms{workload: w, total: w.total(), allowed: map[string][]int{}, cuts: map[*Cut]*cutRooms{}}
	at := map[string]int{}
	for i := range w.Kinds {
		r := w.Kinds[i].Request
		if r.Count == 0 {
			m.of = append(m.of, -1)
			continue
		}
		ask := Request{Count: 1, Share: r.Share, Models: r.Models}
		shape := ask.Shape()
		k, known := at[shape]
		if !known {
			k = len(m.asks)
			at[shape], m.asks = k, append(m.asks, ask)
		}
		m.asks[k].Count = max(m.asks[k].Count, r.Count)
		m.of = append(m.of, k)
	}
	return m
}

// state is a key for what is left of a device: two with the same key have the same room.
func (m *rooms) state(d *Device, of *cutRooms) []byte {
	m.key = m.key[:0]
	for _, n := range d.Left {
		m.key = binary.AppendVarint(m.key, n)
	}
	for p, twin := range of.twin {
		if twin != p {
			continue
		}
		gone := uint64(0)
		for q := p; q < len(of.twin); q++ {
			if of.twin[q] == p && d.Gone[q] {
				gone++
			}
		}
		m.key = binary.AppendUvarint(m.key, gone)
	}
	return m.key
}

func (m *rooms) cut(c *Cut) *cutRooms {
	of := m.cuts[c]
	if of == nil {
		of = &cutRooms{states: map[string][]int{}}
		for p := range c.Parts {
			of.twin = append(of.twin, slices.IndexFunc(c.Parts, func(o Part) bool {
				return o.Model == c.Parts[p].Model && o.Share == c.Parts[p].Share && slices.Equal(o.Takes, c.Parts[p].Takes)
			}))
		}
		m.cuts[c] = of
	}
	return of
}

// at is how much room a device that is cut has for each ask.
func (m *rooms) at(d *Device) []int {
	of := m.cut(d.Cut)
	key := m.state(d, of)
	if room := of.states[string(key)]; room != nil {
		return room
	}
	if len(of.states) >= statesMax {
		clear(of.states)
	}
	room := make([]int, len(m.asks), len(m.asks)+1)
	for a := range m.asks {
		room[a] = d.room(&m.asks[a], m.asks[a].Count)
	}
	of.states[string(key)] = room
	return room
}

// plain is the asks that may run on a model.
func (m *rooms) plain(model string) []int {
	asks, known := m.allowed[model]
	if !known {
		for a := range m.asks {
			if m.asks[a].allows(model) {
				asks = append(asks, a)
			}
		}
		m.allowed[model] = asks
	}
	return asks
}

// look has the next answers be about n.
func (m *rooms) look(n *Node) {
	m.fit, m.usable = zero(m.fit, len(m.asks)), zero(m.usable, len(m.asks))
	for i := range n.Devices {
		m.put(&n.Devices[i], 1)
	}
}

// put adds a device as it is, or with -1 takes it away.
func (m *rooms) put(d *Device, sign int) {
	if d.Cut != nil {
		for a, room := range m.at(d) {
			if room > 0 {
				m.fit[a] += sign * room
				m.usable[a] += int64(sign * d.Free)
			}
		}
		return
	}
	for _, a := range m.plain(d.Model) {
		if d.Free >= m.asks[a].Share {
			m.fit[a] += sign
			m.usable[a] += int64(sign * d.Free)
		}
	}
}

// sum is Fragments of what was looked at, with so much idle and so much CPU free.
func (m *rooms) sum(idle, cpu int64) int64 {
	sum := m.total * idle
	for i := range m.workload.Kinds {
		k := &m.workload.Kinds[i]
		if a := m.of[i]; a >= 0 && k.Request.CPU <= cpu && m.fit[a] >= k.Request.Count {
			sum -= k.Weight * m.usable[a]
		}
	}
	return sum
}
