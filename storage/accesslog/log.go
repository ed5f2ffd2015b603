package accesslog

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
)

// How long records wait and how many bytes of them, of one bucket and of all.
const (
	period       = time.Minute
	deliverBytes = 1 << 20
	sourceMax    = 8 << 20
	bytesMax     = 32 << 20
)

// Options are what a Log is configured with. Put must be given.
type Options struct {
	// Put stores a log as an object of a bucket of the source's owner, if it may.
	Put func(ctx context.Context, from *Source, bucket, key string, text []byte) error
	// Region is in the keys of some layouts.
	Region  string
	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer // may be nil
}

// Log has the records that are not delivered yet. A nil Log wants none.
type Log struct {
	o      Options
	meters *meters
	wake   chan struct{}

	sending sync.Mutex // held by whoever delivers

	mu      sync.Mutex
	piles   map[pileKey]*pile
	held    int             // bytes, also of what is being delivered
	trouble map[string]bool // buckets of which it was said that records are lost
}

// pileKey is what the records of one object have in common.
type pileKey struct {
	bucket, label string
	day           int64 // since 1970
}

type pile struct {
	from  Source
	lines []byte
	count int
	tried bool // and waits for the next period
}

// troubleMax bounds what is remembered of buckets with trouble.
const troubleMax = 10_000

// New makes a Log. It delivers nothing before Run, Deliver or Close is called.
func New(o Options) (*Log, error) {
	if o.Put == nil {
		return nil, errors.New("accesslog: Put is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{o: o, wake: make(chan struct{}, 1), piles: map[pileKey]*pile{}, trouble: map[string]bool{}}
	var err error
	l.meters, err = newMeters(l, o.Metrics)
	return l, err
}

// Wants says whether requests to a bucket are logged.
func (l *Log) Wants(info *storage.BucketInfo) bool {
	return l != nil && info.Settings.Labels[Label] != ""
}

// Add keeps a record of a request to a bucket that Wants has said yes of. It never waits for
// a delivery: a record for which there is no room is lost, and counted.
func (l *Log) Add(info *storage.BucketInfo, r *Record) {
	from := SourceOf(info)
	r.Owner, r.Bucket = from.Owner, from.Name
	line := r.append(make([]byte, 0, 512))
	k := pileKey{info.Name, info.Settings.Labels[Label], r.Time.Unix() / (24 * 60 * 60)}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.piles[k]
	if l.held+len(line) > bytesMax || p != nil && len(p.lines)+len(line) > sourceMax {
		l.lose(&from, 1, l.meters.full, errFull)
		return
	}
	if p == nil {
		p = &pile{}
		l.piles[k] = p
	}
	p.from = from // where the bytes may go is as the bucket says now
	p.lines = append(p.lines, line...)
	p.count++
	l.held += len(line)
	if len(p.lines) >= deliverBytes && !p.tried {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// errFull says that more records came than could be delivered.
var errFull = errors.New("more records came than could be delivered")

// lose counts records that nobody will see, and says so once until some of the bucket are
// delivered again. l.mu is held.
func (l *Log) lose(from *Source, n int, counter prometheus.Counter, why error) {
	counter.Add(float64(n))
	if l.trouble[from.Bucket] {
		return
	}
	if len(l.trouble) >= troubleMax {
		clear(l.trouble)
	}
	l.trouble[from.Bucket] = true
	l.o.Log.Error("records of a bucket's access log are lost", "bucket", from.Bucket, "error", why)
}

// Run delivers until ctx ends. What is left then Close delivers.
func (l *Log) Run(ctx context.Context) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.Deliver(ctx)
		case <-l.wake:
			l.deliver(ctx, func(p *pile) bool { return len(p.lines) >= deliverBytes && !p.tried })
		}
	}
}

// Deliver delivers what there is now. What a store that is away does not take waits for the
// next time.
func (l *Log) Deliver(ctx context.Context) { l.deliver(ctx, func(*pile) bool { return true }) }

// Close delivers what there is for the last time; what does not go is lost.
func (l *Log) Close(ctx context.Context) {
	l.Deliver(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, p := range l.piles {
		delete(l.piles, k)
		l.held -= len(p.lines)
		l.lose(&p.from, p.count, l.meters.failed, errors.New("the store stops, and the log could not be put into its bucket"))
	}
}

func (l *Log) deliver(ctx context.Context, which func(*pile) bool) {
	l.sending.Lock()
	defer l.sending.Unlock()
	now := map[pileKey]*pile{}
	l.mu.Lock()
	for k, p := range l.piles {
		if which(p) {
			delete(l.piles, k)
			now[k] = p
		}
	}
	l.mu.Unlock()
	for k, p := range now {
		err := l.send(ctx, k, p)
		l.mu.Lock()
		l.sent(ctx, k, p, err)
		l.mu.Unlock()
	}
}

// send puts a pile where its label says.
func (l *Log) send(ctx context.Context, k pileKey, p *pile) error {
	c, err := Parse(k.label)
	if err != nil {
		return err
	}
	key := c.Key(&p.from, l.o.Region, time.Unix(k.day*24*60*60, 0), l.o.Now(), rand.Text()[:16])
	return l.o.Put(ctx, &p.from, c.Bucket, key, p.lines)
}

// sent does what is to be done after a delivery. l.mu is held.
func (l *Log) sent(ctx context.Context, k pileKey, p *pile, err error) {
	switch {
	case err == nil:
		l.held -= len(p.lines)
		l.meters.delivered.Add(float64(p.count))
		delete(l.trouble, p.from.Bucket)
	case ctx.Err() != nil, errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrFull):
		p.tried = true
		if later := l.piles[k]; later != nil {
			p.from, p.lines, p.count = later.from, append(p.lines, later.lines...), p.count+later.count
		}
		l.piles[k] = p
	default:
		l.held -= len(p.lines)
		l.lose(&p.from, p.count, l.meters.failed, err)
	}
}
