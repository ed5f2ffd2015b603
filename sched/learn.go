package sched

import (
	"fmt"
	"math"
)

// Learner makes a workload of the requests that come, of which old ones count less.
type Learner struct {
	growth float64 // of the weight of each request over the one before
	weight float64 // of the next
	kinds  map[string]*learned
	key    []byte
}

type learned struct {
	request Request
	weight  float64
}

// Limits of what is remembered.
const (
	learnedMax = 4096    // kinds
	scaleMax   = 1 << 40 // weight, before all are scaled down
	halfMax    = 1 << 30
)

// NewLearner forgets half of what it knows every so many requests.
func NewLearner(half int) (*Learner, error) {
	if half < 1 || half > halfMax {
		return nil, fmt.Errorf("half is %d requests; want 1 to %d", half, halfMax)
	}
	return &Learner{growth: math.Exp2(1 / float64(half)), weight: 1, kinds: map[string]*learned{}}, nil
}

// Learn counts a request.
func (l *Learner) Learn(r Request) {
	r = typical(r)
	l.key = r.shape(l.key[:0])
	k := l.kinds[string(l.key)]
	if k == nil {
		if len(l.kinds) >= learnedMax {
			l.forget()
		}
		k = &learned{request: r}
		l.kinds[string(l.key)] = k
	}
	k.weight += l.weight
	if l.weight *= l.growth; l.weight > scaleMax {
		for _, k := range l.kinds {
			k.weight /= l.weight
		}
		l.weight = 1
	}
}

// forget drops the kind that counts least; of equals, the one whose shape is first.
func (l *Learner) forget() {
	least, at := "", math.Inf(1)
	for shape, k := range l.kinds {
		if k.weight < at || k.weight == at && shape < least {
			least, at = shape, k.weight
		}
	}
	delete(l.kinds, least)
}

// Workload is what is known now. Kinds that are less than a millionth of it are left
// out.
func (l *Learner) Workload() Workload {
	heaviest := 0.0
	for _, k := range l.kinds {
		heaviest = max(heaviest, k.weight)
	}
	var w Workload
	for _, k := range l.kinds {
		if n := int64(math.Round(k.weight / heaviest * (1 << 20))); n > 0 {
			w.Kinds = append(w.Kinds, Kind{k.request, n})
		}
	}
	w.order()
	return w
}
