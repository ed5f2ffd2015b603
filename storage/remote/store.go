package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/residency"
)

// Store is a storage.Tier in a remote store.
type Store struct {
	wire wire
	can  ability
	cfg  Common
	host string

	mu     sync.Mutex
	closed bool
	busy   sync.WaitGroup
	open   map[string]*Bucket
}

var _ storage.Tier = (*Store)(nil)

func newStore(w wire, c Common, host string) *Store {
	return &Store{wire: w, can: w.ability(), cfg: c, host: host, open: map[string]*Bucket{}}
}

// Class is storage.Remote.
func (s *Store) Class() storage.Class { return storage.Remote }

// Volatile is false: the remote's durability is what it says of itself.
func (s *Store) Volatile() bool { return false }

// Room has no bounds that a protocol would tell.
func (s *Store) Room(context.Context) (total, free int64, err error) { return 0, 0, nil }

// Place is where the remote's bytes lie.
func (s *Store) Place() residency.Place {
	return residency.Place{Name: "remote " + s.host, Jurisdiction: s.cfg.Jurisdiction}
}

// begin counts an operation, so that Close waits for it.
func (s *Store) begin() (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, storage.ErrClosed
	}
	s.busy.Add(1)
	return s.busy.Done, nil
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return storage.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.busy.Wait()
	s.wire.close()
	return nil
}

// own is where things of ours lie, beside or among the objects of a bucket.
const own = ".polder/"

// home is where a bucket lies.
type home struct {
	container, prefix string
	own               string // prefix of our own things
	settings          place
	shown, readOnly   bool
	shared            bool // with other buckets of ours
}

func (s *Store) home(name string) (home, error) {
	if err := storage.CheckBucket(name); err != nil {
		return home{}, err
	}
	l := s.cfg.Layout
	if v, ok := l.Show[name]; ok {
		h := home{container: v.Bucket, prefix: v.Prefix, own: v.Prefix + own, shown: true, readOnly: v.ReadOnly}
		h.settings = place{v.Bucket, h.own + "bucket"}
		return h, nil
	}
	if l.Bucket != "" {
		h := home{container: l.Bucket, prefix: l.Prefix + escape(name) + "/", own: l.Prefix + own + "data/" + escape(name) + "/", shared: true}
		h.settings = place{l.Bucket, l.Prefix + own + "bucket/" + escape(name)}
		return h, storage.CheckKey(h.own + strings.Repeat("x", 40))
	}
	h := home{container: l.Prefix + name, own: own}
	h.settings = place{h.container, own + "bucket"}
	return h, nil
}

// escape makes a bucket's name a piece of a path that is nobody else's.
func escape(name string) string {
	name = url.PathEscape(name)
	if strings.HasPrefix(name, ".") {
		name = "%2E" + name[1:]
	}
	return name
}

