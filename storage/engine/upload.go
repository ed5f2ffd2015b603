package engine

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"polder.dev/polder/storage"
)

func uploadOf(key string, e Entry) (storage.Upload, error) {
	v, err := decode(e.Value)
	if err != nil {
		return storage.Upload{}, err
	}
	return storage.Upload{Key: key, ID: idOf(v.rev), Begun: time.Unix(0, v.modified).UTC(), Meta: v.meta}, nil
}

func (b *bucket) Begin(_ context.Context, key string, m storage.Meta) (storage.Upload, error) {
	if _, err := b.begin(key); err != nil {
		return storage.Upload{}, err
	}
	var out storage.Upload
	err := b.transact(key, func(t *transaction) error {
		v := &version{rev: t.newRev(), modified: b.store.now().UnixNano(), meta: m}
		k := uploadKey(b.number, key, v.rev)
		t.changes = append(t.changes, Change{Key: k, Value: v.encode(), Weight: -1})
		out = storage.Upload{Key: key, ID: idOf(v.rev), Begun: time.Unix(0, v.modified).UTC(), Meta: m}
		return nil
	})
	if err != nil {
		return storage.Upload{}, fmt.Errorf("beginning an upload of %s: %w", key, err)
	}
	return out, nil
}

// upload returns the entry of an upload that is under way, and its number.
func (b *bucket) upload(p Part, key, id string) (*found, uint64, error) {
	n, ok := parseID(id)
	if !ok {
		return nil, 0, fmt.Errorf("upload %s of %s: %w", id, key, storage.ErrNoUpload)
	}
	f, err := b.get(p, uploadKey(b.number, key, n))
	if err == nil && f == nil {
		err = fmt.Errorf("upload %s of %s: %w", id, key, storage.ErrNoUpload)
	}
	return f, n, err
}

func (b *bucket) PutPart(ctx context.Context, key, id string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	set, err := b.begin(key)
	if err != nil {
		return storage.Part{}, err
	}
	if number < 1 || number > storage.PartsMax {
		return storage.Part{}, fmt.Errorf("%w: part numbers are 1 to %d, not %d", storage.ErrInvalid, storage.PartsMax, number)
	}
	p := b.part(key, &set)
	if _, _, err := b.upload(p, key, id); err != nil {
		return storage.Part{}, err
	}
	in, err := b.receive(ctx, p, &set, body, &o)
	if err != nil {
		return storage.Part{}, fmt.Errorf("putting part %d of %s: %w", number, key, err)
	}
	defer in.discard()
	var v *version
	err = b.transact(key, func(t *transaction) error {
		_, n, err := b.upload(t.part, key, id)
		if err != nil {
			return err
		}
		v = &version{rev: t.newRev(), size: in.size, etag: in.etag, modified: b.store.now().UnixNano()}
		v.meta.Checksums = o.Meta.Checksums
		if v.etag == "" {
			v.etag = in.plainETag(v.rev)
		}
		c := Change{Key: partKey(b.number, key, n, number), Value: v.encode(), Weight: v.size, Data: in.data, Stage: in.stage}
		t.changes = append(t.changes, c)
		return nil
	})
	if err != nil {
		return storage.Part{}, fmt.Errorf("putting part %d of %s: %w", number, key, err)
	}
	return v.part(number), nil
}

func (v *version) part(number int) storage.Part {
	return storage.Part{Number: number, Size: v.size, ETag: v.etag, Modified: time.Unix(0, v.modified).UTC(), Checksums: v.meta.Checksums}
}

func (b *bucket) Parts(_ context.Context, key, id string, after, limit int) ([]storage.Part, bool, error) {
	set, err := b.begin(key)
	if err != nil {
		return nil, false, err
	}
	_, n, err := b.upload(b.part(key, &set), key, id)
	if err != nil {
		return nil, false, err
	}
	var out []storage.Part
	more := false
	err = b.eachPart(key, n, after, func(number int, v *version) bool {
		if limit > 0 && len(out) == limit {
			more = true
			return false
		}
		out = append(out, v.part(number))
		return true
	})
	if err != nil {
		return nil, false, fmt.Errorf("listing parts of %s: %w", key, err)
	}
	return out, more, nil
}

