package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"polder.dev/polder/storage"
)

// metaBytesMax bounds an upload's metadata as it is kept.
const metaBytesMax = 256 << 10

// side is where the metadata of an upload is kept until Complete.
func (b *Bucket) side(id string) place {
	sum := sha256.Sum256([]byte(id))
	return place{b.home.container, b.home.own + "upload/" + hex.EncodeToString(sum[:16])}
}

// Begin implements storage.Uploader.
func (b *Bucket) Begin(ctx context.Context, key string, m storage.Meta) (storage.Upload, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Upload{}, err
	}
	defer done()
	w, err := encode(m, fact{}, b.s.can)
	if err != nil {
		return storage.Upload{}, err
	}
	id, err := b.s.wire.begin(ctx, b.at(key), w, false)
	if err != nil {
		return storage.Upload{}, fmt.Errorf("beginning an upload of %s: %w", key, err)
	}
	raw, err := json.Marshal(m)
	if err == nil {
		_, err = b.s.wire.put(ctx, b.side(id), payload{bytes: raw, size: int64(len(raw)), md5: sumOf(raw)}, words{contentType: "application/json"}, demand{})
	}
	if err != nil {
		return storage.Upload{}, errors.Join(fmt.Errorf("beginning an upload of %s: %w", key, err), b.s.wire.abort(ctx, b.at(key), id))
	}
	return storage.Upload{Key: key, ID: id, Begun: b.s.cfg.Now(), Meta: m}, nil
}

// begun reads the metadata of an upload; one that others began has none of ours.
func (b *Bucket) begun(ctx context.Context, id string) (storage.Meta, error) {
	raw, err := b.s.readSmall(ctx, b.side(id), metaBytesMax)
	if errors.Is(err, storage.ErrNoObject) {
		return storage.Meta{}, nil
	}
	var m storage.Meta
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	return m, err
}

// PutPart implements storage.Uploader. Checksums of parts are not kept.
func (b *Bucket) PutPart(ctx context.Context, key, upload string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Part{}, err
	}
	defer done()
	if number < 1 || number > storage.PartsMax {
		return storage.Part{}, fmt.Errorf("%w: part number %d", storage.ErrInvalid, number)
	}
	if upload == "" {
		return storage.Part{}, fmt.Errorf("%w: %q", storage.ErrNoUpload, upload)
	}
	p, err := b.putPart(ctx, b.at(key), upload, number, body, o)
	if err != nil {
		return storage.Part{}, fmt.Errorf("storing part %d of %s: %w", number, key, err)
	}
	return p, nil
}

func (b *Bucket) putPart(ctx context.Context, p place, upload string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	most := int64(b.s.cfg.BufferBytes)
	if o.Size > most && o.Size <= b.s.can.putMax {
		h := &held{r: body, o: o, md5: newMD5()}
		q, err := b.s.wire.part(ctx, p, upload, number, payload{r: h, size: o.Size, md5: o.MD5})
		if sum := hex.EncodeToString(h.md5.Sum(nil)); err == nil && q.ETag != sum && isMD5(q.ETag) {
			err = fmt.Errorf("%w: the remote stored a part with MD5 %s, and was sent %s", storage.ErrDigest, q.ETag, sum)
		}
		return q, err
	}
	// A part of unknown size is held whole, as the remote wants its size first.
	var all bytes.Buffer
	if _, err := all.ReadFrom(io.LimitReader(body, partBytesMax+1)); err != nil {
		return storage.Part{}, err
	}
	if all.Len() > partBytesMax {
		return storage.Part{}, fmt.Errorf("%w: a part of more than %d bytes whose size is not told", ErrCannot, partBytesMax)
	}
	sum := sumOf(all.Bytes())
	if _, err := sealed(o, int64(all.Len()), sum); err != nil {
		return storage.Part{}, err
	}
	return b.s.wire.part(ctx, p, upload, number, payload{bytes: all.Bytes(), size: int64(all.Len()), md5: sum})
}

