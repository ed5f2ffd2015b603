package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// Edit implements storage.Bucket. The remote writes the object again with other
// metadata, so its own time becomes the present; without Touch the old one is kept beside
// it, for Stat and Open. An S3 object of parts may get another ETag. Where the remote
// keeps versions it would make a new one, which is refused.
func (b *Bucket) Edit(ctx context.Context, key string, o storage.EditOptions) (storage.Info, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Info{}, err
	}
	defer done()
	if b.settings().Versioning != storage.Unversioned {
		return storage.Info{}, fmt.Errorf("editing %s: %w: a version would be made for it", key, ErrCannot)
	}
	e, err := b.head(ctx, key, o.Version)
	if err != nil {
		return storage.Info{}, fmt.Errorf("editing %s: %w", key, err)
	}
	i := b.infoOf(e)
	if err := o.If.Check(&i, false); err != nil {
		return storage.Info{}, err
	}
	_, f := decode(e.words)
	f.modified = time.Time{}
	if !o.Touch {
		f.modified = i.Modified
	}
	m, _ := decode(e.words) // maps of its own
	if err := o.Change(&m); err != nil {
		return storage.Info{}, err
	}
	w, err := encode(m, f, b.s.can)
	if err != nil {
		return storage.Info{}, err
	}
	if err := b.s.wire.rewrite(ctx, b.at(key), e, w); err != nil {
		return storage.Info{}, fmt.Errorf("editing %s: %w", key, err)
	}
	now, err := b.head(ctx, key, "")
	if err != nil {
		return storage.Info{}, fmt.Errorf("editing %s: %w", key, err)
	}
	return b.infoOf(now), nil
}

// Delete implements storage.Bucket. Guards are judged before.
func (b *Bucket) Delete(ctx context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Deletion{}, err
	}
	defer done()
	for i := 1; ; i++ {
		d, err := b.remove(ctx, key, o)
		if err == nil || !errors.Is(err, errMoved) || i == judgesMax {
			return d, err
		}
	}
}

var errMoved = errors.New("the object changed after it was judged")

func (b *Bucket) remove(ctx context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	versioned := b.versioned()
	e, err := b.head(ctx, key, o.Version)
	found := err == nil
	switch {
	case found, errors.Is(err, storage.ErrDeleted):
	case errors.Is(err, storage.ErrNoObject), errors.Is(err, storage.ErrNoVersion):
	default:
		return storage.Deletion{}, fmt.Errorf("removing %s: %w", key, err)
	}
	var i *storage.Info
	if found {
		v := b.infoOf(e)
		i = &v
	}
	if err := o.If.Check(i, false); err != nil {
		return storage.Deletion{}, err
	}
	marker := o.Version != "" && versioned && errors.Is(err, storage.ErrDeleted)
	if found && (o.Version != "" || !versioned) {
		guard := o.Guard
		if guard == nil {
			guard = lock.Guard(b.s.cfg.Now(), false)
		}
		if err := guard(i); err != nil {
			return storage.Deletion{}, err
		}
	}
	if !found && !versioned {
		return storage.Deletion{}, nil
	}
	version, d := "", demand{}
	if versioned {
		version = o.Version
	}
	if found && version == "" && b.s.can.conditional && (len(o.If.Match) > 0 || o.Guard != nil) {
		d.tag = e.tag
	}
	r, err := b.s.wire.remove(ctx, b.at(key), version, d)
	switch {
	case errors.Is(err, storage.ErrPrecondition):
		return storage.Deletion{}, fmt.Errorf("removing %s: %w: %w", key, errMoved, err)
	case errors.Is(err, storage.ErrNoObject), errors.Is(err, storage.ErrNoVersion):
		return storage.Deletion{}, nil
	case err != nil && !found && !marker && o.Version != "" && errors.Is(err, storage.ErrInvalid):
		return storage.Deletion{}, nil // no version could have such a name
	case err != nil:
		return storage.Deletion{}, fmt.Errorf("removing %s: %w", key, err)
	}
	// Not every server says of a version that it is a marker before it is removed.
	out := storage.Deletion{Found: found || marker || o.Version != "" && r.marker, Version: r.version, Marker: r.marker}
	if out.Version == "" {
		out.Version = storage.NullVersion
	}
	return out, nil
}
