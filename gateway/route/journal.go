package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"polder.dev/polder/internal/logs"
)

// Bucket keeps objects.
type Bucket interface {
	// Put writes an object into a bucket that the tenant of namespace knows by this name, as
	// that tenant's jobs may. It does not try again.
	Put(ctx context.Context, namespace, bucket, key string, body []byte) error
}

// Bounds of the log.
const (
	queueMax      = 4096     // records that were not made yet
	queueBytesMax = 64 << 20 // of them
	batchBytes    = 4 << 20  // that are written at once
	batchAfter    = 10 * time.Second
	batchBytesMax = 16 << 20 // of a route whose bucket takes nothing
	putFor        = 30 * time.Second
	putAtOnce     = 4
	againMax      = 5 * time.Minute
	closeFor      = 10 * time.Second
)

// journal makes records and writes them to buckets, many at once: what a route has written
// becomes an object after batchAfter or batchBytes. Nothing waits for it.
type journal struct {
	log    *slog.Logger
	bucket Bucket
	gauges *gauges
	now    func() time.Time

	queue chan *raw
	bytes atomic.Int64 // in the queue

	mu      sync.Mutex
	batches map[batchKey]*pile
	serial  int
}

// batchKey is where records go.
type batchKey struct {
	namespace, route, bucket, prefix string
}

// pile is what waits to be written to one place.
type pile struct {
	route    *live
	lines    []byte
	count    int
	since    time.Time
	failures int
	next     time.Time // not to be tried before
	dropped  int64     // since the last object
}

func newJournal(log *slog.Logger, b Bucket, g *gauges, now func() time.Time) *journal {
	return &journal{log: log, bucket: b, gauges: g, now: now, queue: make(chan *raw, queueMax), batches: map[batchKey]*pile{}}
}

// add takes a record if there is room.
func (j *journal) add(r *raw) {
	if j.bytes.Add(r.size()) > queueBytesMax {
		j.bytes.Add(-r.size())
		j.gauges.logged(r.route.key, "dropped")
		return
	}
	select {
	case j.queue <- r:
	default:
		j.bytes.Add(-r.size())
		j.gauges.logged(r.route.key, "dropped")
	}
}

// run makes records and writes them until ctx ends, and then writes what is left.
func (j *journal) run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { j.write(ctx) })
	for done := false; !done; {
		select {
		case r := <-j.queue:
			j.take(r)
		case <-ctx.Done():
			done = true
		}
	}
	work.Wait()
	for len(j.queue) > 0 {
		j.take(<-j.queue)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeFor)
	defer cancel()
	j.flush(last, true)
	return nil
}

// write looks every second what is to be written.
func (j *journal) write(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			j.flush(ctx, false)
		}
	}
}

// take makes one record and puts it to those of its route.
func (j *journal) take(r *raw) {
	defer j.bytes.Add(-r.size())
	line, err := r.line()
	if err != nil {
		j.gauges.logged(r.route.key, "unreadable")
		return
	}
	key := batchKey{namespace: r.route.key.Namespace, route: r.route.key.Name, bucket: r.log.Bucket.Name, prefix: r.log.Bucket.Prefix}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.batches[key]
	if b == nil {
		b = &pile{route: r.route}
		j.batches[key] = b
	}
	if len(b.lines)+len(line) > batchBytesMax {
		b.dropped++
		j.gauges.logged(r.route.key, "dropped")
		return
	}
	if b.count == 0 {
		b.since = j.now()
	}
	b.route = r.route
	b.lines = append(b.lines, line...)
	b.count++
}

// flush writes what is due, or everything.
func (j *journal) flush(ctx context.Context, everything bool) {
	var g errgroup.Group
	g.SetLimit(putAtOnce)
	for key, b := range j.due(everything) {
		g.Go(func() error {
			j.put(ctx, key, b)
			return nil
		})
	}
	_ = g.Wait() // nothing fails there: what is not written is kept
}

// due takes out what is to be written. What has nothing left is forgotten.
func (j *journal) due(everything bool) map[batchKey]*pile {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	out := map[batchKey]*pile{}
	for key, b := range j.batches {
		switch {
		case b.count == 0:
			delete(j.batches, key)
		case everything, !now.Before(b.next) && (len(b.lines) >= batchBytes || now.Sub(b.since) >= batchAfter):
			out[key] = &pile{route: b.route, lines: b.lines, count: b.count, since: b.since}
			b.lines, b.count = nil, 0
		}
	}
	return out
}

// put writes one object. What could not be written is put back, before what came since.
func (j *journal) put(ctx context.Context, key batchKey, b *pile) {
	bounded, cancel := context.WithTimeout(ctx, putFor)
	defer cancel()
	err := j.bucket.Put(bounded, key.namespace, key.bucket, j.name(key, b), b.lines)
	j.mu.Lock()
	defer j.mu.Unlock()
	left := j.batches[key]
	if left == nil {
		left = &pile{route: b.route}
		j.batches[key] = left
	}
	if err == nil {
		for range b.count {
			j.gauges.logged(b.route.key, "kept")
		}
		left.failures = 0
		b.route.tellLog(left.lost())
		return
	}
	left.failures++
	left.next = j.now().Add(min(againMax, time.Second<<min(left.failures, 20)))
	if len(b.lines)+len(left.lines) > batchBytesMax {
		left.dropped += int64(left.count)
		for range left.count {
			j.gauges.logged(b.route.key, "dropped")
		}
		left.lines, left.count = nil, 0
	}
	left.lines, left.count, left.since = append(b.lines, left.lines...), left.count+b.count, b.since
	if !errors.Is(err, context.Canceled) {
		j.log.Warn("records of a route could not be written", logs.Namespace, key.namespace, logs.Name, key.route, logs.Err, err)
		b.route.tellLog(fmt.Sprintf("Records cannot be written to bucket %s: %v", key.bucket, err))
	}
}

// lost says that records were dropped, once.
func (b *pile) lost() string {
	n := b.dropped
	b.dropped = 0
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d records found no room and were dropped while the bucket took none.", n)
}

// name of the object: by day, route and time, and never twice.
func (j *journal) name(key batchKey, b *pile) string {
	j.mu.Lock()
	j.serial++
	n := j.serial
	j.mu.Unlock()
	prefix := key.prefix
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	at := b.since.UTC()
	return fmt.Sprintf("%s%s/%s-%s-%06d.jsonl", prefix, at.Format("2006/01/02"), key.route, at.Format("150405.000000000"), n)
}

// tellLog keeps what is wrong with a route's log for its status.
func (l *live) tellLog(problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logged = problem
}
