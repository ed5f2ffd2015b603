package remote

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"polder.dev/polder/storage"
)

// note is what is kept of a bucket.
type note struct {
	Created  time.Time
	Settings storage.Settings
}

const noteBytesMax = 4 << 20

// Bucket is a storage.Bucket. What another program deletes or configures is seen when a
// Store opens the bucket.
type Bucket struct {
	s    *Store
	name string
	home home
	dead atomic.Bool

	mu   sync.Mutex
	note note
}

var _ storage.Bucket = (*Bucket)(nil)

// Name implements storage.Bucket.
func (b *Bucket) Name() string { return b.name }

// begin counts an operation on the bucket; keys are checked.
func (b *Bucket) begin(write bool, keys ...string) (func(), error) {
	done, err := b.s.begin()
	if err != nil {
		return nil, err
	}
	err = b.may(write, keys)
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}

func (b *Bucket) may(write bool, keys []string) error {
	if b.dead.Load() {
		return fmt.Errorf("%w: %s", storage.ErrNoBucket, b.name)
	}
	if write && b.home.readOnly {
		return fmt.Errorf("%w: %s shows data of another store", storage.ErrReadOnly, b.name)
	}
	for _, k := range keys {
		if err := storage.CheckKey(k); err != nil {
			return err
		}
		if len(b.home.prefix)+len(k) > storage.KeyBytesMax {
			return fmt.Errorf("%w: a key of %d bytes, below a prefix of %d", ErrCannot, len(k), len(b.home.prefix))
		}
		if !b.home.shared && strings.HasPrefix(k, own) {
			return fmt.Errorf("%w: keys that begin with %s are the store's own", storage.ErrInvalid, own)
		}
	}
	return nil
}

func (b *Bucket) at(key string) place { return place{b.home.container, b.home.prefix + key} }

// stage is a name that nobody else has.
func (b *Bucket) stage() place {
	return place{b.home.container, b.home.own + "stage/" + rand.Text()}
}

func (b *Bucket) settings() storage.Settings {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.note.Settings
}

// load reads the note. A remote bucket without one has the settings that it has; one that
// is shown has none, since what others wrote there must not decide anything here.
func (b *Bucket) load(ctx context.Context) error {
	if b.home.shown {
		return nil
	}
	n := note{}
	raw, err := b.s.readSmall(ctx, b.home.settings, noteBytesMax)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &n); err != nil {
			return fmt.Errorf("%w: the note of bucket %s: %w", storage.ErrCorrupt, b.name, err)
		}
	case !errors.Is(err, storage.ErrNoObject):
		return err
	case b.home.shared:
		return fmt.Errorf("%w: %s", storage.ErrNoBucket, b.name)
	default:
		c, err := b.s.wire.container(ctx, b.home.container)
		if err != nil {
			return err
		}
		n.Created = c.created
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note = n
	return nil
}

func (b *Bucket) save(ctx context.Context, d demand) error {
	raw, err := json.Marshal(b.note)
	if err != nil {
		return fmt.Errorf("encoding the note of bucket %s: %w", b.name, err)
	}
	_, err = b.s.wire.put(ctx, b.home.settings, payload{bytes: raw, size: int64(len(raw)), md5: sumOf(raw)}, words{contentType: "application/json"}, d)
	return err
}

// Info implements storage.Bucket. Usage is what the remote counts.
func (b *Bucket) Info(ctx context.Context) (storage.BucketInfo, error) {
	done, err := b.begin(false)
	if err != nil {
		return storage.BucketInfo{}, err
	}
	defer done()
	return b.info(ctx)
}

func (b *Bucket) info(ctx context.Context) (storage.BucketInfo, error) {
	if err := b.load(ctx); err != nil {
		return storage.BucketInfo{}, err
	}
	b.mu.Lock()
	i := storage.BucketInfo{Name: b.name, Created: b.note.Created, Settings: b.note.Settings}
	b.mu.Unlock()
	if b.home.prefix != "" {
		return i, nil
	}
	c, err := b.s.wire.container(ctx, b.home.container)
	if err != nil {
		return i, err
	}
	i.Usage = c.usage
	return i, nil
}

