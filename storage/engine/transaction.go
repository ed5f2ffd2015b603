package engine

import (
	"fmt"

	"polder.dev/polder/storage"
)

// transaction gathers the changes of one key.
type transaction struct {
	b       *bucket
	key     string
	part    Part
	set     *storage.Settings
	rev     uint64
	synced  bool // whatever set says
	changes []Change
}

func (t *transaction) newRev() uint64 {
	if t.rev == 0 {
		t.rev = t.b.store.ledger.Rev()
	}
	return t.rev
}

// found is a version with its entry.
type found struct {
	*version
	entry   Entry
	current bool
	latest  bool
}

// get reads and decodes an entry, or returns nil.
func (b *bucket) get(p Part, key []byte) (*found, error) {
	e, ok, err := b.store.ledger.Get(p, key)
	if err != nil || !ok {
		return nil, err
	}
	v, err := decode(e.Value)
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w", key, err)
	}
	return &found{version: v, entry: e, current: key[0] == kindCurrent, latest: key[0] == kindCurrent}, nil
}

// newest finds the newest version or delete marker of a key, or nil.
func (b *bucket) newest(p Part, key string) (*found, error) {
	f, err := b.get(p, currentKey(b.number, key))
	if f != nil || err != nil || !b.versioned.Load() {
		return f, err
	}
	f, err = b.older(key, func(*version) bool { return true })
	if f != nil {
		f.latest = true
	}
	return f, err
}

// older finds the newest of the versions below the current one that want accepts.
func (b *bucket) older(key string, want func(*version) bool) (*found, error) {
	g := group(kindOlder, b.number, key)
	c := b.store.ledger.Scan(g, after(g), false)
	for c.Next() {
		e := c.Entry()
		v, err := decode(e.Value)
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		if want(v) {
			return &found{version: v, entry: e}, c.Close()
		}
	}
	return nil, c.Close()
}

// find returns the version with an id, "" for the newest; nil if there is none.
func (b *bucket) find(p Part, key, id string) (*found, error) {
	if id == "" {
		return b.newest(p, key)
	}
	top, err := b.newest(p, key)
	if err != nil || top == nil {
		return nil, err
	}
	if id == storage.NullVersion {
		if top.null {
			return top, nil
		}
		return b.older(key, func(v *version) bool { return v.null })
	}
	rev, ok := parseID(id)
	switch {
	case !ok:
		return nil, nil
	case top.rev == rev && !top.null:
		return top, nil
	}
	f, err := b.get(p, olderKey(b.number, key, rev))
	if f != nil && f.null {
		return nil, err
	}
	return f, err
}

// present is a version that a client may see, or the error that says why not.
func (b *bucket) present(f *found, key, id string) (*found, error) {
	switch {
	case f == nil && id != "":
		return nil, fmt.Errorf("%s, version %s: %w", key, id, storage.ErrNoVersion)
	case f == nil || b.expired(f.version):
		return nil, fmt.Errorf("%s: %w", key, storage.ErrNoObject)
	case f.marker && id == "":
		return nil, fmt.Errorf("%s: %w: %w", key, storage.ErrNoObject, storage.ErrDeleted)
	case f.marker:
		return nil, fmt.Errorf("%s, version %s: %w", key, id, storage.ErrDeleted)
	}
	return f, nil
}

func (b *bucket) expired(v *version) bool {
	return !v.meta.Expires.IsZero() && !v.meta.Expires.After(b.store.now())
}

// judge checks conditions of a write against what a client sees.
func (t *transaction) judge(c storage.Conditions, f *found) error {
	var o *storage.Info
	if f != nil && !f.marker && !t.b.expired(f.version) {
		i := f.info(t.key, true)
		o = &i
	}
	if err := c.Check(o, false); err != nil {
		return fmt.Errorf("%s: %w", t.key, err)
	}
	return nil
}

// drop removes a version with all it is made of.
func (t *transaction) drop(f *found) error {
	t.changes = append(t.changes, Change{Key: f.entry.Key, Delete: true})
	t.loosen(f)
	if f.upload == 0 {
		return nil
	}
	return t.dropParts(f.upload, nil)
}

// dropParts removes the parts of an upload that are not to be kept.
func (t *transaction) dropParts(upload uint64, keep map[int]bool) error {
	p := partsPrefix(t.b.number, t.key, upload)
	c := t.b.store.ledger.Scan(p, after(p), false)
	for c.Next() {
		k := c.Entry().Key
		if !keep[partNumber(k)] {
			t.changes = append(t.changes, Change{Key: k, Delete: true})
		}
	}
	return c.Close()
}

func partNumber(k []byte) int { return int(k[len(k)-2])<<8 | int(k[len(k)-1]) }

// shelve makes room above the newest version: it is dropped or becomes an older one.
func (t *transaction) shelve(top *found) error {
	cur := top
	if cur != nil && !cur.current { // a delete marker, which is with the older ones already
		cur = nil
	}
	keep := t.set.Versioning == storage.Versioned || t.set.Versioning == storage.Suspended && cur != nil && !cur.null
	if cur != nil && keep {
		t.changes = append(t.changes, Change{
			Key: olderKey(t.b.number, t.key, cur.rev), From: cur.entry.Key, Value: cur.entry.Value, Weight: cur.entry.Weight,
		})
	}
	if cur != nil && !keep {
		return t.drop(cur)
	}
	if t.set.Versioning != storage.Suspended {
		return nil
	}
	// The version that is about to come takes the place of the one without an id.
	null, err := t.b.older(t.key, func(v *version) bool { return v.null })
	if err != nil || null == nil {
		return err
	}
	return t.drop(null)
}

// top adds a new newest version; its data comes with c.
func (t *transaction) top(v *version, c Change) {
	v.rev = t.newRev()
	v.null = t.set.Versioning != storage.Versioned
	c.Key, c.Weight = currentKey(t.b.number, t.key), v.size
	if v.marker {
		c.Key = olderKey(t.b.number, t.key, v.rev)
	}
	c.Value = v.encode()
	t.changes = append(t.changes, c)
	t.expire(v)
}

// expire notes when a version ends, for Sweep.
func (t *transaction) expire(v *version) {
	if !v.meta.Expires.IsZero() {
		k := expiryKey(v.meta.Expires.Unix(), t.b.number, v.rev, t.key)
		t.changes = append(t.changes, Change{Key: k, Value: []byte{0}, Weight: -1})
	}
}
