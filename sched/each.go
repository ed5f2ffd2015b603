package sched

// each is a request that is tried on a node with devices of several models, or that are
// cut.
type each struct {
	g      *gradient
	r      *Request
	n      Node // a copy, on which it is tried
	before int64
	idle   int64
	chosen []bool // of devices that are not cut
	room   []int  // of each device, for what the request still wants
	rooms  int    // all of these
	// beyond is how many thousandths more the request has got than it asked for.
	beyond int64
	picks  []pick
}

// tryEach is try by the definition. What a request is given beyond what it asks for is
// lost like a fragment: of two parts that would do the smaller is taken, unless that one
// breaks more.
func (g *gradient) tryEach(i int, r *Request) (picks []pick, after, lost int64) {
	e := g.each(i, r)
	if n := &g.b.nodes[i]; !g.b.sorts[g.b.sort[i]].cut && (r.Count != 1 || r.Share == Whole) {
		e.take(firstDevices(n, r)...)
	} else {
		for left := r.Count; left > 0; left-- {
			p, ok := e.best(left)
			if !ok { // it takes too long to see what fits; what was seen to fit does
				e = g.each(i, r)
				e.take(fill(n, r, usableDevices(n, r))...)
				break
			}
			e.take(p)
		}
	}
	after = e.fragments()
	return e.picks, after, after + g.b.seen.total*e.beyond
}

func (g *gradient) each(i int, r *Request) *each {
	n := &g.b.nodes[i]
	e := &each{g: g, r: r, n: n.clone(), before: g.b.seen.of[i], idle: n.Idle(), chosen: make([]bool, len(n.Devices)), room: make([]int, len(n.Devices))}
	e.n.Free.CPU -= r.CPU
	g.b.seen.rooms.look(&e.n)
	for k := range n.Devices {
		e.room[k] = e.roomOf(k)
		e.rooms += e.room[k]
	}
	return e
}

func (e *each) fragments() int64 { return e.g.b.seen.rooms.sum(e.idle, e.n.Free.CPU) }

// roomOf is how many more the request could get of a device.
func (e *each) roomOf(k int) int {
	d := &e.n.Devices[k]
	switch {
	case d.Cut != nil:
		return d.room(e.r, e.r.Count)
	case !e.chosen[k] && e.r.usable(d):
		return 1
	}
	return 0
}

// put gives the request a device or part, or with -1 takes it back.
func (e *each) put(p pick, sign int) {
	m, d, share := e.g.b.seen.rooms, &e.n.Devices[p.device], e.r.Share
	m.put(d, -1)
	if p.part == uncut {
		e.chosen[p.device] = sign > 0
		d.Free -= sign * share
	} else {
		share = d.Cut.Parts[p.part].Share
		d.cut(p.part, sign)
	}
	m.put(d, 1)
	e.idle -= int64(sign * share)
	e.beyond += int64(sign * (share - e.r.Share))
}

// take does so for good.
func (e *each) take(all ...pick) {
	for _, p := range all {
		e.put(p, 1)
		e.rooms -= e.room[p.device]
		e.room[p.device] = e.roomOf(p.device)
		e.rooms += e.room[p.device]
		e.picks = append(e.picks, p)
	}
}

// best is the next of so many that the request still wants; none that would leave no
// room for the others. Of equals it is the smallest, and of these the first.
func (e *each) best(left int) (best pick, ok bool) {
	top, least, beyond := int32(-1), int64(0), int64(0)
	e.options(func(p pick) {
		e.put(p, 1)
		if e.rooms-e.room[p.device]+e.roomOf(p.device) >= left-1 {
			lost := e.fragments() + e.g.b.seen.total*e.beyond
			s := e.g.slope(e.before, lost)
			if !e.g.exact {
				lost = 0 // what scores alike is alike
			}
			if !ok || s > top || s == top && (lost < least || lost == least && e.beyond < beyond) {
				best, top, least, beyond, ok = p, s, lost, e.beyond, true
			}
		}
		e.put(p, -1)
	})
	return best, ok
}

// likeness is the same for devices that are in the same state.
type likeness struct {
	cut   *Cut
	state string
	model string
	free  int
}

// options tells what the request may be given next; of what is alike the first.
func (e *each) options(tell func(pick)) {
	m := e.g.b.seen.rooms
	seen := map[likeness]bool{}
	for k := range e.n.Devices {
		d := &e.n.Devices[k]
		like := likeness{model: d.Model, free: d.Free}
		var twins []int
		if d.Cut != nil {
			of := m.cut(d.Cut)
			like, twins = likeness{cut: d.Cut, state: string(m.state(d, of))}, of.twin
		}
		if e.room[k] == 0 || seen[like] {
			continue
		}
		seen[like] = true
		if d.Cut == nil {
			tell(pick{k, uncut})
			continue
		}
		told := make([]bool, len(twins))
		for p, twin := range twins {
			if !told[twin] && e.r.takes(&d.Cut.Parts[p]) && d.has(p) {
				told[twin] = true
				tell(pick{k, p})
			}
		}
	}
}
