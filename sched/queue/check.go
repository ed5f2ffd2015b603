package queue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// Error is one thing that is wrong with a forest or with a workload.
type Error struct {
	// Queue that is meant; "" when it is about flavours or a workload.
	Queue string
	// Field of the queue or of the workload, as people write it.
	Field string
	// Why, and what to do.
	Why string
}

// Error writes it as one sentence.
func (e *Error) Error() string {
	if e.Queue == "" {
		return e.Field + " " + e.Why
	}
	return fmt.Sprintf("queue %s: %s %s", e.Queue, e.Field, e.Why)
}

// Check says what is wrong with a forest, everything at once; nil when nothing is.
func Check(queues []Queue, flavors []Flavor, o Options) error {
	c := &checker{byName: map[string]*Queue{}, flavors: flavors, options: o}
	if len(queues) > queuesMax || len(flavors) > flavorsMax {
		return &Error{Field: "queues", Why: fmt.Sprintf("are %d and flavours %d; at most %d and %d can be handled", len(queues), len(flavors), queuesMax, flavorsMax)}
	}
	for i := range queues {
		q := &queues[i]
		switch {
		case q.Name == "":
			c.refuse(q, fmt.Sprintf("[%d].name", i), "is empty: name the queue")
		case c.byName[q.Name] != nil:
			c.refuse(q, "name", "is there twice: rename one of them")
		default:
			c.byName[q.Name] = q
		}
	}
	classes := map[Class]bool{}
	for i := range queues {
		c.queue(&queues[i])
		c.parent(&queues[i])
		for _, l := range queues[i].Quotas {
			classes[l.Class] = true
		}
	}
	if len(classes) > classesMax {
		c.errs = append(c.errs, &Error{Field: "quotas", Why: fmt.Sprintf("count %d different things; at most %d can be handled", len(classes), classesMax)})
	}
	if len(c.errs) == 0 {
		for _, n := range plant(queues, flavors).nodes[1:] {
			c.promises(&n)
		}
	}
	return errors.Join(c.errs...)
}

// promises sees to it that a queue promises its children no more than it has.
func (c *checker) promises(n *node) {
	for j, l := range n.queue.Quotas {
		if sum := n.promised[j]; len(n.children) > 0 && sum > l.Nominal {
			c.refuse(n.queue, fmt.Sprintf("quotas[%d].nominal", j), "is %s %s, and the queues below it are promised %s: raise it, or promise less",
				l.Class.Amount(l.Nominal), l.Class, l.Class.Amount(sum))
		}
	}
}

type checker struct {
	byName  map[string]*Queue
	flavors []Flavor
	options Options
	errs    []error
}

func (c *checker) refuse(q *Queue, field, format string, args ...any) {
	c.errs = append(c.errs, &Error{Queue: q.Name, Field: "spec." + field, Why: fmt.Sprintf(format, args...)})
}

// queue looks at one by itself.
func (c *checker) queue(q *Queue) {
	if q.Weight < 0 || math.IsNaN(q.Weight) || math.IsInf(q.Weight, 0) {
		c.refuse(q, "weight", "is %v: it must be a positive number", q.Weight)
	}
	seen := map[Class]bool{}
	for i, l := range q.Quotas {
		at := fmt.Sprintf("quotas[%d]", i)
		if seen[l.Class] {
			c.refuse(q, at, "counts %s a second time: keep one line", l.Class)
		}
		seen[l.Class] = true
		c.class(q, at, l.Class)
		if l.Nominal < 0 {
			c.refuse(q, at+".nominal", "is below zero: write 0 for a queue that only borrows")
		}
		if l.BorrowMax != nil && *l.BorrowMax < 0 {
			c.refuse(q, at+".borrowMax", "is below zero: write 0 for a queue that borrows nothing")
		}
		if l.LendMax != nil && (*l.LendMax < 0 || *l.LendMax > l.Nominal) {
			c.refuse(q, at+".lendMax", "is %s: it must lie between 0 and the nominal %s", l.Class.Amount(*l.LendMax), l.Class.Amount(l.Nominal))
		}
	}
}

// class looks at what a line counts.
func (c *checker) class(q *Queue, at string, l Class) {
	if l.Resource != "" {
		if l.Resource != CPU && l.Resource != Memory {
			c.refuse(q, at+".resource", "is %q: known are %s and %s; accelerators are counted by kind, product and memoryMin", l.Resource, CPU, Memory)
		}
		if l.Kind != "" || l.Product != "" || l.MemoryMin != 0 {
			c.refuse(q, at+".resource", "cannot stand beside kind, product or memoryMin: write two lines")
		}
		return
	}
	if l.Kind != "" && !slices.Contains(device.Kinds(), l.Kind) {
		c.refuse(q, at+".kind", "is %q, a kind of accelerator that nobody knows: known are %s", l.Kind, words(device.Kinds()))
	}
	if l.MemoryMin < 0 {
		c.refuse(q, at+".memoryMin", "is below zero: leave it out to count devices of any memory")
	}
	known := l.Product == "" || c.options.Products == nil || slices.Contains(c.options.Products, l.Product)
	if !known && !slices.ContainsFunc(c.flavors, func(f Flavor) bool { return f.Product == l.Product }) {
		c.refuse(q, at+".product", "is %q, an accelerator that nobody knows: `polder devices` shows what there is", l.Product)
	}
}

func words(kinds []device.Kind) string {
	var s []string
	for _, k := range kinds {
		s = append(s, string(k))
	}
	return strings.Join(s, ", ")
}

// parent follows a queue to its root.
func (c *checker) parent(q *Queue) {
	seen := []string{q.Name}
	for at := q; at.Parent != ""; {
		up := c.byName[at.Parent]
		if up == nil {
			if at == q { // said once, of the queue itself
				c.refuse(q, "parent", "is %q, which is no queue: known are %s", q.Parent, some(slices.Sorted(maps.Keys(c.byName))))
			}
			return
		}
		if up == q {
			c.refuse(q, "parent", "makes a circle: %s: leave one of them without a parent", strings.Join(append(seen, q.Name), " is below "))
			return
		}
		if slices.Contains(seen, up.Name) {
			return // a circle above it, which is said there
		}
		if len(seen) >= depthMax {
			c.refuse(q, "parent", "is %d levels deep; at most %d are allowed", len(seen)+1, depthMax)
			return
		}
		seen = append(seen, up.Name)
		at = up
	}
}

// some shows at most a few names.
func some(names []string) string {
	const most = 8
	if len(names) == 0 {
		return "none"
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}
