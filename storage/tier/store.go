package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

// Store implements storage.Store over a home and what is below it.
type Store struct {
	cfg     Config
	home    storage.Mover
	levels  []*level
	places  places
	uses    *uses
	meters  *meters
	squeeze chan struct{} // the home is full
	collect sync.Mutex    // held by who removes what is loose

	mu      sync.RWMutex
	buckets map[string]*bucket

	moveMu sync.Mutex
	moving map[uint64]chan struct{} // revisions whose data is being moved, until it is
}

var _ storage.Store = (*Store)(nil)

// New makes a store of tiers. It takes the home and the lower stores over: Close closes
// them. Buckets that are there keep their policies; where a tier of one is not allowed
// any more, nothing goes there, and that is logged.
func New(cfg Config) (*Store, error) {
	cfg = cfg.complete()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, home: cfg.Home, uses: newUses(), buckets: map[string]*bucket{}, moving: map[uint64]chan struct{}{},
		squeeze: make(chan struct{}, 1),
	}
	for _, l := range cfg.Lower {
		if l.Name == "" || l.Store == nil || strings.Contains(l.Name, "/") || s.level(l.Name) != nil {
			return nil, fmt.Errorf("%w: lower tier %q has no store, or no name of its own", storage.ErrInvalid, l.Name)
		}
		s.levels = append(s.levels, newLevel(l, cfg.Log))
	}
	var err error
	if s.meters, err = newMeters(s, cfg.Metrics); err != nil {
		return nil, err
	}
	if cfg.Default.Lower != "" && s.level(cfg.Default.Lower) == nil {
		return nil, fmt.Errorf("%w: the default policy names tier %q, which is not there", storage.ErrInvalid, cfg.Default.Lower)
	}
	return s, nil
}

// level finds a lower tier, or returns nil.
func (s *Store) level(name string) *level {
	i := slices.IndexFunc(s.levels, func(l *level) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return s.levels[i]
}

// Places of the tiers, as a refusal and a report name them.
func (s *Store) homePlace() residency.Place {
	return residency.Place{Name: "tier " + s.homeClass().String(), Jurisdiction: s.cfg.HomeJurisdiction}
}

func (s *Store) cachePlace() residency.Place {
	return residency.Place{Name: "cache in memory", Jurisdiction: s.cfg.CacheJurisdiction}
}

func (l *level) place() residency.Place {
	return residency.Place{Name: "tier " + l.Name, Jurisdiction: l.Jurisdiction}
}

func (s *Store) homeClass() storage.Class {
	if t, ok := s.home.(storage.Tier); ok {
		return t.Class()
	}
	return storage.Fast
}

// CreateBucket implements storage.Store. A policy that would put bytes where the
// bucket's residency does not allow is refused with storage.ErrForbiddenPlace.
func (s *Store) CreateBucket(ctx context.Context, name string, set storage.Settings) (storage.Bucket, error) {
	if _, err := s.judge(name, &set); err != nil {
		return nil, err
	}
	if _, err := s.home.CreateBucket(ctx, name, set); err != nil {
		return nil, err
	}
	return s.Bucket(ctx, name)
}

// Bucket implements storage.Store.
func (s *Store) Bucket(ctx context.Context, name string) (storage.Bucket, error) {
	b, err := s.bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) bucket(ctx context.Context, name string) (*bucket, error) {
	home, err := s.home.Bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	b := s.buckets[name]
	s.mu.RUnlock()
	if b != nil && b.home == home {
		return b, nil
	}
	r, ok := home.(storage.Relocator)
	if !ok {
		return nil, fmt.Errorf("%w: bucket %s of the home cannot let go of data", storage.ErrInvalid, name)
	}
	info, err := home.Info(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b = s.buckets[name]; b != nil && b.home == home {
		return b, nil
	}
	b = newBucket(s, r)
	p, err := s.judge(name, &info.Settings)
	if err != nil {
		s.cfg.Log.Error("a bucket's policy cannot be kept, so its data stays where it is", "bucket", name, "err", err)
		p = &policy{residency: info.Settings.Residency}
	}
	b.apply(p)
	s.buckets[name] = b
	return b, nil
}

// Buckets implements storage.Store.
func (s *Store) Buckets(ctx context.Context, after string, limit int) ([]storage.BucketInfo, error) {
	return s.home.Buckets(ctx, after, limit)
}

// DeleteBucket implements storage.Store.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	if err := s.home.DeleteBucket(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	b := s.buckets[name]
	delete(s.buckets, name)
	s.mu.Unlock()
	if b != nil && s.cfg.Cache != nil {
		s.cfg.Cache.Forget(&b.owner)
	}
	return nil
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context) (storage.Swept, error) { return s.home.Sweep(ctx) }

// Close implements storage.Store. Run must have returned. What waits to go down is
// found again at the next start.
func (s *Store) Close() error {
	if err := s.home.Close(); errors.Is(err, storage.ErrClosed) {
		return err
	} else if err != nil {
		return errors.Join(err, s.closeLevels())
	}
	return s.closeLevels()
}

func (s *Store) closeLevels() error {
	var errs []error
	for _, l := range s.levels {
		errs = append(errs, l.Store.Close())
	}
	return errors.Join(errs...)
}

// all are the buckets that there are.
func (s *Store) all(ctx context.Context) ([]*bucket, error) {
	const page = 1000
	var out []*bucket
	for after := ""; ; {
		infos, err := s.home.Buckets(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for _, i := range infos {
			b, err := s.bucket(ctx, i.Name)
			if err == nil {
				out = append(out, b)
			} else if !errors.Is(err, storage.ErrNoBucket) {
				return nil, err
			}
			after = i.Name
		}
		if len(infos) < page {
			return out, nil
		}
	}
}