// Configure implements storage.Bucket. Two programs that configure at once may lose one
// change where the remote has no conditional writes.
func (b *Bucket) Configure(ctx context.Context, change func(*storage.Settings) error) error {
	done, err := b.begin(true)
	if err != nil {
		return err
	}
	defer done()
	if b.home.shown {
		return fmt.Errorf("configuring bucket %s: %w: it keeps no settings of what it shows", b.name, ErrCannot)
	}
	if err := b.load(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.note
	set := old.Settings
	set.Labels = cloned(set.Labels)
	if err := change(&set); err != nil {
		return err
	}
	if err := b.s.check(b.name, b.home, old.Settings, set); err != nil {
		return err
	}
	if set.Versioning != old.Settings.Versioning {
		if err := b.s.wire.setVersioning(ctx, b.home.container, set.Versioning == storage.Versioned); err != nil {
			return err
		}
	}
	b.note.Settings = set
	if err := b.save(ctx, demand{}); err != nil {
		b.note = old
		return fmt.Errorf("configuring bucket %s: %w", b.name, err)
	}
	return nil
}

func cloned(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// destroy removes what is empty. Uploads that were begun are aborted.
func (b *Bucket) destroy(ctx context.Context) error {
	list := b.s.wire.list
	if b.settings().Versioning != storage.Unversioned {
		list = b.s.wire.versions
	}
	for q := (query{prefix: b.home.prefix, limit: 10}); ; {
		p, err := list(ctx, b.home.container, q)
		if err != nil {
			return err
		}
		for _, e := range p.entries {
			if b.home.shared || !strings.HasPrefix(e.key, b.home.own) {
				return storage.ErrNotEmpty
			}
		}
		if !p.more {
			break
		}
		if err := q.advance(p); err != nil {
			return err
		}
	}
	if _, err := b.abortBefore(ctx, time.Time{}); err != nil {
		return err
	}
	if err := b.clear(ctx, b.home.own); err != nil {
		return err
	}
	if b.home.shared {
		_, err := b.s.wire.remove(ctx, b.home.settings, "", demand{})
		return err
	}
	return b.s.wire.dropContainer(ctx, b.home.container)
}

// clear removes our own things, with their versions.
func (b *Bucket) clear(ctx context.Context, prefix string) error {
	versioned := b.settings().Versioning != storage.Unversioned
	list := b.s.wire.list
	if versioned {
		list = b.s.wire.versions
	}
	for {
		p, err := list(ctx, b.home.container, query{prefix: prefix, limit: b.s.can.pageMax})
		if err != nil || len(p.entries) == 0 {
			return err
		}
		for _, e := range p.entries {
			v := ""
			if versioned {
				v = e.version
			}
			if _, err := b.s.wire.remove(ctx, place{b.home.container, e.key}, v, demand{}); err != nil && !errors.Is(err, storage.ErrNoObject) {
				return err
			}
		}
	}
}

// sweep aborts uploads past their age, and ends what cut writes left.
func (b *Bucket) sweep(ctx context.Context, now time.Time) (int, error) {
	n, err := b.abortBefore(ctx, now.Add(-b.settings().UploadAge()))
	if err != nil {
		return n, err
	}
	if err := b.s.wire.orphans(ctx, b.home.container, now.Add(-staleAge)); err != nil {
		return n, err
	}
	q := query{prefix: b.home.own + "stage/", limit: b.s.can.pageMax}
	for {
		p, err := b.s.wire.list(ctx, b.home.container, q)
		if err != nil {
			return n, err
		}
		for _, e := range p.entries {
			if e.modified.After(now.Add(-staleAge)) {
				continue
			}
			if _, err := b.s.wire.remove(ctx, place{b.home.container, e.key}, "", demand{}); err != nil {
				return n, err
			}
		}
		if !p.more {
			return n, nil
		}
		if err := q.advance(p); err != nil {
			return n, err
		}
	}
}