// eachPart goes through the parts of an upload with numbers above low, until f says so.
func (b *bucket) eachPart(key string, upload uint64, low int, f func(number int, v *version) bool) error {
	c := b.store.ledger.Scan(partKey(b.number, key, upload, min(max(low, 0), storage.PartsMax)+1), after(partsPrefix(b.number, key, upload)), false)
	for c.Next() {
		v, err := decode(c.Entry().Value)
		if err != nil {
			_ = c.Close()
			return err
		}
		if !f(partNumber(c.Entry().Key), v) {
			break
		}
	}
	return c.Close()
}

func (b *bucket) Complete(_ context.Context, key, id string, refs []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	if _, err := b.begin(key); err != nil {
		return storage.Info{}, err
	}
	var info storage.Info
	err := b.transact(key, func(t *transaction) error {
		u, n, err := b.upload(t.part, key, id)
		if err != nil {
			return err
		}
		v, keep, err := b.assemble(key, n, refs)
		if err != nil {
			return err
		}
		v.meta = u.meta
		if o.Seal != nil {
			if err := o.Seal(&v.meta); err != nil {
				return err
			}
		}
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
		t.changes = append(t.changes, Change{Key: u.entry.Key, Delete: true})
		if err := t.dropParts(n, keep); err != nil {
			return err
		}
		t.top(v, Change{})
		info = v.info(key, true)
		return nil
	})
	if err != nil {
		return storage.Info{}, fmt.Errorf("completing the upload of %s: %w", key, err)
	}
	return info, nil
}

// assemble makes the version that the named parts are.
func (b *bucket) assemble(key string, upload uint64, refs []storage.PartRef) (*version, map[int]bool, error) {
	if len(refs) == 0 {
		return nil, nil, fmt.Errorf("%w: none is named", storage.ErrPart)
	}
	stored := map[int]*version{}
	if err := b.eachPart(key, upload, 0, func(n int, v *version) bool { stored[n] = v; return true }); err != nil {
		return nil, nil, err
	}
	out := &version{upload: upload, parts: len(refs), modified: b.store.now().UnixNano()}
	keep := map[int]bool{}
	sum := md5.New()
	for i, r := range refs {
		if i > 0 && r.Number <= refs[i-1].Number {
			return nil, nil, fmt.Errorf("%w: %d comes after %d", storage.ErrOrder, r.Number, refs[i-1].Number)
		}
		v := stored[r.Number]
		if err := fits(r, v, i == len(refs)-1); err != nil {
			return nil, nil, err
		}
		keep[r.Number] = true
		out.size += v.size
		if raw, err := hex.DecodeString(v.etag); err == nil {
			_, _ = sum.Write(raw) // a hash never fails
		} else {
			_, _ = sum.Write([]byte(v.etag))
		}
	}
	out.etag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(refs))
	return out, keep, nil
}

// fits says why a stored part is not what was named, if it is not.
func fits(r storage.PartRef, v *version, last bool) error {
	switch {
	case v == nil:
		return fmt.Errorf("%w: there is no part %d", storage.ErrPart, r.Number)
	case r.ETag != "" && r.ETag != v.etag:
		return fmt.Errorf("%w: the ETag of part %d is %s, not %s", storage.ErrPart, r.Number, v.etag, r.ETag)
	case !last && v.size < storage.PartBytesMin:
		return fmt.Errorf("%w: part %d has %d bytes, and at least %d are needed", storage.ErrTooSmall, r.Number, v.size, storage.PartBytesMin)
	}
	for name, sum := range r.Checksums {
		if v.meta.Checksums[name] != sum {
			return fmt.Errorf("%w: the %s of part %d is %s, not %s", storage.ErrPart, name, r.Number, v.meta.Checksums[name], sum)
		}
	}
	return nil
}
