package engine

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"

	"polder.dev/polder/storage"
)

// incoming is a body that was received and is not committed yet.
type incoming struct {
	size  int64
	etag  string // "" where the bucket wants none that costs
	sum   uint32 // CRC32C of the body, or of its blocks' CRC32Cs, where etag is ""
	data  []byte // of a small body
	stage Stage  // of a larger one
	lent  *chunk // that data is of
}

// discard gives up what was not committed, and the memory in any case.
func (in *incoming) discard() {
	if in.stage != nil {
		in.stage.Discard()
	}
	if in.lent != nil {
		in.lent.release()
		in.lent, in.data = nil, nil
	}
}

// plainETag is one without a hash of the body: unlike that of any other version.
func (in *incoming) plainETag(rev uint64) string {
	b := binary.BigEndian.AppendUint64(nil, rev)
	b = binary.BigEndian.AppendUint32(b, uint32(in.size))
	b = binary.BigEndian.AppendUint32(b, in.sum)
	return hex.EncodeToString(b) + "-1"
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// receive reads a body to its end. A small one stays in memory, which is lent until
// discard; a larger one goes to a stage.
func (b *bucket) receive(ctx context.Context, p Part, set *storage.Settings, body io.Reader, o *storage.PutOptions) (*incoming, error) {
	if h, ok := body.(*storage.Handover); ok {
		return b.take(p, set, h, o)
	}
	in := &incoming{}
	first, err := b.store.first(ctx, body, o.Size)
	switch {
	case err == io.EOF:
		in.lent, in.data, in.size = first, first.bytes(), int64(first.n)
		in.hash(plain(set, o))
	case err == nil:
		err = b.stream(ctx, p, set, in, first, body, o)
	default:
		first.release()
	}
	if err != nil && err != io.EOF {
		in.discard()
		return nil, err
	}
	if o.Opaque && o.Text != nil && !set.PlainETag {
		in.etag = o.Text()
	}
	if err := in.check(o); err != nil {
		in.discard()
		return nil, err
	}
	return in, nil
}

// take receives a file. A small one is not worth a file of its own, and nobody reads it for
// an MD5.
func (b *bucket) take(p Part, set *storage.Settings, h *storage.Handover, o *storage.PutOptions) (*incoming, error) {
	if !plain(set, o) || h.Size <= InlineMax {
		return nil, storage.ErrNoHandover
	}
	in := &incoming{size: h.Size}
	for _, s := range h.Sums {
		in.sum = crc32.Update(in.sum, castagnoli, binary.BigEndian.AppendUint32(nil, s))
	}
	if err := in.check(o); err != nil {
		return nil, err
	}
	var err error
	in.stage, err = b.store.ledger.Take(p, h)
	return in, err
}

// plain says that the body needs no MD5.
func plain(set *storage.Settings, o *storage.PutOptions) bool {
	return (set.PlainETag || o.Opaque) && o.MD5 == ""
}

// hash sums a small body.
func (in *incoming) hash(plain bool) {
	if plain {
		in.sum = crc32.Checksum(in.data, castagnoli)
		return
	}
	in.etag = sumMD5(in.data)
}

// check compares the body with what was said of it, and lets the caller seal it.
func (in *incoming) check(o *storage.PutOptions) error {
	if o.Size > 0 && in.size != o.Size {
		return fmt.Errorf("%w: the body has %d bytes, not %d", storage.ErrDigest, in.size, o.Size)
	}
	if o.MD5 != "" && in.etag != "" && in.etag != o.MD5 {
		return fmt.Errorf("%w: the body's MD5 is %s, not %s", storage.ErrDigest, in.etag, o.MD5)
	}
	if o.Seal != nil {
		return o.Seal(&o.Meta)
	}
	return nil
}

// stream passes a body on, from its first chunk, which is read already. The hash runs
// beside the writing, one or two chunks behind.
func (b *bucket) stream(ctx context.Context, p Part, set *storage.Settings, in *incoming, first *chunk, body io.Reader, o *storage.PutOptions) (err error) {
	if in.stage, err = b.store.ledger.Stage(p, o.Size); err != nil {
		first.release()
		return err
	}
	h := b.store.digest.begin(plain(set, o))
	for c := first; ; {
		err = in.pass(h, c, o.Size)
		more, fast := c.full(), c.fast()
		c.release()
		if err != nil || !more {
			break
		}
		if c, err = b.store.next(ctx, body, fast); err != nil && err != io.EOF {
			c.release()
			break
		}
	}
	in.etag, in.sum = h.end()
	return err
}

// pass writes a chunk, and has it hashed meanwhile.
func (in *incoming) pass(h *hashing, c *chunk, size int64) error {
	if in.size += int64(c.n); size > 0 && in.size > size {
		return fmt.Errorf("%w: the body is longer than %d bytes", storage.ErrDigest, size)
	}
	if c.n == 0 {
		return nil
	}
	h.write(c)
	_, err := in.stage.Write(c.bytes())
	return err
}
