// Package batch computes rows of several requests together. While a run is under way,
// requests that come wait, and the next run takes as many of them as may go together; a
// request that comes when nothing runs starts at once, in its own goroutine, so that a
// lone one costs no change of goroutines. The server of models imports it.
package batch

import (
	"context"
	"errors"
	"sync"
	"time"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/tools/onnx/session"
)

// Model computes; *session.Session is one. Joins reports whether rows of several
// requests may be in one run.
type Model interface {
	Run([]infer.Tensor) ([]infer.Tensor, error)
	Joins() bool
}

// Options of New.
type Options struct {
	RowsMax int           // of one run, at least 1; requests with more are computed in parts
	Delay   time.Duration // that a request may wait for others while nothing runs
	RunsMax int           // at the same time, at least 1
	JobsMax int           // that wait, at least 1
	// Ran is told of every run: how many rows it had, and how long it took. It may be nil.
	Ran func(rows int, took time.Duration)
}

// ErrFull is what is answered when JobsMax requests wait already.
var ErrFull = errors.New("too many requests wait for the model")

// Batcher puts requests together.
type Batcher struct {
	model Model
	o     Options
	joins bool

	mu      sync.Mutex
	running int
	queue   []*job
	rows    int           // in queue
	filled  chan struct{} // where a leader waits for others: closed when there are enough
}

// job is what waits.
type job struct {
	in   []infer.Tensor
	rows int
	out  []infer.Tensor
	err  error
	turn chan bool // true: the job leads the next run; false: it is done
}

// New makes a batcher; there is nothing to stop.
func New(m Model, o Options) *Batcher {
	return &Batcher{model: m, o: o, joins: m.Joins()}
}

// Waiting is how many requests wait.
func (b *Batcher) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// Do computes the outputs of in, which has rows rows. It gives up when ctx ends, unless
// it is being computed by then.
func (b *Batcher) Do(ctx context.Context, in []infer.Tensor, rows int) ([]infer.Tensor, error) {
	if !b.joins || rows <= b.o.RowsMax {
		return b.one(ctx, in, rows)
	}
	var parts [][]infer.Tensor
	for from := 0; from < rows; from += b.o.RowsMax {
		to := min(from+b.o.RowsMax, rows)
		out, err := b.one(ctx, session.Slice(in, from, to), to-from)
		if err != nil {
			return nil, err
		}
		if len(parts) > 0 && !session.Fellow(parts[0], out) {
			return nil, errors.New("the model's outputs differ in shape from row to row; ask for fewer rows at a time")
		}
		parts = append(parts, out)
	}
	return session.Join(parts), nil
}

func (b *Batcher) one(ctx context.Context, in []infer.Tensor, rows int) ([]infer.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if b.running < b.o.RunsMax && b.filled == nil {
		b.running++
		if b.o.Delay > 0 && b.joins {
			b.gather(rows) // gives the lock back meanwhile
		}
		if len(b.queue) == 0 {
			b.mu.Unlock()
			out, err := b.run(in, rows)
			b.pass()
			return out, err
		}
		j := &job{in: in, rows: rows}
		b.lead(j)
		return j.out, j.err
	}
	if len(b.queue) >= b.o.JobsMax {
		b.mu.Unlock()
		return nil, ErrFull
	}
	j := &job{in: in, rows: rows, turn: make(chan bool, 1)}
	b.queue = append(b.queue, j)
	b.rows += rows
	b.full(0)
	b.mu.Unlock()
	if err := b.wait(ctx, j); err != nil {
		return nil, err
	}
	return j.out, j.err
}

// wait returns when j is done.
func (b *Batcher) wait(ctx context.Context, j *job) error {
	var lead bool
	select {
	case lead = <-j.turn:
	case <-ctx.Done():
		if b.leave(j) {
			return ctx.Err()
		}
		lead = <-j.turn // it was taken before it could leave
	}
	if lead {
		b.mu.Lock()
		b.lead(j)
	}
	return nil
}

// leave takes j out of the queue, if it is still there.
func (b *Batcher) leave(j *job) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == j {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.rows -= j.rows
			return true
		}
	}
	return false
}

// gather waits for others, with the lock held when it is called and when it returns.
func (b *Batcher) gather(rows int) {
	filled := make(chan struct{})
	b.filled = filled
	b.full(rows)
	b.mu.Unlock()
	t := time.NewTimer(b.o.Delay)
	select {
	case <-filled:
	case <-t.C:
	}
	t.Stop()
	b.mu.Lock()
	if b.filled == filled {
		b.filled = nil
	}
}

// full wakes a leader that waits, if there are rows enough. It has the lock.
func (b *Batcher) full(more int) {
	if b.filled != nil && b.rows+max(more, 1) >= b.o.RowsMax {
		close(b.filled)
		b.filled = nil
	}
}

// lead computes first and whoever can be computed with it. It is called with the lock,
// and gives it back.
func (b *Batcher) lead(first *job) {
	batch := b.take(first)
	b.mu.Unlock()
	outs, err := b.compute(batch)
	b.pass()
	for i, j := range batch {
		switch {
		case err == nil:
			j.out = outs[i]
		case len(batch) == 1:
			j.err = err
		default: // whose fault it was is found out one by one
			j.out, j.err = b.model.Run(j.in)
		}
		if j != first {
			j.turn <- false
		}
	}
}

// take removes from the queue who comes next and can be computed with first. It has the
// lock.
func (b *Batcher) take(first *job) []*job {
	batch := []*job{first}
	rows, n := first.rows, 0
	for _, j := range b.queue {
		if !b.joins || rows+j.rows > b.o.RowsMax || !session.Fellow(first.in, j.in) {
			break
		}
		rows += j.rows
		batch = append(batch, j)
		n++
	}
	b.drop(n)
	return batch
}

// drop removes the first n of the queue. It has the lock.
func (b *Batcher) drop(n int) {
	for _, j := range b.queue[:n] {
		b.rows -= j.rows
	}
	left := copy(b.queue, b.queue[n:])
	clear(b.queue[left:])
	b.queue = b.queue[:left]
}

// pass lets the first that waits lead the next run.
func (b *Batcher) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.running--
		return
	}
	next := b.queue[0]
	b.drop(1)
	next.turn <- true
}

// compute runs the model once, and parts what it answers.
func (b *Batcher) compute(batch []*job) ([][]infer.Tensor, error) {
	if len(batch) == 1 {
		out, err := b.run(batch[0].in, batch[0].rows)
		return [][]infer.Tensor{out}, err
	}
	parts := make([][]infer.Tensor, len(batch))
	rows := 0
	for i, j := range batch {
		parts[i] = j.in
		rows += j.rows
	}
	out, err := b.run(session.Join(parts), rows)
	if err != nil {
		return nil, err
	}
	for _, t := range out {
		if len(t.Shape) == 0 || t.Shape[0] != int64(rows) {
			return nil, errors.New("an output does not go by rows")
		}
	}
	at := 0
	for i, j := range batch {
		parts[i] = session.Slice(out, at, at+j.rows)
		at += j.rows
	}
	return parts, nil
}

func (b *Batcher) run(in []infer.Tensor, rows int) ([]infer.Tensor, error) {
	if b.o.Ran == nil {
		return b.model.Run(in)
	}
	began := time.Now()
	out, err := b.model.Run(in)
	b.o.Ran(rows, time.Since(began))
	return out, err
}
