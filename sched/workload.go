package sched

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind is one sort of request and how common it is.
type Kind struct {
	Request Request // without memory and domains, which fragments are not counted by
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
	r.Memory, r.Within = 0, nil
	return r
}

// Coverage is the share of requests that a workload speaks for, in percent. Kinds so
// rare that they are outside cost time and change nothing; at 80 % the fragments of
// those left out begin to matter.
const Coverage = 95

// Typical is the workload that the requests make: the most common kinds, until they
// cover so many percent of all.
func Typical(requests []Request, coverage int) Workload {
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
	all := make([]Kind, 0, len(count))
	for _, k := range count {
		all = append(all, *k)
	}
	return cover(all, coverage)
}

// cover keeps the most common kinds.
func cover(all []Kind, coverage int) Workload {
	slices.SortFunc(all, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(string(a.Request.shape(nil)), string(b.Request.shape(nil))))
	})
	w := Workload{Kinds: all}
	total, sum := w.total(), int64(0)
	for i := range all {
		if sum*100 >= total*int64(coverage) {
			w.Kinds = slices.Clone(all[:i])
			break
		}
		sum += all[i].Weight
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
