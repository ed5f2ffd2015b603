package seal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

// Bucket is a bucket whose sealed objects look as if they were not. What is to be sealed
// comes with metadata that Lock has made. Stat needs no key: who shows an object asks
// Opener.Check.
type Bucket struct {
	storage.Bucket
	Opener

	upload []byte // data key of the upload whose parts come
	kind   Kind   // of that upload
}

// Over makes one. Of a Bucket, it makes one with another Opener.
func Over(b storage.Bucket, o Opener) *Bucket {
	if s, ok := b.(*Bucket); ok {
		b = s.Bucket
	}
	return &Bucket{Bucket: b, Opener: o}
}

// Put seals the body, if the metadata says so.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	data, err := b.relock(ctx, &o.Meta)
	if err != nil {
		return storage.Info{}, err
	}
	if data == nil {
		return b.Bucket.Put(ctx, key, body, o)
	}
	s, err := newStream(data, 0, nil)
	if err != nil {
		return storage.Info{}, err
	}
	kind, _ := Sealed(&o.Meta)
	if body, err = b.seal(ctx, body, s, kind, &o); err != nil {
		return storage.Info{}, err
	}
	return b.Bucket.Put(ctx, key, body, o)
}

// seal seals a body on its way in. What is sealed as the server chooses keeps the MD5 of
// its text as its ETag, as S3 promises, unless the bucket wants none that costs.
func (b *Bucket) seal(ctx context.Context, body io.Reader, s stream, kind Kind, o *storage.PutOptions) (io.Reader, error) {
	text := false
	if kind == Server {
		info, err := b.Bucket.Info(ctx)
		if err != nil {
			return nil, err
		}
		text = !info.Settings.PlainETag
	}
	sealed := newSealer(body, s, o.MD5, text)
	o.MD5, o.Opaque, o.Text = "", true, nil
	if text {
		o.Text = sealed.text
	}
	return sealed, nil
}

// Open opens an object, or returns ErrNeeded, ErrKey, ErrNeedless or ErrNoKey.
func (b *Bucket) Open(ctx context.Context, key string, o storage.ReadOptions) (storage.Object, error) {
	obj, err := b.Bucket.Open(ctx, key, o)
	if err != nil {
		return nil, err
	}
	out, err := b.Opener.Open(ctx, obj)
	if err != nil {
		_ = obj.Close()
		return nil, fmt.Errorf("opening %s: %w", key, err)
	}
	return out, nil
}

// Open makes a sealed object readable. What is not sealed is returned as it is.
func (o Opener) Open(ctx context.Context, obj storage.Object) (storage.Object, error) {
	info := obj.Info()
	data, err := o.unwrap(ctx, &info.Meta)
	if err != nil || data == nil {
		return obj, err
	}
	spans, err := spansOf(&info, data)
	if err != nil {
		return obj, err
	}
	return &opened{Object: obj, spans: spans}, nil
}

// Begin implements storage.Uploader.
func (b *Bucket) Begin(ctx context.Context, key string, m storage.Meta) (storage.Upload, error) {
	if _, err := b.relock(ctx, &m); err != nil {
		return storage.Upload{}, err
	}
	return b.Bucket.Begin(ctx, key, m)
}

// Use is for the upload whose parts come next: it finds its key. A Bucket of which Use
// was not called does not seal parts.
func (b *Bucket) Use(ctx context.Context, u *storage.Upload) (err error) {
	b.kind, _ = Sealed(&u.Meta)
	b.upload, err = b.unwrap(ctx, &u.Meta)
	return err
}

// saltKey is where a part's salt is, among its checksums.
const saltKey = "seal"

// PutPart seals a part of the upload that Use named.
func (b *Bucket) PutPart(ctx context.Context, key, upload string, number int, body io.Reader, o storage.PutOptions) (storage.Part, error) {
	if b.upload == nil {
		return b.Bucket.PutPart(ctx, key, upload, number, body, o)
	}
	var salt [saltBytes]byte
	_, _ = rand.Read(salt[:]) // never fails
	s, err := newStream(b.upload, number, salt[:])
	if err != nil {
		return storage.Part{}, err
	}
	if body, err = b.seal(ctx, body, s, b.kind, &o); err != nil {
		return storage.Part{}, err
	}
	before := o.Seal
	o.Seal = func(m *storage.Meta) error {
		if before != nil {
			if err := before(m); err != nil {
				return err
			}
		}
		if m.Checksums == nil {
			m.Checksums = map[string]string{}
		}
		m.Checksums[saltKey] = hex.EncodeToString(salt[:])
		return nil
	}
	return b.Bucket.PutPart(ctx, key, upload, number, body, o)
}

