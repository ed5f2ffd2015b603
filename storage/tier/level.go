package tier

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
)

// level is a lower tier at work.
type level struct {
	Level
	log   *slog.Logger
	queue queue
	reads prometheus.Counter

	mu   sync.Mutex
	data storage.Bucket
}

func newLevel(l Level, log *slog.Logger) *level {
	if l.Bucket == "" {
		l.Bucket = "polder-tier"
	}
	if l.Timeout == 0 {
		l.Timeout = time.Minute
	}
	return &level{Level: l, log: log, queue: newQueue()}
}

// broken says that the tier is at fault.
func (l *level) broken(err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: tier %s: %w", storage.ErrUnavailable, l.Name, err)
}

// await calls f and waits for it, but no longer than the tier may take. A store that
// does not heed its context is left behind; late gets what it returns in the end.
func await[T any](ctx context.Context, l *level, f func(context.Context) (T, error), late func(T)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, fmt.Errorf("it took longer than %s", l.Timeout))
	type result struct {
		v   T
		err error
	}
	out := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		out <- result{v, err}
	}()
	select {
	case r := <-out:
		cancel()
		return r.v, r.err
	case <-ctx.Done():
		go func() {
			defer cancel()
			if r := <-out; r.err == nil && late != nil {
				late(r.v)
			}
		}()
		var none T
		return none, l.broken(context.Cause(ctx))
	}
}

// bucket opens the bucket that holds the data, or makes it.
func (l *level) bucket(ctx context.Context) (storage.Bucket, error) {
	l.mu.Lock()
	b := l.data
	l.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b, err := await(ctx, l, func(ctx context.Context) (storage.Bucket, error) {
		b, err := l.Store.Bucket(ctx, l.Level.Bucket)
		if errors.Is(err, storage.ErrNoBucket) {
			b, err = l.Store.CreateBucket(ctx, l.Level.Bucket, storage.Settings{Copies: l.Copies})
		}
		if errors.Is(err, storage.ErrBucketExists) {
			b, err = l.Store.Bucket(ctx, l.Level.Bucket)
		}
		return b, err
	}, nil)
	if err != nil {
		return nil, l.broken(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = b
	return b, nil
}

// open opens the data of a place.
func (l *level) open(ctx context.Context, key string) (storage.Object, error) {
	b, err := l.bucket(ctx)
	if err != nil {
		return nil, err
	}
	o, err := await(ctx, l, func(ctx context.Context) (storage.Object, error) {
		return b.Open(ctx, key, storage.ReadOptions{})
	}, func(o storage.Object) { _ = o.Close() }) // nobody reads it any more
	if errors.Is(err, storage.ErrNoObject) || errors.Is(err, storage.ErrCorrupt) {
		return nil, err
	}
	return o, l.broken(err)
}

// remove removes the data of a place, if there is any.
func (l *level) remove(ctx context.Context, key string) error {
	b, err := l.bucket(ctx)
	if err != nil {
		return err
	}
	_, err = await(ctx, l, func(ctx context.Context) (storage.Deletion, error) {
		return b.Delete(ctx, key, storage.DeleteOptions{})
	}, nil)
	return l.broken(err)
}

// put stores a body and verifies what was stored. Size is 0 where it is unknown, md5 is
// "" where it is. It returns the body's MD5 and size. While the body has nothing to
// give, no time counts.
func (l *level) put(ctx context.Context, key string, body io.Reader, size int64, want string) (sum string, n int64, err error) {
	b, err := l.bucket(ctx)
	if err != nil {
		return "", 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := fmt.Errorf("it took nothing for %s", l.Timeout)
	r := &watched{r: body, md5: md5.New(), every: l.Timeout, timer: time.AfterFunc(l.Timeout, func() { cancel(slow) })}
	defer r.stop()
	type result struct {
		i   storage.Info
		err error
	}
	out := make(chan result, 1)
	go func() {
		i, err := b.Put(ctx, key, r, storage.PutOptions{Size: size, MD5: want})
		out <- result{i, err}
	}()
	var got result
	select {
	case got = <-out:
	case <-ctx.Done():
		return "", 0, l.broken(context.Cause(ctx))
	}
	r.stop()
	if r.err != nil {
		return "", 0, r.err // the body is at fault
	}
	if got.err != nil {
		return "", 0, l.broken(got.err)
	}
	sum = hex.EncodeToString(r.md5.Sum(nil))
	if want != "" && sum != want {
		return "", 0, fmt.Errorf("%w: the data has MD5 %s, not %s", storage.ErrCorrupt, sum, want)
	}
	return sum, r.n, l.verify(ctx, b, key, got.i, sum, r.n)
}

// verify makes sure that the tier has stored what it was given: by its ETag if that is
// an MD5, else by reading all of it.
func (l *level) verify(ctx context.Context, b storage.Bucket, key string, i storage.Info, sum string, n int64) error {
	if i.Size == n && i.ETag == sum {
		return nil
	}
	if i.Size != n || isMD5(i.ETag) {
		return l.broken(fmt.Errorf("%w: it stored %d bytes with ETag %s, of %d with MD5 %s", storage.ErrCorrupt, i.Size, i.ETag, n, sum))
	}
	o, err := b.Open(ctx, key, storage.ReadOptions{})
	if err != nil {
		return l.broken(err)
	}
	h := md5.New()
	_, err = storage.Reader(o, 0, n).WriteTo(h)
	if err := errors.Join(err, o.Close()); err != nil {
		return l.broken(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return l.broken(fmt.Errorf("%w: what it stored has MD5 %s, not %s", storage.ErrCorrupt, got, sum))
	}
	return nil
}

func isMD5(etag string) bool { return len(etag) == 2*md5.Size && !strings.Contains(etag, "-") }

// watched is a body that is hashed as it is read, and whose reader is watched.
type watched struct {
	every time.Duration
	timer *time.Timer

	mu  sync.Mutex
	r   io.Reader
	md5 interface {
		io.Writer
		Sum([]byte) []byte
	}
	n       int64
	err     error // of the body
	stopped bool
}

var errStopped = errors.New("the body is not read any more")

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return 0, errStopped
	}
	w.timer.Stop()
	n, err := w.r.Read(p)
	w.timer.Reset(w.every)
	_, _ = w.md5.Write(p[:n]) // a hash never fails
	w.n += int64(n)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// stop waits for a Read under way, and lets none follow.
func (w *watched) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