// Parts implements storage.Uploader.
func (b *Bucket) Parts(ctx context.Context, key, upload string, after, limit int) ([]storage.Part, bool, error) {
	done, err := b.begin(false, key)
	if err != nil {
		return nil, false, err
	}
	defer done()
	return b.s.wire.parts(ctx, b.at(key), upload, after, limit)
}

// Complete implements storage.Uploader. On S3 what Seal changes is written by a second
// request after the object is there; if that fails, it stays without.
func (b *Bucket) Complete(ctx context.Context, key, upload string, refs []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Info{}, err
	}
	defer done()
	e, err := b.complete(ctx, key, upload, refs, o)
	if err != nil {
		return storage.Info{}, fmt.Errorf("completing %s: %w", key, err)
	}
	i := b.after(ctx, b.at(key), e)
	i.Parts = len(refs)
	return i, nil
}

func (b *Bucket) complete(ctx context.Context, key, upload string, refs []storage.PartRef, o storage.CompleteOptions) (entry, error) {
	p := b.at(key)
	parts, err := b.named(ctx, p, upload, refs)
	if err != nil {
		return entry{}, err
	}
	m, err := b.begun(ctx, upload)
	if err != nil {
		return entry{}, err
	}
	f := fact{}
	if b.s.can.late {
		f = fact{etag: tagOf(parts), parts: len(parts), segments: upload}
	}
	was, err := encode(m, f, b.s.can)
	if err != nil {
		return entry{}, err
	}
	w := was
	if o.Seal != nil {
		if err := o.Seal(&m); err != nil {
			return entry{}, err
		}
		if w, err = encode(m, f, b.s.can); err != nil {
			return entry{}, err
		}
	}
	e, err := b.write(ctx, p, o.If, func(d demand) (entry, error) { return b.s.wire.finish(ctx, p, upload, parts, w, d) })
	if err != nil {
		return entry{}, err
	}
	if !b.s.can.late && !w.equal(was) {
		d := demand{}
		if b.s.can.conditional {
			d.tag = e.tag
		}
		if e, err = b.s.wire.copy(ctx, p, e, p, w, d, sizesOf(parts)); err != nil {
			return entry{}, fmt.Errorf("writing metadata of an object that is there: %w", err)
		}
	}
	if _, err := b.s.wire.remove(ctx, b.side(upload), "", demand{}); err != nil && !errors.Is(err, storage.ErrNoObject) {
		b.s.cfg.Log.WarnContext(ctx, "the note of an upload that is complete stays", "error", err)
	}
	return e, nil
}

