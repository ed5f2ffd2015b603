package tier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
)

// Warm says which objects are wanted near, before a job starts: those whose keys begin
// with Prefix, or Keys where there are any.
type Warm struct {
	Prefix string
	Keys   []string
	// Hot brings them into memory as well.
	Hot bool
	// Pin keeps them there until the Pin is released, or the program ends.
	Pin bool
}

// Progress of warming. Totals are of when it began.
type Progress struct {
	Objects, ObjectsTotal int64
	Bytes, BytesTotal     int64
}

// Pin keeps objects near.
type Pin struct {
	once    sync.Once
	release func()
}

// Release lets them go. A nil Pin has none.
func (p *Pin) Release() {
	if p != nil && p.release != nil {
		p.once.Do(p.release)
	}
}

// pins are what is kept at home for now.
type pins struct {
	mu       sync.RWMutex
	prefixes map[string]int
	keys     map[string]int
}

func (p *pins) has(key string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.keys[key] > 0 {
		return true
	}
	for prefix := range p.prefixes {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// change pins what w asks for once more, or once less.
func (p *pins) change(w *Warm, d int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys, p.prefixes = map[string]int{}, map[string]int{}
	}
	set := func(m map[string]int, k string) {
		if m[k] += d; m[k] == 0 {
			delete(m, k)
		}
	}
	for _, k := range w.Keys {
		set(p.keys, k)
	}
	if len(w.Keys) == 0 {
		set(p.prefixes, w.Prefix)
	}
}

// Warm brings objects home, and into memory if it is asked to. Progress, if set, is told
// after each object and each block, by one caller at a time. An error ends it; what is
// near by then stays, and pins are released.
func (s *Store) Warm(ctx context.Context, bucketName string, w Warm, progress func(Progress)) (*Pin, error) {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return nil, err
	}
	if w.Hot && !b.policy.Load().hot {
		return nil, fmt.Errorf("%w: bucket %s is not kept in memory", storage.ErrInvalid, bucketName)
	}
	h := &heater{Warm: w, bucket: b, progress: progress}
	if w.Pin {
		b.pins.change(&w, 1)
	}
	p := &Pin{release: h.release}
	err = h.eachObject(ctx, func(l []storage.Info) error {
		for _, i := range l {
			h.at.ObjectsTotal++
			h.at.BytesTotal += i.Size
		}
		return nil
	})
	if err == nil {
		err = h.eachObject(ctx, func(l []storage.Info) error {
			return parallel(s.cfg.Workers, l, func(i storage.Info) error { return h.object(ctx, i) })
		})
	}
	if err != nil {
		p.Release()
		return nil, fmt.Errorf("warming bucket %s: %w", bucketName, err)
	}
	return p, nil
}

// heater warms objects.
type heater struct {
	Warm
	bucket   *bucket
	progress func(Progress)

	mu     sync.Mutex
	at     Progress
	pinned []storage.Info // in memory
}

// eachObject calls f with the objects that are wanted, some at a time.
func (h *heater) eachObject(ctx context.Context, f func([]storage.Info) error) error {
	if len(h.Keys) == 0 {
		o := storage.ListOptions{Prefix: h.Prefix, Limit: scanPage}
		for {
			l, err := h.bucket.home.List(ctx, o)
			if err == nil {
				err = f(l.Objects)
			}
			if err != nil || !l.More {
				return err
			}
			o.After = l.Next
		}
	}
	for some := range slices.Chunk(h.Keys, scanPage) {
		var l []storage.Info
		for _, k := range some {
			i, err := h.bucket.home.Stat(ctx, k, storage.ReadOptions{})
			if err != nil {
				return err
			}
			l = append(l, i)
		}
		if err := f(l); err != nil {
			return err
		}
	}
	return nil
}

func (h *heater) object(ctx context.Context, i storage.Info) error {
	b := h.bucket
	if err := b.up(ctx, task{bucket: b, key: i.Key, version: i.Version, revision: i.Revision}); err != nil {
		return err
	}
	if h.Hot && i.Size > 0 {
		if err := h.memory(ctx, i); err != nil && !gone(err) {
			return err
		}
	} else {
		h.tell(0, i.Size)
	}
	h.tell(1, 0)
	return nil
}

// memory brings an object that is at home into memory.
func (h *heater) memory(ctx context.Context, i storage.Info) error {
	b := h.bucket
	src, err := b.source(ctx, i)
	if err != nil {
		return err
	}
	o := b.store.cfg.Cache.Wrap(src, bare(i), &b.owner)
	defer func(o *cache.Object) { _ = o.Close() }(o) // it was only read
	if err := o.Warm(ctx, h.Pin, func(n int64) { h.tell(0, n) }); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pinned = append(h.pinned, storage.Info{Revision: i.Revision, Size: i.Size})
	return nil
}

func (h *heater) tell(objects, bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at.Objects += objects
	h.at.Bytes += bytes
	if h.progress != nil {
		h.progress(h.at)
	}
}

func (h *heater) release() {
	if !h.Pin {
		return
	}
	h.bucket.pins.change(&h.Warm, -1)
	for _, i := range h.pinned {
		h.bucket.store.cfg.Cache.Unpin(i)
	}
}