// CreateBucket implements storage.Store. The remote's own limits of names hold.
func (s *Store) CreateBucket(ctx context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	done, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := s.home(name)
	if err != nil {
		return nil, err
	}
	if h.shown {
		return nil, fmt.Errorf("making bucket %s: %w", name, storage.ErrBucketExists)
	}
	if s.cfg.Layout.OnlyShown {
		return nil, fmt.Errorf("making bucket %s: %w: only buckets that are shown are there", name, ErrCannot)
	}
	if err := s.check(name, h, storage.Settings{}, set); err != nil {
		return nil, err
	}
	b := &Bucket{s: s, name: name, home: h, note: note{Created: s.cfg.Now().UTC(), Settings: set}}
	if err := s.make(ctx, b); err != nil {
		return nil, fmt.Errorf("making bucket %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[name] = b
	return b, nil
}

func (s *Store) make(ctx context.Context, b *Bucket) error {
	if !b.home.shared {
		if err := s.wire.makeContainer(ctx, b.home.container); err != nil {
			return err
		}
		if b.note.Settings.Versioning != storage.Unversioned {
			if err := s.wire.setVersioning(ctx, b.home.container, b.note.Settings.Versioning == storage.Versioned); err != nil {
				return err
			}
		}
		return b.save(ctx, demand{})
	}
	switch _, err := s.wire.head(ctx, b.home.settings, ""); {
	case err == nil:
		return storage.ErrBucketExists
	case !errors.Is(err, storage.ErrNoObject):
		return err
	}
	d := demand{}
	d.absent = s.can.absent
	err := b.save(ctx, d)
	if errors.Is(err, storage.ErrPrecondition) {
		return storage.ErrBucketExists
	}
	return err
}

// check says which settings cannot be kept.
func (s *Store) check(name string, h home, old, set storage.Settings) error {
	switch {
	case set.Copies > 1:
		return fmt.Errorf("%w: the remote store decides how many copies it keeps", ErrCannot)
	case set.Versioning != storage.Unversioned && (!s.can.versions || h.shared):
		return fmt.Errorf("%w: versions in a bucket of this layout", ErrCannot)
	case set.Versioning == storage.Unversioned && old.Versioning != storage.Unversioned:
		return fmt.Errorf("%w: versioning can be suspended, and not be taken back", storage.ErrInvalid)
	case set.Labels[lock.Label] != "":
		return fmt.Errorf("%w: object lock", ErrCannot)
	}
	return residency.Admit(name, set.Residency, s.Place())
}

// Bucket implements storage.Store.
func (s *Store) Bucket(ctx context.Context, name string) (storage.Bucket, error) {
	done, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	s.mu.Lock()
	b := s.open[name]
	s.mu.Unlock()
	if b != nil {
		return b, nil
	}
	h, err := s.home(name)
	if err != nil {
		return nil, err
	}
	b = &Bucket{s: s, name: name, home: h}
	if err := b.load(ctx); err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[name]; o != nil {
		return o, nil
	}
	s.open[name] = b
	return b, nil
}

// Buckets implements storage.Store.
func (s *Store) Buckets(ctx context.Context, after string, limit int) ([]storage.BucketInfo, error) {
	done, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	names, err := s.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	var out []storage.BucketInfo
	for _, n := range names {
		if n <= after {
			continue
		}
		if limit > 0 && len(out) == limit {
			break
		}
		h, err := s.home(n)
		if err != nil {
			continue // a name that nobody could ask for
		}
		b := &Bucket{s: s, name: n, home: h}
		i, err := b.info(ctx)
		if errors.Is(err, storage.ErrNoBucket) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing buckets: %w", err)
		}
		out = append(out, i)
	}
	return out, nil
}

// names are those of all buckets, in order.
func (s *Store) names(ctx context.Context) ([]string, error) {
	var out []string
	l := s.cfg.Layout
	for n := range l.Show {
		out = append(out, n)
	}
	switch {
	case l.OnlyShown:
	case l.Bucket == "":
		cs, err := s.wire.containers(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range cs {
			if n, ok := strings.CutPrefix(c.name, l.Prefix); ok && n != "" && l.Show[n].Bucket == "" && !strings.HasSuffix(n, segmentsSuffix) {
				out = append(out, n)
			}
		}
	default:
		prefix := l.Prefix + own + "bucket/"
		for q := (query{prefix: prefix, limit: s.can.pageMax}); ; {
			p, err := s.wire.list(ctx, l.Bucket, q)
			if err != nil {
				return nil, err
			}
			for _, e := range p.entries {
				if n, err := url.PathUnescape(e.key[len(prefix):]); err == nil {
					out = append(out, n)
				}
			}
			if !p.more {
				break
			}
			if err := q.advance(p); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// DeleteBucket implements storage.Store.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	done, err := s.begin()
	if err != nil {
		return err
	}
	defer done()
	h, err := s.home(name)
	if err != nil {
		return err
	}
	if h.shown {
		return fmt.Errorf("deleting bucket %s: %w: it shows data of another store", name, ErrCannot)
	}
	b := &Bucket{s: s, name: name, home: h}
	if err := b.load(ctx); err != nil {
		return fmt.Errorf("deleting bucket %s: %w", name, err)
	}
	if err := b.destroy(ctx); err != nil {
		return fmt.Errorf("deleting bucket %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[name]; o != nil {
		o.dead.Store(true)
		delete(s.open, name)
	}
	return nil
}

// Sweep implements storage.Store: it aborts uploads past their limit, and ends what
// writes of a day ago left behind. Objects expire by the remote itself, or not at all.
func (s *Store) Sweep(ctx context.Context) (storage.Swept, error) {
	done, err := s.begin()
	if err != nil {
		return storage.Swept{}, err
	}
	defer done()
	names, err := s.names(ctx)
	var out storage.Swept
	for _, n := range names {
		h, herr := s.home(n)
		if herr != nil || h.readOnly || h.shown {
			continue // uploads of others are theirs
		}
		b := &Bucket{s: s, name: n, home: h}
		if lerr := b.load(ctx); lerr != nil {
			if !errors.Is(lerr, storage.ErrNoBucket) {
				err = errors.Join(err, fmt.Errorf("sweeping bucket %s: %w", n, lerr))
			}
			continue
		}
		k, serr := b.sweep(ctx, s.cfg.Now())
		out.Uploads += k
		if serr != nil {
			err = errors.Join(err, fmt.Errorf("sweeping bucket %s: %w", n, serr))
		}
	}
	return out, err
}

// readSmall reads an object of ours.
func (s *Store) readSmall(ctx context.Context, p place, bytesMax int64) ([]byte, error) {
	e, err := s.wire.head(ctx, p, "")
	if err != nil || e.size == 0 {
		return nil, err
	}
	if e.size > bytesMax {
		return nil, fmt.Errorf("%w: %s has %d bytes, and %d are meant", storage.ErrCorrupt, p.key, e.size, bytesMax)
	}
	r, err := s.wire.get(ctx, p, "", e.tag, 0, e.size)
	if err != nil {
		return nil, err
	}
	out := make([]byte, e.size)
	_, err = io.ReadFull(r, out)
	return out, errors.Join(err, r.Close())
}

const staleAge = 24 * time.Hour
