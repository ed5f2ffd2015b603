package sched

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind is one sort of request and how common it is.
type Kind struct {
	Request Request // without memory and domains, its devices' too, which fragments are not counted by
	Weight  int64
}

// Workload is what requests are expected to be like. Weights are whole numbers, so
// that what is equal compares equal however it was summed up.
type Workload struct{ Kinds []Kind }

// total of the weights.
func (w *Workload) total() int64 {
	var sum int64
	for i := range w.Kinds {
		sum += w.Kinds[i].Weight
	}
	return sum
}

// typical is what of a request tells kinds apart.
func typical(r Request) Request {
	r.Memory, r.Within, r.Together, r.In = 0, nil, "", ""
	return r
}

// Typical is the workload that the requests make, the most common kinds first.
func Typical(requests []Request) Workload {
	count := map[string]*Kind{}
	var key []byte
	for _, r := range requests {
		r = typical(r)
		key = r.shape(key[:0])
		k := count[string(key)]
		if k == nil {
			k = &Kind{Request: r}
			count[string(key)] = k
		}
		k.Weight++
	}
	var w Workload
	for _, k := range count {
		w.Kinds = append(w.Kinds, *k)
	}
	w.order()
	return w
}

// order sorts the kinds, the most common first.
func (w *Workload) order() {
	slices.SortFunc(w.Kinds, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(string(a.Request.shape(nil)), string(b.Request.shape(nil))))
	})
}

// Coverage is the share of requests, in percent, that fragments are reported by, as
// in the published runs.
const Coverage = 95

// Cover is the most common kinds of w, until they are so many percent of it.
func (w Workload) Cover(percent int) Workload {
	total, sum := w.total(), int64(0)
	for i := range w.Kinds {
		if sum*100 >= total*int64(percent) {
			return Workload{Kinds: w.Kinds[:i]}
		}
		sum += w.Kinds[i].Weight
	}
	return w
}

// Check says what is wrong with a workload.
func (w *Workload) Check() error {
	for i := range w.Kinds {
		if w.Kinds[i].Weight < 1 || w.Kinds[i].Weight > weightMax {
			return fmt.Errorf("kind %d of the workload: weight is %d; want 1 to %d", i, w.Kinds[i].Weight, int64(weightMax))
		}
		if err := w.Kinds[i].Request.Check(); err != nil {
			return fmt.Errorf("kind %d of the workload: %w", i, err)
		}
	}
	return nil
}

// weightMax keeps sums of weight times thousandths of devices far from the end of 64
// bits: a million kinds on a node of a thousand devices.
const weightMax = 1 << 22
