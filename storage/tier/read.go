package tier

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/storage"
)

// retries bounds how often a read begins anew because its data moved meanwhile.
const retries = 100

// promoteAfter uses, data that is below is worth its room at home.
const promoteAfter = 2

// errMoved says that data is not any more where an entry said it was.
var errMoved = errors.New("the data has moved")

func (b *bucket) Open(ctx context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	p := b.policy.Load()
	if p.hot {
		i, err := b.home.Stat(ctx, key, o)
		if err != nil {
			return nil, err
		}
		if w := b.store.cfg.Cache.Whole(bare(i)); w != nil {
			b.store.uses.note(i.Revision, b.store.cfg.Now())
			b.store.meters.hot.Inc()
			return w, nil
		}
	}
	for range retries {
		at, err := b.home.Open(ctx, key, o)
		if err == nil {
			return b.near(p, at), nil
		}
		if !errors.Is(err, storage.ErrAway) {
			return nil, err
		}
		i, err := b.home.Stat(ctx, key, o)
		if err != nil {
			return nil, err
		}
		if !i.Whereabouts.Away {
			continue
		}
		if at, err = b.far(ctx, p, i); !errors.Is(err, errMoved) {
			return at, err
		}
	}
	return nil, fmt.Errorf("opening %s: %w: the tier that has its data does not find it", key, storage.ErrCorrupt)
}

// near is an object whose data is at home. It goes through the cache once it was asked
// for before; what is read once comes from the disk, without a copy.
func (b *bucket) near(p *policy, at storage.Object) storage.Object {
	i := at.Info()
	s := b.store
	s.uses.note(i.Revision, s.cfg.Now())
	hot := p.hot && i.Size > 0 && s.cfg.Cache.Has(i.Revision)
	if hot {
		s.meters.hot.Inc()
	} else {
		s.meters.home.Inc()
	}
	if hot || p.hot && i.Size > 0 && s.cfg.Cache.Asked(i.Revision) {
		return s.cfg.Cache.Wrap(at, bare(i), &b.owner)
	}
	if i.Whereabouts == (storage.Whereabouts{}) {
		return at
	}
	return &told{Object: at, info: bare(i)}
}

// told is an object that says no more than a client may know.
type told struct {
	storage.Object
	info storage.Info
}

func (t *told) Info() storage.Info { return t.info }

// below is an object whose data is in a lower tier.
type below struct {
	told
	leave func()
}

func (o *below) Close() error {
	defer o.leave()
	return o.Object.Close()
}

// far opens data that is in a lower tier.
func (b *bucket) far(ctx context.Context, p *policy, i storage.Info) (storage.Object, error) {
	o, l, err := b.store.below(ctx, i)
	if err != nil {
		return nil, err
	}
	s := b.store
	l.reads.Inc()
	if n := s.uses.note(i.Revision, s.cfg.Now()); n >= promoteAfter && !p.NoPromote {
		l.queue.add(task{kind: promote, bucket: b, key: i.Key, version: i.Version, revision: i.Revision})
	}
	if !p.hot {
		return o, nil
	}
	s.cfg.Cache.Asked(i.Revision)
	return s.cfg.Cache.Wrap(o, bare(i), &b.owner), nil
}

// below opens the data of a version in the lower tier that has it.
func (s *Store) below(ctx context.Context, i storage.Info) (*below, *level, error) {
	at, ok := parsePlace(i.Whereabouts.Place)
	l := s.level(at.level)
	if !ok || l == nil {
		return nil, nil, fmt.Errorf("opening %s: %w: its data is in a tier that is not there: %q", i.Key, storage.ErrUnavailable, i.Whereabouts.Place)
	}
	leave, ok := s.places.read(at.String())
	if !ok {
		return nil, nil, errMoved
	}
	o, err := l.open(ctx, at.key)
	if err != nil {
		leave()
		if errors.Is(err, storage.ErrNoObject) {
			return nil, nil, errMoved
		}
		return nil, nil, fmt.Errorf("opening %s: %w", i.Key, err)
	}
	if n := o.Info().Size; n != i.Size {
		leave()
		_ = o.Close() // it was not read
		return nil, nil, fmt.Errorf("opening %s: %w: tier %s has %d of its %d bytes", i.Key, storage.ErrCorrupt, l.Name, n, i.Size)
	}
	return &below{told{o, bare(i)}, leave}, l, nil
}
