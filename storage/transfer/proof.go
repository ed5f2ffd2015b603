package transfer

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// proof is what the store says of an object's bytes.
type proof struct {
	hash func() hash.Hash // nil where the store says nothing that tells
	want string
	form func([]byte) string
	// uniform is set where the checksum is one of parts' checksums, whose sizes were
	// taken to be like the first's: it asks whether they are.
	uniform func(context.Context) bool
}

var plainETag = regexp.MustCompile(`^[0-9a-f]{32}$`)

func inBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// proofs are the checksums that an answer holds, the best first.
func proofs(o minio.ObjectInfo) []proof {
	all := []proof{
		{hash: newCRC, want: o.ChecksumCRC64NVME, form: inBase64},
		{hash: minio.ChecksumCRC32C.Hasher, want: o.ChecksumCRC32C, form: inBase64},
		{hash: minio.ChecksumCRC32.Hasher, want: o.ChecksumCRC32, form: inBase64},
		{hash: sha256.New, want: o.ChecksumSHA256, form: inBase64},
		{hash: sha1.New, want: o.ChecksumSHA1, form: inBase64},
	}
	sealed := o.Headers.Get("X-Amz-Server-Side-Encryption") == "aws:kms" || o.Headers.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
	if !sealed {
		all = append(all, proof{hash: md5.New, want: o.ETag, form: hex.EncodeToString})
	}
	return all
}

// proofOf takes the best of what the answer holds: a checksum of the whole object, or
// an ETag that is an MD5.
func proofOf(o minio.ObjectInfo) proof {
	composite := strings.EqualFold(o.ChecksumMode, "COMPOSITE")
	for _, p := range proofs(o) {
		tag := p.want == o.ETag
		if p.want != "" && !strings.Contains(p.want, "-") && (tag && plainETag.MatchString(p.want) || !tag && !composite) {
			return p
		}
	}
	return proof{}
}

// proofFor is proofOf, or the checksum of parts' checksums, for which the store is asked
// how large the parts are.
func (c *Client) proofFor(ctx context.Context, a Address, version string, o minio.ObjectInfo) proof {
	if p := proofOf(o); p.known() {
		return p
	}
	for _, p := range proofs(o) {
		_, count, dashed := strings.Cut(p.want, "-")
		n, err := strconv.Atoi(count)
		if !dashed || err != nil || n < 1 || n > partsMax || p.want == o.ETag && !plainETag.MatchString(strings.TrimSuffix(o.ETag, "-"+count)) {
			continue
		}
		part := c.partLength(ctx, a, version, o.ETag, 1)
		if part < 1 || partCount(o.Size, part) != n {
			return proof{}
		}
		form, inner := p.form, p.hash
		p.form = func(b []byte) string { return form(b) + "-" + count }
		p.hash = func() hash.Hash { return &partHash{outer: inner(), inner: inner(), part: part} }
		p.uniform = func(ctx context.Context) bool {
			for i := range n - 1 {
				if c.partLength(ctx, a, version, o.ETag, i+1) != part {
					return false
				}
			}
			return true
		}
		return p
	}
	return proof{}
}

// partLength asks for the size of a part; 0 is not known.
func (c *Client) partLength(ctx context.Context, a Address, version, etag string, number int) int64 {
	var o minio.ObjectInfo
	err := c.try(ctx, func() (err error) {
		o, err = c.s3.StatObject(ctx, a.Bucket, a.Key, minio.StatObjectOptions{VersionID: version, PartNumber: number})
		return err
	})
	if err != nil || o.ETag != etag {
		return 0
	}
	return o.Size
}

func (p proof) known() bool { return p.hash != nil }

// check compares what was hashed. Where the sum is of parts, and the parts turn out to
// have other sizes than they were taken to have, it proves nothing either way.
func (p proof) check(ctx context.Context, h hash.Hash) (verified bool, err error) {
	got := p.form(h.Sum(nil))
	switch {
	case got == p.want:
		return true, nil
	case p.uniform != nil && !p.uniform(ctx):
		return false, nil
	}
	return false, fmt.Errorf("%w: the store has %s, these bytes %s", ErrDigest, Printable(p.want), got)
}

// checkAll reads n bytes of r and compares them.
func (p proof) checkAll(ctx context.Context, r io.ReaderAt, n int64) (verified bool, err error) {
	if !p.known() {
		return false, nil
	}
	h := p.hash()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, n), make([]byte, bufferBytes)); err != nil {
		return false, fmt.Errorf("reading it back: %w", plainError(err))
	}
	return p.check(ctx, h)
}

// differs says that err is one of check, and not of reading.
func differs(err error) bool { return errors.Is(err, ErrDigest) }

// partHash is the hash of the hashes of parts of a size.
type partHash struct {
	outer, inner hash.Hash
	part, in     int64 // bytes of a part, and of the present one so far
}

// Write implements io.Writer.
func (h *partHash) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if h.in == h.part {
			h.outer.Write(h.inner.Sum(nil))
			h.inner.Reset()
			h.in = 0
		}
		n := min(int64(len(p)), h.part-h.in)
		h.inner.Write(p[:n])
		h.in += n
		p = p[n:]
	}
	return all, nil
}

// Sum ends the last part; nothing may be written afterwards.
func (h *partHash) Sum(b []byte) []byte {
	h.outer.Write(h.inner.Sum(nil))
	return h.outer.Sum(b)
}

// Reset implements hash.Hash.
func (h *partHash) Reset() {
	h.outer.Reset()
	h.inner.Reset()
	h.in = 0
}

// Size implements hash.Hash.
func (h *partHash) Size() int { return h.outer.Size() }

// BlockSize implements hash.Hash.
func (h *partHash) BlockSize() int { return h.inner.BlockSize() }
