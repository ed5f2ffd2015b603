package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/model/infer"
)

// double answers twice its input. Every run tells its rows to began, and goes on when it
// may receive from goOn; where these are nil it does not wait.
type double struct {
	began chan int
	goOn  chan struct{}
	alone bool // rows do not join
	bad   float32
	runs  atomic.Int32
}

var errBad = errors.New("a bad number")

func (d *double) Joins() bool { return !d.alone }

func (d *double) Run(in []infer.Tensor) ([]infer.Tensor, error) {
	d.runs.Add(1)
	if d.began != nil {
		d.began <- int(in[0].Shape[0])
		<-d.goOn
	}
	x := in[0].Data.([]float32)
	y := make([]float32, len(x))
	for i, v := range x {
		if d.bad != 0 && v == d.bad {
			return nil, errBad
		}
		y[i] = 2 * v
	}
	return []infer.Tensor{infer.New("y", y, in[0].Shape...)}, nil
}

func blocking() *double { return &double{began: make(chan int), goOn: make(chan struct{})} }

func rows(values ...float32) []infer.Tensor {
	return []infer.Tensor{infer.New("x", values, int64(len(values)), 1)}
}

// ask runs Do for one row each, in goroutines, and returns when all of them wait or run.
func ask(t *testing.T, b *Batcher, g *sync.WaitGroup, values ...float32) {
	t.Helper()
	before := b.Waiting()
	for i, v := range values {
		g.Go(func() {
			out, err := b.Do(t.Context(), rows(v), 1)
			if err != nil || !slices.Equal(out[0].Data.([]float32), []float32{2 * v}) {
				t.Errorf("%v: got %v, %v", v, out, err)
			}
		})
		until(t, func() bool { return b.Waiting() == before+i+1 })
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

// Those that come while a run is under way are computed together, in the order in which
// they came, and never more than RowsMax.
func TestTogether(t *testing.T) {
	m := blocking()
	b := New(m, Options{RowsMax: 3, RunsMax: 1, JobsMax: 10})
	var g sync.WaitGroup
	g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
	if n := <-m.began; n != 1 {
		t.Fatalf("a lone request ran with %d rows", n)
	}
	ask(t, b, &g, 2, 3, 4, 5)
	m.goOn <- struct{}{}
	for _, want := range []int{3, 1} {
		if n := <-m.began; n != want {
			t.Errorf("a run had %d rows, want %d", n, want)
		}
		m.goOn <- struct{}{}
	}
	g.Wait()
	if b.running != 0 || b.rows != 0 || len(b.queue) != 0 {
		t.Errorf("left behind: %d runs, %d rows, %d jobs", b.running, b.rows, len(b.queue))
	}
}

func TestNotTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		model  *double
		second []infer.Tensor
	}{
		{"rows do not join", &double{alone: true, began: make(chan int), goOn: make(chan struct{})}, rows(3)},
		{"of another shape", blocking(), []infer.Tensor{infer.New("x", []float32{3, 3}, 1, 2)}},
	} {
		b := New(c.model, Options{RowsMax: 9, RunsMax: 1, JobsMax: 10})
		var g sync.WaitGroup
		g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
		<-c.model.began
		ask(t, b, &g, 2)
		g.Go(func() { _, _ = b.Do(t.Context(), c.second, 1) })
		until(t, func() bool { return b.Waiting() == 2 })
		c.model.goOn <- struct{}{}
		for range 2 {
			if n := <-c.model.began; n != 1 {
				t.Errorf("%s: a run had %d rows", c.name, n)
			}
			c.model.goOn <- struct{}{}
		}
		g.Wait()
	}
}

func TestParts(t *testing.T) {
	m := &double{}
	b := New(m, Options{RowsMax: 2, RunsMax: 1, JobsMax: 10})
	out, err := b.Do(t.Context(), rows(1, 2, 3, 4, 5), 5)
	if err != nil || !slices.Equal(out[0].Data.([]float32), []float32{2, 4, 6, 8, 10}) || out[0].Shape[0] != 5 || m.runs.Load() != 3 {
		t.Errorf("got %v, %v in %d runs", out, err, m.runs.Load())
	}
}

