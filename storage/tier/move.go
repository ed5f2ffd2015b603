package tier

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

// claimed is a place in a lower tier that no entry refers to yet.
type claimed struct {
	place place
	note  storage.Loose
	sum   string // MD5 of the data, in hexadecimal, once it is there
	done  func() // called once an entry refers to it, or never will
}

// holds is where data is that has this copy.
func (c *claimed) holds() storage.Whereabouts {
	return storage.Whereabouts{Place: c.place.String(), Sum: c.sum}
}

// claim takes a new place. From now on it is noted, so that it is not lost.
func (b *bucket) claim(ctx context.Context, l *level, key string, revision uint64) (*claimed, error) {
	if err := residency.Admit(b.Name(), b.policy.Load().residency, l.place()); err != nil {
		return nil, err
	}
	c := &claimed{place: newPlace(l.Name)}
	c.done = b.store.places.write(c.place.String())
	var err error
	if c.note, err = b.home.Claim(ctx, key, revision, c.place.String()); err != nil {
		c.done()
		return nil, err
	}
	return c, nil
}

// copyDown copies an object to a new place, durably and verified. The caller calls done.
func (b *bucket) copyDown(ctx context.Context, l *level, src storage.Object, revision uint64) (*claimed, error) {
	i := src.Info()
	c, err := b.claim(ctx, l, i.Key, revision)
	if err != nil {
		return nil, err
	}
	want := ""
	if i.Parts == 0 && isMD5(i.ETag) && i.Meta.System[storage.SystemSeal] == "" {
		want = i.ETag
	}
	sum, n, err := l.put(ctx, c.place.key, storage.Reader(src, 0, i.Size), i.Size, want)
	if err == nil && n != i.Size {
		err = fmt.Errorf("%w: %d of %d bytes were read", storage.ErrCorrupt, n, i.Size)
	}
	if err != nil {
		c.done()
		b.store.meters.failed.WithLabelValues(l.Name).Inc()
		return nil, fmt.Errorf("copying %s to tier %s: %w", i.Key, l.Name, err)
	}
	c.sum = sum
	b.store.meters.movedBytes.WithLabelValues(l.Name).Add(float64(n))
	return c, nil
}

// at finds a version by its revision. Of one that is gone it returns false.
func (b *bucket) at(ctx context.Context, t task) (storage.Info, bool, error) {
	i, err := b.home.Stat(ctx, t.key, storage.ReadOptions{Version: t.version})
	switch {
	case gone(err):
		return i, false, nil
	case err != nil:
		return i, false, err
	}
	return i, i.Revision == t.revision, nil
}

// missing says what it means that data was not found below: that somebody has replaced
// the version meanwhile, which is no failure, or that the tier has lost it.
func (b *bucket) missing(ctx context.Context, t task, was storage.Info) error {
	i, ok, err := b.at(ctx, t)
	if err != nil || !ok || i.Whereabouts != was.Whereabouts {
		return err
	}
	return fmt.Errorf("moving %s: %w: the tier that has its data does not find it", t.key, storage.ErrCorrupt)
}

