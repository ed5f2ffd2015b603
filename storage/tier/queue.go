package tier

import (
	"context"
	"errors"
	"sync"
	"time"

	"polder.dev/polder/storage"
)

// task is something to do with the data of one version.
type task struct {
	kind     kind
	bucket   *bucket
	key      string
	version  string
	revision uint64
}

type kind byte

const (
	flush   kind = iota // copy it down
	demote              // have it leave the home
	promote             // bring it home
)

// queueMax bounds what waits in memory for a lower tier. What does not fit is found
// again by a scan.
const queueMax = 100_000

// queue holds what waits for a lower tier.
type queue struct {
	mu      *sync.Mutex
	tasks   []task
	there   map[taskKey]bool
	flushes int
	lost    bool // something did not fit
	wake    chan struct{}
	backoff time.Duration // since the tier fails
}

type taskKey struct {
	kind     kind
	revision uint64
}

func newQueue() queue {
	return queue{mu: &sync.Mutex{}, there: map[taskKey]bool{}, wake: make(chan struct{}, 1)}
}

func (q *queue) add(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := taskKey{t.kind, t.revision}
	if q.there[k] {
		return
	}
	if len(q.tasks) >= queueMax {
		q.lost = q.lost || t.kind != promote
		return
	}
	q.there[k] = true
	q.tasks = append(q.tasks, t)
	if t.kind == flush {
		q.flushes++
	}
	q.ring()
}

func (q *queue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) take() (task, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.tasks) == 0 {
		q.tasks = nil
		return task{}, false
	}
	t := q.tasks[0]
	q.tasks = q.tasks[1:]
	delete(q.there, taskKey{t.kind, t.revision})
	if len(q.tasks) > 0 {
		q.ring() // for the next worker
	}
	return t, true
}

// done is called when a task that was taken has ended, well or not.
func (q *queue) done(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.kind == flush {
		q.flushes--
	}
}

// unflushed counts what waits for its copy, or is being copied.
func (q *queue) unflushed() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.flushes
}

// missed reports, once, that a scan has to find what did not fit, when there is room.
func (q *queue) missed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.lost || len(q.tasks) > queueMax/2 {
		return false
	}
	q.lost = false
	return true
}

const (
	backoffMin = time.Second
	backoffMax = time.Minute
)

// failed returns how long to leave the tier alone; worked ends that.
func (q *queue) failed() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.backoff = min(max(2*q.backoff, backoffMin), backoffMax)
	return q.backoff
}

func (q *queue) worked() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.backoff = 0
}

// finish does a task that was taken from a queue. What fails waits on.
func (s *Store) finish(ctx context.Context, l *level, t task) error {
	err := s.do(ctx, l, t)
	if err != nil {
		s.again(l, t, err)
	}
	l.queue.done(t)
	return err
}

// do does a task. What a policy does not want any more, or is pinned, stays.
func (s *Store) do(ctx context.Context, l *level, t task) error {
	p := t.bucket.policy.Load()
	switch {
	case t.kind == promote:
		if used, total, err := s.fill(ctx); err != nil || total > 0 && float64(used) > s.cfg.HighWater*float64(total) {
			return err // there is no room for what is only faster
		}
		return t.bucket.up(ctx, t)
	case p.lower != l:
		return nil
	case t.kind == demote:
		if t.bucket.pinned(p, t.key) {
			return nil
		}
		return t.bucket.down(ctx, t, l, true)
	}
	return t.bucket.down(ctx, t, l, false)
}

// Drain does all that waits for lower tiers now. What fails waits on.
func (s *Store) Drain(ctx context.Context) error {
	var errs []error
	for _, l := range s.levels {
		for {
			t, ok := l.queue.take()
			if !ok {
				break
			}
			if err := s.finish(ctx, l, t); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

// again has a task wait on, unless nothing is lost without it, or it is beyond help.
func (s *Store) again(l *level, t task, err error) {
	if t.kind != promote && !errors.Is(err, storage.ErrForbiddenPlace) && !errors.Is(err, storage.ErrClosed) {
		l.queue.add(t)
	}
}

// work does what waits for a tier until ctx ends.
func (s *Store) work(ctx context.Context, l *level) {
	for ctx.Err() == nil {
		t, ok := l.queue.take()
		if !ok {
			select {
			case <-ctx.Done():
			case <-l.queue.wake:
			}
			continue
		}
		err := s.finish(ctx, l, t)
		if err == nil {
			l.queue.worked()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		wait := l.queue.failed()
		s.cfg.Log.Warn("data could not be moved", "tier", l.Name, "bucket", t.bucket.Name(), "key", t.key, "retry", wait, "err", err)
		pause(ctx, wait)
	}
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