// One bad request among several is the only one that fails.
func TestBad(t *testing.T) {
	m := blocking()
	m.bad = 3
	b := New(m, Options{RowsMax: 9, RunsMax: 1, JobsMax: 10})
	var g sync.WaitGroup
	g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
	<-m.began
	ask(t, b, &g, 2)
	g.Go(func() {
		if _, err := b.Do(t.Context(), rows(3), 1); !errors.Is(err, errBad) {
			t.Errorf("the bad one: %v", err)
		}
	})
	until(t, func() bool { return b.Waiting() == 2 })
	m.goOn <- struct{}{}
	for _, want := range []int{2, 1, 1} {
		if n := <-m.began; n != want {
			t.Errorf("a run had %d rows, want %d", n, want)
		}
		m.goOn <- struct{}{}
	}
	g.Wait()
}

func TestFull(t *testing.T) {
	m := blocking()
	b := New(m, Options{RowsMax: 9, RunsMax: 1, JobsMax: 1})
	var g sync.WaitGroup
	g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
	<-m.began
	ask(t, b, &g, 2)
	if _, err := b.Do(t.Context(), rows(3), 1); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	m.goOn <- struct{}{}
	<-m.began
	m.goOn <- struct{}{}
	g.Wait()
}

// Who gives up while it waits is not computed.
func TestGivesUp(t *testing.T) {
	m := blocking()
	b := New(m, Options{RowsMax: 9, RunsMax: 1, JobsMax: 9})
	var g sync.WaitGroup
	g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
	<-m.began
	ctx, cancel := context.WithCancel(t.Context())
	g.Go(func() {
		if _, err := b.Do(ctx, rows(2), 1); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
	})
	until(t, func() bool { return b.Waiting() == 1 })
	cancel()
	until(t, func() bool { return b.Waiting() == 0 })
	m.goOn <- struct{}{}
	g.Wait()
	if m.runs.Load() != 1 || b.running != 0 {
		t.Errorf("%d runs, %d under way", m.runs.Load(), b.running)
	}
}

// With a delay, the first waits for others, until there are enough of them.
func TestDelay(t *testing.T) {
	m := &double{}
	sizes := make(chan int, 9)
	b := New(m, Options{RowsMax: 3, RunsMax: 1, JobsMax: 9, Delay: time.Hour, Ran: func(n int, _ time.Duration) { sizes <- n }})
	var g sync.WaitGroup
	g.Go(func() { _, _ = b.Do(t.Context(), rows(1), 1) })
	until(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.filled != nil })
	ask(t, b, &g, 2)
	g.Go(func() { _, _ = b.Do(t.Context(), rows(3), 1) })
	g.Wait()
	if n := <-sizes; n != 3 {
		t.Errorf("the run had %d rows, want 3", n)
	}
	b.o.Delay = time.Millisecond
	if out, err := b.Do(t.Context(), rows(4), 1); err != nil || out[0].Data.([]float32)[0] != 8 {
		t.Errorf("a lone one: %v, %v", out, err)
	}
}

// Many at a time, some of which give up: everybody gets their own answer.
func TestMany(t *testing.T) {
	for _, runs := range []int{1, 3} {
		for _, delay := range []time.Duration{0, 50 * time.Microsecond} {
			t.Run(fmt.Sprint(runs, delay), func(t *testing.T) {
				b := New(&double{}, Options{RowsMax: 5, RunsMax: runs, JobsMax: 1000, Delay: delay})
				var g sync.WaitGroup
				for w := range 16 {
					g.Go(func() {
						for i := range 300 {
							v := float32(1 + w*1000 + i)
							ctx, cancel := context.WithCancel(t.Context())
							if i%7 == 0 {
								go cancel()
							}
							out, err := b.Do(ctx, rows(v, v+0.5), 2)
							cancel()
							if errors.Is(err, context.Canceled) && i%7 == 0 {
								continue
							}
							if err != nil || !slices.Equal(out[0].Data.([]float32), []float32{2 * v, 2*v + 1}) {
								t.Errorf("%v: got %v, %v", v, out, err)
							}
						}
					})
				}
				g.Wait()
				if b.running != 0 || len(b.queue) != 0 || b.rows != 0 {
					t.Errorf("left behind: %d runs, %d rows, %d jobs", b.running, b.rows, len(b.queue))
				}
			})
		}
	}
}
