package sched

import (
	"fmt"
	"slices"
	"strings"
)

// Reason is why a node is none for a request: the first of these that holds.
type Reason int

// The reasons, in the order in which they are looked for: first what never changes.
const (
	Fits Reason = iota
	OtherDomain
	OtherModel
	FewDevices
	LittleCPU
	LittleMemory
	ManyPods
	DevicesTaken
	reasonCount
)

// Fit says whether n has room for r, and if not what it lacks: of devices that must be
// together, in the domain that comes nearest.
func Fit(n *Node, r *Request) Reason {
	if !within(n, r) {
		return OtherDomain
	}
	most := OtherModel
	for _, r := range r.apart(n) {
		if reason := fitOf(n, r); reason == Fits || reason > most {
			if most = reason; reason == Fits {
				break
			}
		}
	}
	return most
}

func fitOf(n *Node, r *Request) Reason {
	free, usable, fit := roomy(n, r), 0, 0
	for i := range n.Devices {
		d := &n.Devices[i]
		switch {
		case d.Cut != nil:
			whole := d.Cut.Whole()
			usable, fit = usable+whole.room(r, r.Count), fit+d.room(r, r.Count)
		case r.usable(d):
			usable, fit = usable+1, fit+1
		case r.could(d):
			usable++
		}
	}
	switch {
	case r.Count > 0 && usable == 0:
		return OtherModel
	case usable < r.Count:
		return FewDevices
	case free != Fits:
		return free
	case fit < r.Count:
		return DevicesTaken
	}
	return Fits
}

func within(n *Node, r *Request) bool {
	return !slices.ContainsFunc(r.Within, func(l Label) bool { return !slices.Contains(n.Domain, l) })
}

// roomy looks at what is not devices.
func roomy(n *Node, r *Request) Reason {
	switch {
	case n.Free.CPU < r.CPU:
		return LittleCPU
	case n.Free.Memory < r.Memory:
		return LittleMemory
	case n.Free.Pods < 1:
		return ManyPods
	}
	return Fits
}

// fits is Fit for who does not ask why.
func fits(n *Node, r *Request) bool {
	if n.Free.CPU < r.CPU || n.Free.Memory < r.Memory || n.Free.Pods < 1 || len(r.Within) > 0 && !within(n, r) {
		return false
	}
	if r.Together != "" && r.In == "" {
		return slices.ContainsFunc(r.apart(n), func(r *Request) bool { return fits(n, r) })
	}
	need, last, allowed := r.Count, "", false
	for i := 0; i < len(n.Devices) && need > 0; i++ {
		d := &n.Devices[i]
		if d.Cut != nil {
			need -= d.room(r, need)
			continue
		}
		if d.Free < r.Share {
			continue
		}
		if d.Model != last {
			last, allowed = d.Model, r.allows(d.Model)
		}
		if allowed && r.near(d) {
			need--
		}
	}
	return need == 0
}

// Refusal says why no node took a request: on how many nodes each reason held.
type Refusal struct {
	Request Request
	Nodes   int
	By      [reasonCount]int
}

// Explain counts, over all nodes, what keeps r away.
func (s *Snapshot) Explain(r Request) Refusal {
	f := Refusal{Request: r, Nodes: len(s.Nodes)}
	for i := range s.Nodes {
		f.By[Fit(&s.Nodes[i], &r)]++
	}
	return f
}

// String is the refusal in a sentence, what is missing most first.
func (f Refusal) String() string {
	var order []Reason
	for r := OtherDomain; r < reasonCount; r++ {
		if f.By[r] > 0 {
			order = append(order, r)
		}
	}
	slices.SortStableFunc(order, func(a, b Reason) int { return f.By[b] - f.By[a] })
	var parts []string
	for _, r := range order {
		parts = append(parts, f.words(r))
	}
	text := fmt.Sprintf("%d of %d nodes", f.By[Fits], f.Nodes)
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

func (f Refusal) words(r Reason) string {
	n, have, are := f.By[r], "have", "are"
	if n == 1 {
		have, are = "has", "is"
	}
	q := &f.Request
	device := "a device"
	if len(q.Models) > 0 {
		device = strings.Join(q.Models, " or ")
	}
	switch r {
	case OtherDomain:
		var at []string
		for _, l := range q.Within {
			at = append(at, l.Level+" "+l.Name)
		}
		return fmt.Sprintf("%d %s not in %s", n, are, strings.Join(at, ", "))
	case OtherModel:
		device = strings.TrimPrefix(device, "a ")
		if q.Together != "" {
			device += " with a " + q.together()
		}
		return fmt.Sprintf("%d %s no %s", n, have, device)
	case FewDevices:
		return fmt.Sprintf("%d %s fewer than %d such devices%s", n, have, q.Count, q.of())
	case LittleCPU:
		return fmt.Sprintf("%d %s too little CPU", n, have)
	case LittleMemory:
		return fmt.Sprintf("%d %s too little memory", n, have)
	case ManyPods:
		return fmt.Sprintf("%d %s all places for pods taken", n, have)
	}
	return fmt.Sprintf("%d %s %s", n, have, f.taken())
}

// taken says which devices are not free.
func (f Refusal) taken() string {
	q := &f.Request
	free := "free"
	if q.Share < Whole {
		free = fmt.Sprintf("with %d milli free", q.Share)
	}
	if q.Count == 1 {
		return "no device " + free
	}
	return fmt.Sprintf("fewer than %d devices %s%s", q.Count, free, q.of())
}