// partsPage is how many parts are listed at a time.
const partsPage = 1000

// Complete keeps the salts of sealed parts with the object.
func (b *Bucket) Complete(ctx context.Context, key, upload string, refs []storage.PartRef, o storage.CompleteOptions) (storage.Info, error) {
	parts, err := b.salted(ctx, key, upload)
	if err != nil {
		return storage.Info{}, err
	}
	if parts == nil {
		o.Seal = unsealed(o.Seal)
		return b.Bucket.Complete(ctx, key, upload, refs, o)
	}
	exact := make([]storage.PartRef, len(refs))
	var text strings.Builder
	for i, r := range refs {
		exact[i] = r
		p, ok := parts[r.Number]
		if !ok {
			continue // Complete says so
		}
		// Named by its salt as well, so that no part can come in between.
		exact[i].Checksums = map[string]string{saltKey: p.Checksums[saltKey]}
		for k, v := range r.Checksums {
			exact[i].Checksums[k] = v
		}
		fmt.Fprintf(&text, "%d:%d:%s,", p.Number, p.Size, p.Checksums[saltKey])
	}
	before := o.Seal
	o.Seal = func(m *storage.Meta) error {
		if m.System == nil {
			m.System = map[string]string{}
		}
		m.System[keyParts] = text.String()
		if before == nil {
			return nil
		}
		return before(m)
	}
	return b.Bucket.Complete(ctx, key, upload, exact, o)
}

// unsealed refuses to make a sealed object of parts that are not.
func unsealed(before func(*storage.Meta) error) func(*storage.Meta) error {
	return func(m *storage.Meta) error {
		if m.System[keyBox] != "" {
			return fmt.Errorf("%w: the upload is sealed, and parts of it are not", storage.ErrPart)
		}
		if before == nil {
			return nil
		}
		return before(m)
	}
}

// salted lists the parts of an upload, if they are sealed; nil if they are not.
func (b *Bucket) salted(ctx context.Context, key, upload string) (map[int]storage.Part, error) {
	out := map[int]storage.Part{}
	for after := 0; ; {
		list, more, err := b.Parts(ctx, key, upload, after, partsPage)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			if p.Checksums[saltKey] == "" {
				return nil, nil
			}
			out[p.Number] = p
			after = p.Number
		}
		if !more {
			return out, nil
		}
	}
}

// spansOf are the key streams of an object.
func spansOf(info *storage.Info, data []byte) ([]span, error) {
	text := info.Meta.System[keyParts]
	if text == "" {
		s, err := newStream(data, 0, nil)
		return []span{{info.Size, s}}, err
	}
	var out []span
	end := int64(0)
	for e := range strings.SplitSeq(strings.TrimSuffix(text, ","), ",") {
		number, size, salt, err := parseSpan(e)
		if err != nil {
			return nil, fmt.Errorf("%w: the salts of %s: %w", storage.ErrCorrupt, info.Key, err)
		}
		s, err := newStream(data, number, salt)
		if err != nil {
			return nil, err
		}
		end += size
		out = append(out, span{end, s})
	}
	if end != info.Size {
		return nil, fmt.Errorf("%w: the salts of %s are for %d bytes, and it has %d", storage.ErrCorrupt, info.Key, end, info.Size)
	}
	return out, nil
}

func parseSpan(s string) (number int, size int64, salt []byte, err error) {
	f := strings.Split(s, ":")
	if len(f) != 3 {
		return 0, 0, nil, fmt.Errorf("%q is not NUMBER:SIZE:SALT", s)
	}
	if number, err = strconv.Atoi(f[0]); err != nil {
		return 0, 0, nil, err
	}
	if size, err = strconv.ParseInt(f[1], 10, 64); err != nil || size < 0 {
		return 0, 0, nil, fmt.Errorf("%q is no size", f[1])
	}
	salt, err = hex.DecodeString(f[2])
	return number, size, salt, err
}
