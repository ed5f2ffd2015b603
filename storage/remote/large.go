package remote

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"polder.dev/polder/storage"
)

// partGrowth is how parts of a body of unknown size grow, so that PartsMax of them are
// enough: after so many each is twice as large, up to partBytesMax.
const (
	partGrowth   = 1000
	partBytesMax = 64 << 20
)

// large stores a body in parts. What the words are is only known at its end, and an
// object of parts has no MD5 as its ETag: so where the remote wants the words first, the
// parts become an object that is not seen, of which the remote makes the one that is.
func (b *Bucket) large(ctx context.Context, key string, body io.Reader, o storage.PutOptions, opaque bool) (entry, error) {
	p := b.at(key)
	direct := b.s.can.late || o.Seal == nil && (opaque || o.Size > b.s.can.copyMax)
	if !direct {
		p = b.stage()
	}
	w, err := encode(o.Meta, fact{}, b.s.can)
	if err != nil {
		return entry{}, err
	}
	id, err := b.s.wire.begin(ctx, p, w, true)
	if err != nil {
		return entry{}, err
	}
	e, err := b.fill(ctx, p, b.at(key), id, body, o, opaque, direct)
	if err != nil {
		cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.s.cfg.Timeout)
		defer cancel()
		if aerr := b.s.wire.abort(cut, p, id); aerr != nil && !errors.Is(aerr, storage.ErrNoUpload) {
			b.s.cfg.Log.WarnContext(ctx, "a part of a remote object stays until the next sweep", "error", aerr)
		}
	}
	return e, err
}

func (b *Bucket) fill(ctx context.Context, p, to place, id string, body io.Reader, o storage.PutOptions, opaque, direct bool) (entry, error) {
	whole := md5.New()
	parts, n, err := b.send(ctx, p, id, io.TeeReader(body, whole), o.Size)
	if err != nil {
		return entry{}, err
	}
	sum := hex.EncodeToString(whole.Sum(nil))
	m, err := sealed(o, n, sum)
	if err != nil {
		return entry{}, err
	}
	f := fact{etag: sum, segments: id}
	if opaque {
		f.etag = tagOf(parts)
	}
	if !b.s.can.late {
		f = fact{}
	}
	w, err := encode(m, f, b.s.can)
	if err != nil {
		return entry{}, err
	}
	if direct {
		return b.write(ctx, to, o.If, func(d demand) (entry, error) { return b.s.wire.finish(ctx, p, id, parts, w, d) })
	}
	e, err := b.s.wire.finish(ctx, p, id, parts, w, demand{})
	if err != nil {
		return entry{}, err
	}
	defer b.unstage(ctx, p)
	e.size = n
	var sizes []int64
	if opaque || n > b.s.can.copyMax {
		sizes = sizesOf(parts)
	}
	return b.write(ctx, to, o.If, func(d demand) (entry, error) { return b.s.wire.copy(ctx, p, e, to, w, d, sizes) })
}

// unstage removes what was copied. What stays is swept.
func (b *Bucket) unstage(ctx context.Context, p place) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.s.cfg.Timeout)
	defer cancel()
	if err := b.clear(ctx, p.key); err != nil {
		b.s.cfg.Log.WarnContext(ctx, "a staged remote object stays until the next sweep", "error", err)
	}
}

// send cuts a body into parts, each of which is held, so that it can be sent again.
func (b *Bucket) send(ctx context.Context, p place, id string, body io.Reader, size int64) ([]storage.Part, int64, error) {
	least := max(int64(b.s.cfg.BufferBytes), min(size/(storage.PartsMax-1000)+1, partBytesMax))
	buf := make([]byte, least)
	var parts []storage.Part
	var sum int64
	for number := 1; ; number++ {
		if number > storage.PartsMax {
			return nil, 0, fmt.Errorf("%w: a body of more than %d bytes", ErrCannot, sum)
		}
		if size == 0 && number%partGrowth == 0 && len(buf) < partBytesMax {
			buf = make([]byte, min(2*len(buf), partBytesMax))
		}
		n, err := io.ReadFull(body, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, 0, err
		}
		if n == 0 && number > 1 {
			return parts, sum, nil
		}
		last := err != nil
		q, err := b.s.wire.part(ctx, p, id, number, payload{bytes: buf[:n], size: int64(n), md5: sumOf(buf[:n])})
		if err != nil {
			return nil, 0, err
		}
		parts = append(parts, q)
		if sum += int64(n); last {
			return parts, sum, nil
		}
	}
}

// tagOf is the ETag of an object of parts.
func tagOf(parts []storage.Part) string {
	h := md5.New()
	for _, p := range parts {
		raw, _ := hex.DecodeString(p.ETag) // what is no MD5 counts for nothing
		_, _ = h.Write(raw)                // a hash never fails
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

func sizesOf(parts []storage.Part) []int64 {
	var out []int64
	for _, p := range parts {
		out = append(out, p.Size)
	}
	return out
}
