package budget_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"polder.dev/polder/storage/budget"
)

func TestTake(t *testing.T) {
	b := budget.New(100)
	var cached int64
	b.Yields(func(n int64) bool {
		n = min(n, cached)
		cached -= n
		b.Give(budget.Cache, n)
		return n > 0
	})
	cached = 90
	if !b.Spare(budget.Cache, 90) || b.Spare(budget.Requests, 11) || !b.Spare(budget.Answers, 10) {
		t.Error("what is free is not what is spare")
	}
	if !b.Take(budget.Bodies, 33) || cached != 57 {
		t.Errorf("the cache has %d of 57 bytes, bodies %d", cached, b.Used(budget.Bodies))
	}
	if b.Take(budget.Bodies, 1) {
		t.Error("bodies get more than a third")
	}
	if !b.Take(budget.Requests, 57) || b.Take(budget.Requests, 1) {
		t.Errorf("requests have %d of 57 bytes", b.Used(budget.Requests))
	}
	b.Give(budget.Bodies, 33)
	if !b.Spare(budget.Requests, 33) || b.Spare(budget.Requests, 1) {
		t.Error("what was given back is not there")
	}
	if b.Take(budget.Requests, 101) {
		t.Error("more than all was given")
	}
}

// TestBound: what is taken at once is never more than there is, and all of it comes back.
func TestBound(t *testing.T) {
	const most = 1000
	b := budget.New(most)
	var out atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			for range 5000 {
				p, n := budget.Parts()[rng.IntN(4)], 1+rng.Int64N(300)
				if !b.Take(p, n) {
					continue
				}
				if sum := out.Add(n); sum > most {
					t.Errorf("%d bytes are out", sum)
				}
				out.Add(-n)
				b.Give(p, n)
			}
		})
	}
	wg.Wait()
	for _, p := range budget.Parts() {
		if n := b.Used(p); n != 0 {
			t.Errorf("%v has %d bytes left", p, n)
		}
	}
	if !b.Take(budget.Requests, most) {
		t.Error("not all came back")
	}
}

func TestNone(t *testing.T) {
	var b *budget.Budget
	b.Yields(nil)
	if !b.Take(budget.Bodies, 1<<60) || b.BytesMax() != 0 || b.Used(budget.Bodies) != 0 {
		t.Error("no budget has a bound")
	}
	b.Give(budget.Bodies, 1)
}