// named finds the parts of refs, and says which cannot be.
func (b *Bucket) named(ctx context.Context, p place, upload string, refs []storage.PartRef) ([]storage.Part, error) {
	there := map[int]storage.Part{}
	for after := 0; ; {
		parts, more, err := b.s.wire.parts(ctx, p, upload, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, q := range parts {
			there[q.Number] = q
			after = q.Number
		}
		if !more {
			break
		}
	}
	if len(refs) == 0 {
		return nil, fmt.Errorf("%w: none is named", storage.ErrPart)
	}
	var out []storage.Part
	for i, r := range refs {
		q, ok := there[r.Number]
		switch {
		case !ok, r.ETag != "" && strings.Trim(r.ETag, `"`) != q.ETag, len(r.Checksums) > 0:
			return nil, fmt.Errorf("%w: number %d with ETag %s", storage.ErrPart, r.Number, r.ETag)
		case i < len(refs)-1 && q.Size < storage.PartBytesMin:
			return nil, fmt.Errorf("%w: part %d has %d bytes", storage.ErrTooSmall, r.Number, q.Size)
		case i > 0 && r.Number <= refs[i-1].Number:
			return nil, fmt.Errorf("%w: %d after %d", storage.ErrOrder, r.Number, refs[i-1].Number)
		}
		out = append(out, q)
	}
	return out, nil
}

// Abort implements storage.Uploader.
func (b *Bucket) Abort(ctx context.Context, key, upload string) error {
	done, err := b.begin(true, key)
	if err != nil {
		return err
	}
	defer done()
	if upload == "" {
		return fmt.Errorf("%w: %q", storage.ErrNoUpload, upload)
	}
	return b.abortAt(ctx, b.at(key), upload)
}

func (b *Bucket) abortAt(ctx context.Context, p place, id string) error {
	if err := b.s.wire.abort(ctx, p, id); err != nil {
		return fmt.Errorf("aborting an upload of %s: %w", p.key, err)
	}
	if _, err := b.s.wire.remove(ctx, b.side(id), "", demand{}); err != nil && !errors.Is(err, storage.ErrNoObject) {
		return fmt.Errorf("aborting an upload of %s: %w", p.key, err)
	}
	return nil
}

// Uploads implements storage.Uploader. The metadata of each costs a request.
func (b *Bucket) Uploads(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	done, err := b.begin(false)
	if err != nil {
		return storage.Listing{}, err
	}
	defer done()
	if o.Reverse {
		return storage.Listing{}, fmt.Errorf("%w: uploads in descending order", ErrCannot)
	}
	q := query{prefix: b.home.prefix + o.Prefix, delimiter: o.Delimiter, afterID: o.AfterID, limit: min(o.Max(), b.s.can.pageMax)}
	if o.After != "" {
		q.after = b.home.prefix + o.After
	} else if o.From != "" {
		q.after = b.home.prefix + justBefore(o.From, false)
	}
	p, err := b.s.wire.uploads(ctx, b.home.container, q)
	if err != nil {
		return storage.Listing{}, fmt.Errorf("listing uploads of %s: %w", b.name, err)
	}
	out := storage.Listing{More: p.more, NextID: p.nextID, Next: strings.TrimPrefix(p.next, b.home.prefix)}
	for _, u := range p.uploads {
		if !b.home.shared && strings.HasPrefix(u.Key, b.home.own) {
			continue
		}
		u.Key = strings.TrimPrefix(u.Key, b.home.prefix)
		if u.Key < o.From {
			continue
		}
		if o.End != "" && u.Key >= o.End {
			out.More = false
			break
		}
		if u.Meta, err = b.begun(ctx, u.ID); err != nil {
			return storage.Listing{}, err
		}
		out.Uploads = append(out.Uploads, u)
	}
	for _, f := range p.prefixes {
		if b.home.shared || f != b.home.own {
			out.Prefixes = append(out.Prefixes, strings.TrimPrefix(f, b.home.prefix))
		}
	}
	return out, nil
}

// abortBefore aborts uploads that were begun before a time, or all if it is zero.
func (b *Bucket) abortBefore(ctx context.Context, before time.Time) (int, error) {
	prefixes := []string{b.home.prefix}
	if b.home.shared {
		prefixes = append(prefixes, b.home.own)
	}
	n := 0
	for _, prefix := range prefixes {
		k, err := b.abortBelow(ctx, prefix, before)
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (b *Bucket) abortBelow(ctx context.Context, prefix string, before time.Time) (int, error) {
	n := 0
	for q := (query{prefix: prefix, limit: b.s.can.pageMax}); ; {
		p, err := b.s.wire.uploads(ctx, b.home.container, q)
		if err != nil {
			return n, err
		}
		for _, u := range p.uploads {
			if !before.IsZero() && !u.Begun.Before(before) {
				continue
			}
			if err := b.abortAt(ctx, place{b.home.container, u.Key}, u.ID); err != nil && !errors.Is(err, storage.ErrNoUpload) {
				return n, err
			}
			if !strings.HasPrefix(u.Key, b.home.own) {
				n++
			}
		}
		if !p.more {
			return n, nil
		}
		if err := q.advance(p); err != nil {
			return n, err
		}
	}
}
