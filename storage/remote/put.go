package remote

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

func sumOf(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// Put implements storage.Bucket. What fits in BufferBytes goes in one request, which is
// made again where that helps. A larger body of known size that nobody seals is streamed
// in one request; any other goes in parts to a place that is not seen, from which the
// remote makes the object.
func (b *Bucket) Put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	done, err := b.begin(true, key)
	if err != nil {
		return storage.Info{}, err
	}
	defer done()
	if err := ctx.Err(); err != nil {
		return storage.Info{}, context.Cause(ctx)
	}
	e, err := b.put(ctx, key, body, o)
	if err != nil {
		return storage.Info{}, fmt.Errorf("storing %s: %w", key, err)
	}
	return b.after(ctx, b.at(key), e), nil
}

func (b *Bucket) put(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (entry, error) {
	if h, ok := body.(*storage.Handover); ok {
		return b.handOver(ctx, key, h, o)
	}
	opaque := o.Opaque || b.settings().PlainETag
	most := int64(b.s.cfg.BufferBytes)
	if o.Size > most && o.Size <= b.s.can.putMax && o.Seal == nil && !opaque {
		return b.stream(ctx, key, body, o)
	}
	first, err := io.ReadAll(io.LimitReader(body, most+1))
	if err != nil {
		return entry{}, err
	}
	if int64(len(first)) > most || opaque {
		return b.large(ctx, key, io.MultiReader(bytes.NewReader(first), body), o, opaque)
	}
	sum := sumOf(first)
	m, err := sealed(o, int64(len(first)), sum)
	if err != nil {
		return entry{}, err
	}
	w, err := encode(m, fact{}, b.s.can)
	if err != nil {
		return entry{}, err
	}
	return b.write(ctx, b.at(key), o.If, func(d demand) (entry, error) {
		return b.s.wire.put(ctx, b.at(key), payload{bytes: first, size: int64(len(first)), md5: sum}, w, d)
	})
}

// handOver names a file to the remote, in place of its bytes.
func (b *Bucket) handOver(ctx context.Context, key string, h *storage.Handover, o storage.PutOptions) (entry, error) {
	_, s3 := b.s.wire.(*s3)
	name, err := filepath.Rel(b.s.cfg.Handovers, h.Path)
	if !s3 || b.s.cfg.Handovers == "" || err != nil || !filepath.IsLocal(name) || o.Seal != nil || o.MD5 != "" || o.Opaque {
		return entry{}, storage.ErrNoHandover
	}
	w, err := encode(o.Meta, fact{}, b.s.can)
	if err != nil {
		return entry{}, err
	}
	w.headers[storage.HandoverHeader] = name
	defer delete(w.headers, storage.HandoverHeader)
	sums := h.Encode()
	e, err := b.write(ctx, b.at(key), o.If, func(d demand) (entry, error) {
		return b.s.wire.put(ctx, b.at(key), payload{bytes: sums, size: int64(len(sums))}, w, d)
	})
	if errors.Is(err, ErrCannot) {
		err = fmt.Errorf("%w: %w", storage.ErrNoHandover, err)
	}
	e.size = h.Size
	return e, err
}

// sealed judges a body that is complete, and returns its metadata.
func sealed(o storage.PutOptions, n int64, sum string) (storage.Meta, error) {
	if o.Size != 0 && o.Size != n {
		return o.Meta, fmt.Errorf("%w: the body has %d bytes, and not %d", storage.ErrDigest, n, o.Size)
	}
	if o.MD5 != "" && !strings.EqualFold(o.MD5, sum) {
		return o.Meta, fmt.Errorf("%w: the body has MD5 %s, and not %s", storage.ErrDigest, sum, o.MD5)
	}
	m := o.Meta
	if o.Seal != nil {
		m.Headers, m.User, m.Tags, m.Checksums, m.System = cloned(m.Headers), cloned(m.User), cloned(m.Tags), cloned(m.Checksums), cloned(m.System)
		if err := o.Seal(&m); err != nil {
			return m, err
		}
	}
	return m, nil
}

// stream sends a body as it comes. Its last bytes wait until it is known to be right.
func (b *Bucket) stream(ctx context.Context, key string, body io.Reader, o storage.PutOptions) (entry, error) {
	w, err := encode(o.Meta, fact{}, b.s.can)
	if err != nil {
		return entry{}, err
	}
	used := false
	h := &held{r: body, o: o}
	if !b.s.cfg.NoMD5 || o.MD5 != "" {
		h.md5 = md5.New()
	}
	e, err := b.write(ctx, b.at(key), o.If, func(d demand) (entry, error) {
		if used {
			return entry{}, fmt.Errorf("%w: the object changed while its body came", storage.ErrPrecondition)
		}
		used = true
		return b.s.wire.put(ctx, b.at(key), payload{r: h, size: o.Size, md5: o.MD5}, w, d)
	})
	if err != nil {
		return entry{}, err
	}
	if sum := h.sum(); sum != "" && e.plain && e.tag != sum {
		_, rerr := b.s.wire.remove(ctx, b.at(key), "", demand{tag: e.tag})
		return entry{}, errors.Join(fmt.Errorf("%w: the remote stored a body with MD5 %s, and was sent %s", storage.ErrDigest, e.tag, sum), rerr)
	}
	return e, nil
}

// held yields a body of o.Size bytes, and the last of them only if it is as it should be.
type held struct {
	r   io.Reader
	o   storage.PutOptions
	md5 hash.Hash // nil if nobody wants it
	n   int64
}

// sum is the MD5 of what was read, or "".
func (h *held) sum() string {
	if h.md5 == nil {
		return ""
	}
	return hex.EncodeToString(h.md5.Sum(nil))
}

func (h *held) Read(p []byte) (int, error) {
	left := h.o.Size - h.n
	if left == 0 {
		return 0, io.EOF
	}
	n, err := h.r.Read(p[:min(int64(len(p)), left)])
	if h.md5 != nil {
		_, _ = h.md5.Write(p[:n]) // a hash never fails
	}
	h.n += int64(n)
	if h.n < h.o.Size {
		if err == io.EOF {
			return 0, fmt.Errorf("%w: the body has %d bytes, and not %d", storage.ErrDigest, h.n, h.o.Size)
		}
		return n, err
	}
	if err == nil {
		var one [1]byte
		switch _, err := io.ReadFull(h.r, one[:]); {
		case err == nil:
			return 0, fmt.Errorf("%w: the body has more than %d bytes", storage.ErrDigest, h.o.Size)
		case err != io.EOF:
			return 0, err
		}
	} else if err != io.EOF {
		return 0, err
	}
	if _, err := sealed(h.o, h.n, h.sum()); err != nil {
		return 0, err
	}
	return n, nil
}

// judgesMax bounds how often a condition is judged anew because the object changed.
const judgesMax = 8

// write does a write on condition. The condition is judged before; where the remote has
// conditional writes, what was judged must still be there when the write happens.
func (b *Bucket) write(ctx context.Context, p place, c storage.Conditions, do func(demand) (entry, error)) (entry, error) {
	if len(c.Match) == 0 && len(c.NoneMatch) == 0 && c.ModifiedSince.IsZero() && c.UnmodifiedSince.IsZero() {
		return do(demand{})
	}
	for i := 1; ; i++ {
		d, err := b.judge(ctx, p, c)
		if err != nil {
			return entry{}, err
		}
		e, err := do(d)
		if err == nil || d == (demand{}) || !errors.Is(err, storage.ErrPrecondition) || i == judgesMax {
			return e, err
		}
	}
}

func (b *Bucket) judge(ctx context.Context, p place, c storage.Conditions) (demand, error) {
	e, err := b.s.wire.head(ctx, p, "")
	switch {
	case errors.Is(err, storage.ErrNoObject):
		if err := c.Check(nil, false); err != nil {
			return demand{}, err
		}
		return demand{absent: b.s.can.absent}, nil
	case err != nil:
		return demand{}, err
	}
	i := b.infoOf(e)
	if err := c.Check(&i, false); err != nil || !b.s.can.conditional {
		return demand{}, err
	}
	return demand{tag: e.tag}, nil
}

// after asks for what was stored, since answers to writes do not tell its time.
func (b *Bucket) after(ctx context.Context, p place, e entry) storage.Info {
	if now, err := b.s.wire.head(ctx, p, e.version); err == nil && now.tag == e.tag {
		e = now
	}
	e.latest = true
	e.key = p.key
	return b.infoOf(e)
}

// infoOf tells of an entry in our words.
func (b *Bucket) infoOf(e entry) storage.Info {
	m, f := decode(e.words)
	i := storage.Info{
		Key: strings.TrimPrefix(e.key, b.home.prefix), Size: e.size, ETag: e.tag, Modified: e.modified, Meta: m,
		Version: e.version, Latest: e.latest, Deleted: e.marker,
	}
	if i.Version == "" {
		i.Version = storage.NullVersion
	}
	if _, n, ok := strings.Cut(e.tag, "-"); ok {
		i.Parts, _ = strconv.Atoi(n) // others' forms name no number
	}
	if e.large || e.size == 0 && f.etag != "" {
		i.ETag, i.Parts = f.etag, f.parts
		if i.ETag == "" {
			i.ETag = e.tag + "-0" // it is no MD5 of the bytes
		}
	}
	if !f.modified.IsZero() {
		i.Modified = f.modified
	}
	i.Revision = b.revision(e)
	return i
}

// revision names the bytes of an entry: where the ETag is the same, they are.
func (b *Bucket) revision(e entry) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", b.s.host, b.home.container, e.key, e.version, e.tag))
	return binary.BigEndian.Uint64(sum[:]) | 1 // never 0
}

func newMD5() hash.Hash { return md5.New() }

func isMD5(tag string) bool {
	_, err := hex.DecodeString(tag)
	return err == nil && len(tag) == 2*md5.Size
}
