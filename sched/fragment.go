package sched

import (
	"cmp"
	"slices"
)

// fragment is how many idle thousandths of n one request of kind r could not use: all
// of them if n has no room for it, else those of the devices that are too full. Work
// without devices can use none, so that what only it can use counts as lost.
func fragment(n *Node, r *Request) int64 {
	idle := n.Idle()
	if r.Count == 0 || n.Free.CPU < r.CPU {
		return idle
	}
	fit, usable := 0, int64(0)
	for i := range n.Devices {
		d := &n.Devices[i]
		switch {
		case d.Cut != nil:
			if room := d.room(r, r.Count); room > 0 {
				fit += room
				usable += int64(d.Free)
			}
		case r.usable(d):
			fit++
			usable += int64(d.Free)
		}
	}
	if fit < r.Count {
		return idle
	}
	return idle - usable
}

// Fragments is the weighted sum of what the kinds of w could not use of n's idle
// thousandths. Divided by the sum of the weights it is what a request of w can be
// expected not to use.
func (w *Workload) Fragments(n *Node) int64 {
	var sum int64
	for i := range w.Kinds {
		sum += w.Kinds[i].Weight * fragment(n, &w.Kinds[i].Request)
	}
	return sum
}

// table answers Fragments for nodes whose devices are all of one model and not cut,
// without going through the kinds one by one: kinds of one share and count differ by
// their CPU only.
type table struct {
	total  int64 // of all weights
	shares []int // ascending
	rows   []tableRow
}

// tableRow is the kinds of one share and count.
type tableRow struct {
	share int // index in shares
	count int
	cpus  []int64 // ascending
	upTo  []int64 // sum of the weights of cpus[:i+1]
}

// tabulate compiles w for a model.
func (w *Workload) tabulate(model string) *table {
	t := &table{total: w.total()}
	var kinds []*Kind
	for i := range w.Kinds {
		k := &w.Kinds[i]
		if k.Request.Count > 0 && k.Request.allows(model) {
			kinds = append(kinds, k)
		}
	}
	slices.SortStableFunc(kinds, func(a, b *Kind) int {
		x, y := &a.Request, &b.Request
		return cmp.Or(x.Share-y.Share, x.Count-y.Count, cmp.Compare(x.CPU, y.CPU))
	})
	for _, k := range kinds {
		r := &k.Request
		if n := len(t.shares); n == 0 || t.shares[n-1] != r.Share {
			t.shares = append(t.shares, r.Share)
		}
		share, n := len(t.shares)-1, len(t.rows)
		if n == 0 || t.rows[n-1].share != share || t.rows[n-1].count != r.Count {
			t.rows, n = append(t.rows, tableRow{share: share, count: r.Count}), n+1
		}
		row := &t.rows[n-1]
		before := int64(0)
		if m := len(row.upTo); m > 0 {
			before = row.upTo[m-1]
		}
		row.cpus, row.upTo = append(row.cpus, r.CPU), append(row.upTo, before+k.Weight)
	}
	return t
}

// weight of the row's kinds that a node with so much free CPU can feed.
func (r *tableRow) weight(cpu int64) int64 {
	i, _ := slices.BinarySearch(r.cpus, cpu+1)
	if i == 0 {
		return 0
	}
	return r.upTo[i-1]
}

// view is a node as a table sees it, to try changes of one device on.
type view struct {
	t      *table
	idle   int64
	fit    []int   // by share: devices with at least so much free
	usable []int64 // by share: what those have free
	weight []int64 // by row, at the CPU that is left
}

// look makes v a view of n with so much CPU free.
func (v *view) look(t *table, n *Node, cpu int64) {
	v.t, v.idle = t, n.Idle()
	v.fit, v.usable = zero(v.fit, len(t.shares)), zero(v.usable, len(t.shares))
	v.weight = v.weight[:0]
	for i := range n.Devices {
		v.put(n.Devices[i].Free, 1)
	}
	for i := range t.rows {
		v.weight = append(v.weight, t.rows[i].weight(cpu))
	}
}

// put adds, or with -1 takes away, a device with so much free; idle is the caller's.
func (v *view) put(free, sign int) {
	for s, share := range v.t.shares {
		if share > free {
			return
		}
		v.fit[s] += sign
		v.usable[s] += int64(sign * free)
	}
}

// sum is Fragments of what v shows.
func (v *view) sum() int64 {
	sum := v.t.total * v.idle
	for i := range v.t.rows {
		if r := &v.t.rows[i]; v.fit[r.share] >= r.count {
			sum -= v.weight[i] * v.usable[r.share]
		}
	}
	return sum
}

// without is sum after a device with so much free has lost some of it.
func (v *view) without(free, lost int) int64 {
	left, t := free-lost, v.t
	sum := t.total * (v.idle - int64(lost))
	for i := range t.rows {
		r := &t.rows[i]
		fit, usable := v.fit[r.share], v.usable[r.share]
		switch share := t.shares[r.share]; {
		case share <= left:
			usable -= int64(lost)
		case share <= free:
			fit, usable = fit-1, usable-int64(free)
		}
		if fit >= r.count {
			sum -= v.weight[i] * usable
		}
	}
	return sum
}

func zero[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}
