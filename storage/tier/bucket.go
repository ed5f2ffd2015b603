package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/residency"
)

// bucket implements storage.Bucket over the home's.
type bucket struct {
	store  *Store
	home   storage.Relocator
	policy atomic.Pointer[policy]
	owner  cache.Owner
	pins   pins

	// moves is held for reading by who puts bytes into another tier, and for writing by
	// who changes where they may be.
	moves sync.RWMutex
}

var _ storage.Bucket = (*bucket)(nil)

func newBucket(s *Store, home storage.Relocator) *bucket { return &bucket{store: s, home: home} }

// bare is what a client may know of a version.
func bare(i storage.Info) storage.Info {
	i.Whereabouts = storage.Whereabouts{}
	return i
}

func bareList(l storage.Listing) storage.Listing {
	for i := range l.Objects {
		l.Objects[i].Whereabouts = storage.Whereabouts{}
	}
	return l
}

func (b *bucket) Name() string { return b.home.Name() }

func (b *bucket) Info(ctx context.Context) (storage.BucketInfo, error) { return b.home.Info(ctx) }

func (b *bucket) Stat(ctx context.Context, key string, o storage.ReadOptions) (storage.Info, error) {
	i, err := b.home.Stat(ctx, key, o)
	return bare(i), err
}

func (b *bucket) Edit(ctx context.Context, key string, o storage.EditOptions) (storage.Info, error) {
	i, err := b.home.Edit(ctx, key, o)
	return bare(i), err
}

func (b *bucket) Delete(ctx context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	return b.home.Delete(ctx, key, o)
}

func (b *bucket) List(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	l, err := b.home.List(ctx, o)
	return bareList(l), err
}

func (b *bucket) Versions(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	l, err := b.home.Versions(ctx, o)
	return bareList(l), err
}

func (b *bucket) Begin(ctx context.Context, key string, m storage.Meta) (storage.Upload, error) {
	return b.home.Begin(ctx, key, m)
}

func (b *bucket) PutPart(ctx context.Context, key, upload string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	p, err := b.home.PutPart(ctx, key, upload, number, body, o)
	b.store.full(err)
	return p, err
}

func (b *bucket) Parts(ctx context.Context, key, upload string, after, limit int) ([]storage.Part, bool, error) {
	return b.home.Parts(ctx, key, upload, after, limit)
}

func (b *bucket) Abort(ctx context.Context, key, upload string) error {
	return b.home.Abort(ctx, key, upload)
}

func (b *bucket) Uploads(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	return b.home.Uploads(ctx, o)
}

// full has room made at home if that is what failed.
func (s *Store) full(err error) {
	if !errors.Is(err, storage.ErrFull) {
		return
	}
	select {
	case s.squeeze <- struct{}{}:
	default:
	}
}

// errHeld says that tiers which would not be allowed any more may hold bytes.
var errHeld = errors.New("tiers have to be looked at")

// Configure implements storage.Bucket. A change that forbids a place where bytes of the
// bucket lie is refused with storage.ErrForbiddenPlace; they have to be moved first.
func (b *bucket) Configure(ctx context.Context, change func(*storage.Settings) error) error {
	var looked map[*level]bool // what is known to hold nothing, while b.moves is held
	for {
		var forbidden []*level
		var to *policy
		err := b.home.Configure(ctx, func(set *storage.Settings) error {
			if err := change(set); err != nil {
				return err
			}
			p, err := b.store.judge(b.Name(), set)
			if err != nil {
				return err
			}
			for _, l := range b.store.levels {
				if !looked[l] && residency.Admit(b.Name(), p.residency, l.place()) != nil {
					forbidden = append(forbidden, l)
				}
			}
			if len(forbidden) > 0 {
				return errHeld
			}
			to = p
			return nil
		})
		if errors.Is(err, errHeld) {
			if looked == nil {
				b.moves.Lock()
				defer b.moves.Unlock()
				looked = map[*level]bool{}
			}
			if err := b.emptyOf(ctx, forbidden); err != nil {
				return err
			}
			for _, l := range forbidden {
				looked[l] = true
			}
			continue
		}
		if err != nil {
			return err
		}
		b.apply(to)
		return nil
	}
}

// apply puts a policy into force.
func (b *bucket) apply(p *policy) {
	b.policy.Store(p)
	if c := b.store.cfg.Cache; c != nil {
		c.Bar(&b.owner, !p.hot)
		if !p.hot {
			c.Forget(&b.owner)
		}
	}
}

// emptyOf returns an error if one of the levels holds bytes of the bucket.
func (b *bucket) emptyOf(ctx context.Context, levels []*level) error {
	if err := b.store.Collect(ctx); err != nil {
		return err
	}
	left, err := b.store.home.Loose(ctx, "", 1000)
	if err != nil {
		return err
	}
	held, err := b.tally(ctx)
	if err != nil {
		return err
	}
	for _, l := range levels {
		for _, n := range left {
			if p, ok := parsePlace(n.Place); ok && p.level == l.Name {
				return fmt.Errorf("%w: %s still holds bytes that were deleted; try again when they are removed", storage.ErrForbiddenPlace, l.place())
			}
		}
		if c := held[l]; c != nil && c.Number > 0 {
			return fmt.Errorf("%w: %s holds %d objects of bucket %s; move them first", storage.ErrForbiddenPlace, l.place(), c.Number, b.Name())
		}
	}
	return nil
}