// gone says that what was to be moved is not there any more, which is no failure.
func gone(err error) bool {
	for _, kind := range []error{storage.ErrNoObject, storage.ErrNoVersion, storage.ErrDeleted, storage.ErrNoBucket} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// only waits until nobody else moves a revision.
func (s *Store) only(ctx context.Context, revision uint64) (done func(), err error) {
	for {
		s.moveMu.Lock()
		other := s.moving[revision]
		if other == nil {
			own := make(chan struct{})
			s.moving[revision] = own
			s.moveMu.Unlock()
			return func() {
				s.moveMu.Lock()
				defer s.moveMu.Unlock()
				delete(s.moving, revision)
				close(own)
			}, nil
		}
		s.moveMu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// down makes a level hold the data of a version; with leave the home does not hold it
// any more. What is below already is not copied again.
func (b *bucket) down(ctx context.Context, t task, l *level, leave bool) error {
	done, err := b.store.only(ctx, t.revision)
	if err != nil {
		return err
	}
	defer done()
	b.moves.RLock()
	defer b.moves.RUnlock()
	i, ok, err := b.at(ctx, t)
	if err != nil || !ok || i.Size == 0 {
		return err
	}
	r := storage.Relocation{Revision: i.Revision, From: i.Whereabouts, To: i.Whereabouts}
	if at, _ := parsePlace(i.Whereabouts.Place); at.level != l.Name {
		src, err := b.source(ctx, i)
		if errors.Is(err, errMoved) {
			return b.missing(ctx, t, i)
		}
		if gone(err) || errors.Is(err, storage.ErrAway) {
			return nil // somebody was faster
		}
		if err != nil {
			return err
		}
		c, err := b.copyDown(ctx, l, src, i.Revision)
		if err := errors.Join(err, src.Close()); gone(err) {
			return nil
		} else if err != nil {
			return err
		}
		defer c.done()
		r.To, r.Claim = c.holds(), c.note.ID
		r.To.Away = i.Whereabouts.Away
	}
	r.To.Away = r.To.Away || leave
	if r.To == r.From {
		return nil
	}
	_, err = b.home.Relocate(ctx, i.Key, r)
	switch {
	case gone(err) || errors.Is(err, storage.ErrPrecondition):
		return nil // somebody was faster; the copy is noted
	case err != nil:
		return err
	}
	if leave {
		b.store.uses.forget(i.Revision)
		b.store.meters.demoted.WithLabelValues(l.Name).Inc()
	} else {
		b.store.meters.flushed.WithLabelValues(l.Name).Inc()
	}
	return nil
}

// source opens exactly a version, wherever its data is.
func (b *bucket) source(ctx context.Context, i storage.Info) (storage.Object, error) {
	if i.Whereabouts.Away {
		o, _, err := b.store.below(ctx, i)
		if err != nil {
			return nil, err
		}
		return o, nil
	}
	o, err := b.home.Open(ctx, i.Key, storage.ReadOptions{Version: i.Version})
	if err != nil {
		return nil, err
	}
	if o.Info().Revision != i.Revision {
		return nil, errors.Join(fmt.Errorf("%s: %w", i.Key, storage.ErrNoVersion), o.Close())
	}
	return o, nil
}

// up brings the data of a version home, verified. The copy below stays, so that to go
// down again costs nothing.
func (b *bucket) up(ctx context.Context, t task) error {
	done, err := b.store.only(ctx, t.revision)
	if err != nil {
		return err
	}
	defer done()
	i, ok, err := b.at(ctx, t)
	if err != nil || !ok || !i.Whereabouts.Away {
		return err
	}
	o, l, err := b.store.below(ctx, i)
	if errors.Is(err, errMoved) {
		return b.missing(ctx, t, i)
	}
	if err != nil {
		return err
	}
	_, err = b.home.Relocate(ctx, i.Key, storage.Relocation{
		Revision: i.Revision, From: i.Whereabouts, To: storage.Whereabouts{Place: i.Whereabouts.Place, Sum: i.Whereabouts.Sum},
		Data: &verified{r: storage.Reader(o, 0, i.Size), md5: md5.New(), want: i.Whereabouts.Sum, key: i.Key},
	})
	if err := errors.Join(err, o.Close()); err != nil {
		if gone(err) || errors.Is(err, storage.ErrPrecondition) {
			return nil
		}
		b.store.full(err)
		return err
	}
	b.store.meters.promoted.WithLabelValues(l.Name).Inc()
	return nil
}

// verified is data from below, whose end is told only if it is what went down.
type verified struct {
	r    io.Reader
	md5  hash.Hash
	want string
	key  string
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	_, _ = v.md5.Write(p[:n]) // a hash never fails
	if err == io.EOF {
		if sum := hex.EncodeToString(v.md5.Sum(nil)); sum != v.want {
			return n, fmt.Errorf("%w: the data of %s came back with MD5 %s, not %s", storage.ErrCorrupt, v.key, sum, v.want)
		}
	}
	return n, err
}

// Transition is Move of exactly the version that v says, unless it is there already or
// was replaced; it says whether it moved. It has the form that a lifecycle's runner wants.
func (s *Store) Transition(ctx context.Context, of storage.Bucket, v storage.Info, class storage.Class) (bool, error) {
	b, err := s.bucket(ctx, of.Name())
	if err != nil {
		return false, err
	}
	i, ok, err := b.at(ctx, task{key: v.Key, version: v.Version, revision: v.Revision})
	if err != nil || !ok || i.Size == 0 {
		return false, err
	}
	at, _ := parsePlace(i.Whereabouts.Place)
	l := s.level(at.level)
	switch {
	case class <= s.homeClass() && !i.Whereabouts.Away:
		return false, nil
	case class > s.homeClass() && i.Whereabouts.Away && l != nil && l.Class == class:
		return false, nil
	}
	return true, s.Move(ctx, b.Name(), v.Key, i.Version, class)
}

// Move puts the data of one version where a class says, at once: with the home's class,
// or a nearer one, it comes home; else it goes to the first lower tier of that class and
// leaves the home.
func (s *Store) Move(ctx context.Context, bucketName, key, version string, class storage.Class) error {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return err
	}
	i, err := b.home.Stat(ctx, key, storage.ReadOptions{Version: version})
	if err != nil {
		return err
	}
	t := task{bucket: b, key: key, version: i.Version, revision: i.Revision}
	if class <= s.homeClass() {
		return b.up(ctx, t)
	}
	for _, l := range s.levels {
		if l.Class == class {
			return b.down(ctx, t, l, true)
		}
	}
	return fmt.Errorf("moving %s: %w: there is no %s tier", key, storage.ErrInvalid, class)
}
