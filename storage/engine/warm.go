package engine

import (
	"slices"
	"sync"
)

// warmMax is how many blobs of an object made of parts keep their files open.
const warmMax = 4

// warm remembers which pieces were used last, and lets go of the others' files.
type warm struct {
	mu   sync.Mutex
	last []int
}

func (w *warm) use(pieces []piece, i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := slices.Index(w.last, i); j >= 0 {
		w.last = append(slices.Delete(w.last, j, j+1), i)
		return
	}
	w.last = append(w.last, i)
	if len(w.last) > warmMax {
		pieces[w.last[0]].blob.Idle()
		w.last = w.last[1:]
	}
}
