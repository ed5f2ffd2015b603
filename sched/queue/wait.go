package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The codes of a Wait.
const (
	// WaitQuota: the queues have no more, or what could be borrowed is in use.
	WaitQuota = "QuotaExceeded"
	// WaitCapacity: the quotas would allow it, and the cloud has no more.
	WaitCapacity = "CapacityExceeded"
	// WaitNever: it asks for more than it could have if nothing else ran.
	WaitNever = "TooLarge"
	// WaitTurn: it has not been its turn yet.
	WaitTurn = "InQueue"
)

// Wait says why a workload has not been admitted.
type Wait struct {
	Code string
	// Queue that lacks something: the workload's own or one above it; "" if it is the
	// cloud itself.
	Queue string
	// Class that it lacks, in words, and how much of it, in devices, processors or GiB.
	Class string
	Short float64
	// Borrowers are queues that have what they borrowed of it.
	Borrowers []string
	// Ahead is how many of its queue are looked at before it.
	Ahead int
	// When it is expected to start, if what runs is known to end; zero if not.
	When time.Time
	// Sentence for people.
	Sentence string
}

// Why says why a workload waits, as of the last cycle. ok is false if it does not.
func (s *State) Why(id string) (w Wait, ok bool) {
	j := s.jobs[id]
	if j == nil || j.with != nil {
		return Wait{}, false
	}
	w.Ahead = s.ahead(j)
	b, blocked := s.blockOf(j.like)
	if !blocked {
		w.Code, w.Queue = WaitTurn, s.tree.name(j.leaf)
		w.Sentence = fmt.Sprintf("it waits in queue %s, with %s before it", w.Queue, round(w.Ahead))
		return w, true
	}
	s.tell(&w, j, b)
	if w.Code != WaitNever && w.Ahead == 0 {
		if w.When = s.when(j); !w.When.IsZero() {
			w.Sentence += fmt.Sprintf("; that is expected in %s, when others end", about(w.When.Sub(s.now)))
		}
	}
	if w.Ahead > 0 {
		w.Sentence += fmt.Sprintf("; %s of its queue stand before it", round(w.Ahead))
	}
	return w, true
}

// ahead is how many of its queue are looked at before j. They are put in order once,
// for as long as nothing changes.
func (s *State) ahead(j *job) int {
	l := s.tree.nodes[j.leaf].leaf
	if l.ranks == nil {
		var all []*job
		for _, g := range l.groups {
			all = append(all, g.waiting...)
		}
		slices.SortFunc(all, before)
		l.ranks = make(map[*job]int, len(all))
		for i, o := range all {
			l.ranks[o] = i
		}
	}
	return l.ranks[j]
}

// blockOf finds what a group lacks now: of the flavour that it would be given first,
// among those that it could ever have.
func (s *State) blockOf(g *group) (block, bool) {
	var found *block
	for _, d := range g.demands {
		b, fits := s.fit(g.leaf, d, false)
		if fits {
			return block{}, false
		}
		if r, possible := s.fit(g.leaf, d, true); !possible {
			b = r
			b.never = true
		}
		if found == nil || found.never && !b.never {
			found = &b
		}
	}
	return *found, true
}

