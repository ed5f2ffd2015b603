package show

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/residency"
)

// Label is a setting of a bucket that shows data of another store: where that lies, for
// people to read.
const Label = "shown"

// Source is a bucket that shows data of another store.
type Source struct {
	// Bucket is our name for it, which S3 must allow. Account owns it.
	Bucket, Account string
	// Store is the other one; it has the data in a bucket of our name.
	Store storage.Store
	// From tells people where the data lies. It holds no secret.
	From         string
	Jurisdiction string
	// Writable lets in writes. The metadata in the other store is then believed.
	Writable bool
}

// Config is what a Store is made with. Below is needed.
type Config struct {
	Below   storage.Store
	Sources []Source
	// Cache in memory, nil is none, and the jurisdiction that it is in.
	Cache             *cache.Cache
	CacheJurisdiction string
	Log               *slog.Logger
	Metrics           prometheus.Registerer
}

// Store is a storage.Store with buckets that show data of others.
type Store struct {
	storage.Store // below, which has the settings of all buckets
	cfg           Config
	asked         *prometheus.CounterVec

	mu    sync.RWMutex
	shown map[string]*source
}

// source is one that is shown; without Store, one that was.
type source struct {
	Source
	owner cache.Owner
}

var _ storage.Store = (*Store)(nil)

// New makes a Store, and the buckets that are not there yet. It takes the stores over:
// Close closes them. Its errors name the field of the configuration that is wrong.
func New(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{Store: cfg.Below, cfg: cfg, shown: map[string]*source{}, asked: newMeter()}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(s.asked); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	if err := s.findOld(ctx); err != nil {
		return nil, err
	}
	for i, c := range cfg.Sources {
		if err := s.add(ctx, c); err != nil {
			return nil, fmt.Errorf("shown[%d].%w", i, err)
		}
	}
	for name, e := range s.shown {
		if e.Store == nil {
			cfg.Log.WarnContext(ctx, "a bucket is shown no longer; show it again, or delete it", "bucket", name, "from", e.From)
		}
	}
	return s, nil
}

// findOld finds the buckets that were shown at some time.
func (s *Store) findOld(ctx context.Context) error {
	for after := ""; ; {
		page, err := s.Store.Buckets(ctx, after, storage.PageMax)
		if err != nil {
			return fmt.Errorf("reading which buckets are shown: %w", err)
		}
		for _, b := range page {
			after = b.Name
			if from := b.Settings.Labels[Label]; from != "" {
				s.shown[b.Name] = &source{Source: Source{Bucket: b.Name, Account: b.Settings.Labels[iam.LabelOwner], From: from}}
			}
		}
		if len(page) < storage.PageMax {
			return nil
		}
	}
}

// add makes the bucket of a source, or takes the one that is there.
func (s *Store) add(ctx context.Context, c Source) error {
	fresh := storage.Settings{Labels: map[string]string{
		iam.LabelOwner: c.Account, Label: c.From, iam.LabelOwnership: string(iam.BucketOwnerEnforced), // objects have no ACLs of their own
	}}
	old := s.shown[c.Bucket]
	s.shown[c.Bucket] = &source{Source: c}
	if err := s.free(ctx, c, old != nil); err != nil {
		return err
	}
	if old == nil {
		_, err := s.Store.CreateBucket(ctx, c.Bucket, fresh)
		if err != nil {
			return fmt.Errorf("bucket: %w", err)
		}
		return nil
	}
	b, err := s.Store.Bucket(ctx, c.Bucket)
	if err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	if old.From != c.From || old.Account != c.Account {
		s.cfg.Log.WarnContext(ctx, "a bucket shows something else, so what access was given to it is taken back", "bucket", c.Bucket, "from", c.From)
		err = b.Configure(ctx, func(set *storage.Settings) error { *set = fresh; return nil })
		if err != nil {
			return fmt.Errorf("bucket: %w", err)
		}
	}
	i, err := b.Info(ctx)
	if err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	if err := residency.Admit(c.Bucket, i.Settings.Residency, c.place()); err != nil {
		return fmt.Errorf("jurisdiction: %w", err)
	}
	return nil
}

// free says that a name is some other bucket's.
func (s *Store) free(ctx context.Context, c Source, ours bool) error {
	for _, name := range []string{c.Bucket, c.Account + "/" + c.Bucket} {
		if ours && name == c.Bucket {
			continue
		}
		switch _, err := s.Store.Bucket(ctx, name); {
		case err == nil:
			return fmt.Errorf("bucket: there is a bucket %s already; give the data that is shown another name, or remove that bucket", naming.Name(name))
		case !errors.Is(err, storage.ErrNoBucket):
			return fmt.Errorf("bucket: %w", err)
		}
	}
	return nil
}

func (c *Source) place() residency.Place {
	return residency.Place{Name: "the store that " + c.Bucket + " is shown from", Jurisdiction: c.Jurisdiction}
}

// source is the one of a bucket, or nil.
func (s *Store) source(name string) *source {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.shown[name]
}

// Shown says that a bucket shows data of another store, or did.
func (s *Store) Shown(name string) bool { return s.source(name) != nil }

// Bucket implements storage.Store.
func (s *Store) Bucket(ctx context.Context, name string) (storage.Bucket, error) {
	b, err := s.Store.Bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	if e := s.source(name); e != nil {
		return &bucket{Bucket: b, s: s, e: e}, nil
	}
	return b, nil
}

// DeleteBucket implements storage.Store. A bucket stays while it is shown.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	e := s.source(name)
	if e != nil && e.Store != nil {
		return fmt.Errorf("deleting bucket %s: %w: the configuration shows it; take it out there first", name, storage.ErrReadOnly)
	}
	if err := s.Store.DeleteBucket(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown[name] == e {
		delete(s.shown, name)
	}
	return nil
}

// Close implements storage.Store.
func (s *Store) Close() error {
	err := s.Store.Close()
	for _, e := range s.shown {
		if e.Store != nil {
			err = errors.Join(err, e.Store.Close())
		}
	}
	return err
}
