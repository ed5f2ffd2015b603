package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// Options are what a Runner is configured with. Store must be given.
type Options struct {
	Store storage.Store
	Log   *slog.Logger
	Now   func() time.Time
	// Interval between two passes; an hour where it is 0.
	Interval time.Duration
	// Day is what a rule's days are; 24 hours where it is 0.
	Day time.Duration
	// PassMax bounds how many versions and uploads a pass looks at; a million where it
	// is 0. The next one goes on from there.
	PassMax int
	// Move changes the storage class of a version, unless it has it, and says whether
	// it did. Without it, transitions wait.
	Move func(ctx context.Context, b storage.Bucket, v storage.Info, class string) (bool, error)
}

// Counts say what was done.
type Counts struct {
	Seen, Expired, Removed, Moved, Aborted int64
	// Locked is what a lock kept, Failed what an error did.
	Locked, Failed int64
	// Rounds is how often all buckets were gone through to the end.
	Rounds int64
}

// Runner carries out the rules of all buckets of a store. One runs at a time.
type Runner struct {
	o Options

	pass  sync.Mutex // held by Pass
	place place

	mu     sync.Mutex
	counts Counts
}

// New makes a Runner.
func New(o Options) (*Runner, error) {
	if o.Store == nil {
		return nil, errors.New("lifecycle: Store is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Interval <= 0 {
		o.Interval = time.Hour
	}
	if o.Day <= 0 {
		o.Day = Day
	}
	if o.PassMax <= 0 {
		o.PassMax = 1_000_000
	}
	return &Runner{o: o}, nil
}

// Counts are of all passes since the Runner was made.
func (r *Runner) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

func (r *Runner) count(f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.counts)
}

// Run makes a pass now and then, until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	t := time.NewTicker(r.o.Interval)
	defer t.Stop()
	for {
		if err := r.Pass(ctx, r.o.Now()); err != nil && ctx.Err() == nil {
			r.o.Log.Error("lifecycle pass failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// place is where a pass stopped, and what it knew there.
type place struct {
	bucket    string // the last that is done, or with inside the one being walked
	inside    bool
	uploads   bool // the versions are done
	after, id string
	group     group
}

// bucketsPage is how many buckets are looked at before any is walked.
const bucketsPage = 1000

// Pass carries out what is due at now, for at most PassMax versions and uploads.
func (r *Runner) Pass(ctx context.Context, now time.Time) error {
	r.pass.Lock()
	defer r.pass.Unlock()
	left := r.o.PassMax
	if r.place.inside {
		b, err := r.o.Store.Bucket(ctx, r.place.bucket)
		if err == nil {
			err = r.walk(ctx, b, now, &left)
		}
		if err != nil && !errors.Is(err, storage.ErrNoBucket) {
			return err
		}
	}
	for left > 0 {
		page, err := r.o.Store.Buckets(ctx, r.place.bucket, bucketsPage)
		if err != nil {
			return fmt.Errorf("listing buckets: %w", err)
		}
		for i := range page {
			if err := r.bucket(ctx, &page[i], now, &left); err != nil {
				return err
			}
			if r.place.inside {
				return nil // the pass is at its end
			}
		}
		if len(page) < bucketsPage {
			r.place = place{}
			r.count(func(c *Counts) { c.Rounds++ })
			return nil
		}
	}
	return nil
}

func (r *Runner) bucket(ctx context.Context, info *storage.BucketInfo, now time.Time, left *int) error {
	if info.Settings.Labels[Label] == "" {
		r.place = place{bucket: info.Name}
		return nil
	}
	r.place = place{bucket: info.Name, inside: true}
	b, err := r.o.Store.Bucket(ctx, info.Name)
	if err == nil {
		err = r.walk(ctx, b, now, left)
	}
	if errors.Is(err, storage.ErrNoBucket) {
		r.place, err = place{bucket: info.Name}, nil
	}
	if err != nil {
		return fmt.Errorf("lifecycle of bucket %s: %w", info.Name, err)
	}
	return nil
}

// walk goes on in a bucket from where the place says. Where left comes to its end first,
// place stays inside.
func (r *Runner) walk(ctx context.Context, b storage.Bucket, now time.Time, left *int) error {
	info, err := b.Info(ctx)
	if err != nil {
		return err
	}
	c, err := Parse(info.Settings)
	if err != nil {
		r.o.Log.Error("lifecycle rules cannot be read", "bucket", b.Name(), "error", err)
	}
	if c == nil {
		r.place = place{bucket: b.Name()}
		return nil
	}
	w := &walker{Runner: r, bucket: b, config: c, now: now}
	if !r.place.uploads {
		if done, err := w.versions(ctx, left); err != nil || !done {
			return err
		}
		r.place = place{bucket: b.Name(), inside: true, uploads: true}
	}
	if c.aborts() {
		if done, err := w.uploads(ctx, left); err != nil || !done {
			return err
		}
	}
	r.place = place{bucket: b.Name()}
	return nil
}

// outcome counts what became of something that was due.
func (r *Runner) outcome(ctx context.Context, v *storage.Info, err error, done func(*Counts)) error {
	switch {
	case err == nil:
		r.count(done)
	case ctx.Err() != nil || errors.Is(err, storage.ErrNoBucket) || errors.Is(err, storage.ErrClosed):
		return err
	case errors.Is(err, lock.ErrLocked):
		r.count(func(c *Counts) { c.Locked++ })
	case errors.Is(err, storage.ErrPrecondition), errors.Is(err, storage.ErrNoObject), errors.Is(err, storage.ErrNoVersion), errors.Is(err, storage.ErrNoUpload):
		// somebody else was there first
	default:
		r.count(func(c *Counts) { c.Failed++ })
		r.o.Log.Error("lifecycle action failed", "key", v.Key, "version", v.Version, "error", err)
	}
	return nil
}
