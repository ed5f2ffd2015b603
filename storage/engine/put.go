package engine

import (
	"context"
	"fmt"
	"io"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

func (b *bucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	set, err := b.begin(key)
	if err != nil {
		return storage.Info{}, err
	}
	if err := b.foresee(key, &set, o.If); err != nil {
		return storage.Info{}, err
	}
	in, err := b.receive(ctx, b.part(key, &set), &set, body, &o)
	if err != nil {
		return storage.Info{}, fmt.Errorf("putting %s: %w", key, err)
	}
	defer in.discard()
	var info storage.Info
	err = b.transact(key, func(t *transaction) error {
		top, err := b.newest(t.part, key)
		if err != nil {
			return err
		}
		if err := t.judge(o.If, top); err != nil {
			return err
		}
		if err := t.shelve(top); err != nil {
			return err
		}
		v := &version{size: in.size, etag: in.etag, modified: b.store.now().UnixNano(), meta: o.Meta}
		if v.etag == "" {
			v.etag = in.plainETag(t.newRev())
		}
		t.top(v, Change{Data: in.data, Stage: in.stage})
		info = v.info(key, true)
		return nil
	})
	if err != nil {
		return storage.Info{}, fmt.Errorf("putting %s: %w", key, err)
	}
	return info, nil
}

// begin checks what can be checked before a body is read.
func (b *bucket) begin(key string) (storage.Settings, error) {
	set, err := b.settings()
	if err != nil {
		return set, err
	}
	return set, storage.CheckKey(key)
}

// foresee refuses a body whose conditions fail already, before it is sent in full.
// They are judged again when it counts.
func (b *bucket) foresee(key string, set *storage.Settings, c storage.Conditions) error {
	if len(c.Match) == 0 && len(c.NoneMatch) == 0 && c.UnmodifiedSince.IsZero() {
		return nil
	}
	p := b.part(key, set)
	top, err := b.newest(p, key)
	if err != nil {
		return err
	}
	return (&transaction{b: b, key: key}).judge(c, top)
}

func (b *bucket) Edit(_ context.Context, key string, o storage.EditOptions) (storage.Info, error) {
	if _, err := b.begin(key); err != nil {
		return storage.Info{}, err
	}
	var info storage.Info
	err := b.transact(key, func(t *transaction) error {
		f, err := b.find(t.part, key, o.Version)
		if err != nil {
			return err
		}
		if f, err = b.present(f, key, o.Version); err != nil {
			return err
		}
		if err := t.judge(o.If, f); err != nil {
			return err
		}
		m := cloneMeta(f.meta)
		if err := o.Change(&m); err != nil {
			return err
		}
		v := *f.version
		v.meta = m
		if o.Touch {
			v.modified = b.store.now().UnixNano()
		}
		t.changes = append(t.changes, Change{Key: f.entry.Key, From: f.entry.Key, Value: v.encode(), Weight: f.entry.Weight})
		if !v.meta.Expires.Equal(f.meta.Expires) {
			t.expire(&v)
		}
		info = v.info(key, f.latest)
		return nil
	})
	if err != nil {
		return storage.Info{}, fmt.Errorf("editing %s: %w", key, err)
	}
	return info, nil
}

func (b *bucket) Delete(_ context.Context, key string, o storage.DeleteOptions) (storage.Deletion, error) {
	if _, err := b.begin(key); err != nil {
		return storage.Deletion{}, err
	}
	var out storage.Deletion
	err := b.transact(key, func(t *transaction) (err error) {
		if o.Version == "" {
			out, err = t.remove(o)
		} else {
			out, err = t.removeVersion(o)
		}
		return err
	})
	if err != nil {
		return storage.Deletion{}, fmt.Errorf("deleting %s: %w", key, err)
	}
	return out, nil
}

// remove takes the newest version away, or puts a marker on it.
func (t *transaction) remove(o storage.DeleteOptions) (storage.Deletion, error) {
	top, err := t.b.newest(t.part, t.key)
	if err != nil {
		return storage.Deletion{}, err
	}
	if err := t.judge(o.If, top); err != nil {
		return storage.Deletion{}, err
	}
	there := top != nil && !top.marker
	if t.set.Versioning == storage.Unversioned {
		if top == nil {
			return storage.Deletion{}, nil
		}
		if err := t.guard(o, top); err != nil {
			return storage.Deletion{}, err
		}
		return storage.Deletion{Found: there, Version: storage.NullVersion}, t.drop(top)
	}
	if err := t.shelve(top); err != nil {
		return storage.Deletion{}, err
	}
	v := &version{marker: true, modified: t.b.store.now().UnixNano()}
	t.top(v, Change{})
	return storage.Deletion{Found: there, Version: v.info(t.key, true).Version, Marker: true}, nil
}

// removeVersion takes a version away for good; the next one comes up if it was on top.
func (t *transaction) removeVersion(o storage.DeleteOptions) (storage.Deletion, error) {
	f, err := t.b.find(t.part, t.key, o.Version)
	if err != nil {
		return storage.Deletion{}, err
	}
	if err := t.judge(o.If, f); err != nil {
		return storage.Deletion{}, err
	}
	if f == nil {
		return storage.Deletion{Version: o.Version}, nil
	}
	if err := t.guard(o, f); err != nil {
		return storage.Deletion{}, err
	}
	out := storage.Deletion{Found: true, Version: o.Version, Marker: f.marker}
	if err := t.drop(f); err != nil || !f.latest {
		return out, err
	}
	next, err := t.b.older(t.key, func(v *version) bool { return v.rev != f.rev })
	if err != nil || next == nil || next.marker {
		return out, err
	}
	t.changes = append(t.changes, Change{
		Key: currentKey(t.b.number, t.key), From: next.entry.Key, Value: next.entry.Value, Weight: next.entry.Weight,
	})
	return out, nil
}

// guard asks whoever deletes whether a version may go for good. Who does not say is held
// to the version's lock.
func (t *transaction) guard(o storage.DeleteOptions, f *found) error {
	judge := o.Guard
	if judge == nil {
		judge = lock.Guard(t.b.store.now(), false)
	}
	info := f.info(t.key, f.latest)
	return judge(&info)
}