// tell writes the sentence.
func (s *State) tell(w *Wait, j *job, b block) {
	w.Code = WaitQuota
	own := s.tree.name(j.leaf)
	if b.node == 0 {
		f := &s.tree.flavors[b.flavor]
		c := Class{Resource: f.Resource, Kind: f.Kind, Product: f.Product}
		w.Code, w.Class, w.Short = WaitCapacity, c.String(), c.number(b.short)
		w.Sentence = fmt.Sprintf("it needs %s %s, and the cloud has %s in all, of which %s are given out: %s too few",
			c.Amount(b.asked), c, c.Amount(f.Capacity), c.Amount(s.given[b.flavor]), c.Amount(b.short))
		if b.never {
			w.Code = WaitNever
			w.Sentence = fmt.Sprintf("spec.workers and spec.accelerators ask for %s %s together, and the cloud has %s: ask for less, or add nodes", c.Amount(b.asked), c, c.Amount(f.Capacity))
		}
		return
	}
	c, n := s.tree.classes[b.class], &s.tree.nodes[b.node]
	l := &n.lines[b.class]
	w.Queue, w.Class, w.Short = n.queue.Name, c.String(), c.number(b.short)
	w.Borrowers = s.borrowers(j.leaf, b)
	has := fmt.Sprintf("%s of its own", c.Amount(l.nominal))
	if l.most > l.nominal && l.most < unlimited {
		has += fmt.Sprintf(" and may borrow %s", c.Amount(l.most-l.nominal))
	}
	if b.never {
		w.Code = WaitNever
		w.Sentence = fmt.Sprintf("spec.workers and spec.accelerators ask for %s %s together in queue %s, and queue %s has %s: ask for less, or use another queue",
			c.Amount(b.asked), c, own, w.Queue, has)
		return
	}
	w.Sentence = fmt.Sprintf("it needs %s %s; queue %s has %s, and %s are in use", c.Amount(b.asked), c, w.Queue, has, c.Amount(l.used))
	if b.node != j.leaf {
		mine := &s.tree.nodes[j.leaf].lines[b.class]
		w.Sentence = fmt.Sprintf("it needs %s %s; its queue %s uses %s of its own %s, and of the %s that queue %s shares out %s are in use or kept",
			c.Amount(b.asked), c, own, c.Amount(mine.used), c.Amount(mine.nominal), c.Amount(l.most), w.Queue, c.Amount(l.used))
	}
	w.Sentence += fmt.Sprintf(": %s too few", c.Amount(b.short))
	if len(w.Borrowers) > 0 {
		w.Sentence += "; borrowed by " + strings.Join(w.Borrowers, ", ")
	}
}

// borrowers names the leaves, other than the job's own, that have more than is theirs
// of what is lacking, with how much.
func (s *State) borrowers(leaf int, b block) []string {
	const most = 5
	var out []string
	todo := []int{b.node}
	for len(todo) > 0 {
		n := todo[0]
		todo = append(todo[1:], s.tree.nodes[n].children...)
		l := &s.tree.nodes[n].lines[b.class]
		if s.tree.nodes[n].leaf == nil || n == leaf || !l.bound || l.used <= l.nominal {
			continue
		}
		if len(out) == most {
			return append(out, "and others")
		}
		out = append(out, fmt.Sprintf("queue %s (%s)", s.tree.name(n), s.tree.classes[b.class].Amount(l.used-l.nominal)))
	}
	return out
}

// endsMax bounds how many ends one estimate looks at.
const endsMax = 1000

// when is the time at which enough of what runs is known to have ended. Nothing that
// might come before it in the meantime is thought of.
func (s *State) when(j *job) time.Time {
	var at time.Time
	var done []*job
	for _, o := range s.ending() {
		if !slices.ContainsFunc(j.like.demands, func(d *demand) bool { return overlap(o.with, d) }) {
			continue
		}
		s.release(o.leaf, o.with)
		done = append(done, o)
		if slices.ContainsFunc(j.like.demands, func(d *demand) bool { _, fits := s.fit(j.leaf, d, false); return fits }) {
			at = o.ends()
			break
		}
		if len(done) == endsMax {
			break
		}
	}
	for _, o := range done {
		s.charge(o.leaf, o.with)
	}
	if !at.IsZero() && at.Before(s.now) {
		at = s.now
	}
	return at
}

// ends is when a job is known to end.
func (j *job) ends() time.Time { return j.run.Started.Add(j.work.Duration) }

// ending is what is known to end, the first first. It is put in order once, for as long
// as nothing starts or ends.
func (s *State) ending() []*job {
	if s.ends == nil {
		s.ends = []*job{}
		for _, o := range s.jobs {
			if o.with != nil && o.work.Duration > 0 {
				s.ends = append(s.ends, o)
			}
		}
		slices.SortFunc(s.ends, func(a, b *job) int {
			return cmp.Or(a.ends().Compare(b.ends()), strings.Compare(a.work.ID, b.work.ID))
		})
	}
	return s.ends
}

// round writes a count so that it does not change with every job that starts.
func round(n int) string {
	unit := 1
	for n/unit > 10 {
		unit *= 10
	}
	if unit == 1 {
		return strconv.Itoa(n)
	}
	return "about " + strconv.Itoa((n+unit/2)/unit*unit)
}

// number is n units of the class as people count them.
func (c Class) number(n int64) float64 {
	switch c.Resource {
	case CPU:
		return float64(n) / 1000
	case Memory:
		return float64(n) / (1 << 30)
	}
	return float64(n) / float64(Device)
}

// about rounds a time to what one can know.
func about(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("about %d min", int(d.Round(time.Minute)/time.Minute))
	}
	return fmt.Sprintf("about %d h", int(d.Round(time.Hour)/time.Hour))
}
