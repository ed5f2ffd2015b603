package transfer

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"

	"github.com/minio/minio-go/v7"
)

const crcHeader = "X-Amz-Checksum-Crc64nvme"

// newCRC is CRC-64/NVME, which S3 stores for whole objects, of many parts too.
func newCRC() hash.Hash { return minio.ChecksumCRC64NVME.Hasher() }

func base64Of(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// proof is what the store says of an object's bytes.
type proof struct {
	hash func() hash.Hash // nil where the store says nothing that tells
	want string
	form func(hash.Hash) string
}

var plainETag = regexp.MustCompile(`^[0-9a-f]{32}$`)

// proofOf takes the best of what the answer holds: a checksum of the whole object, or
// an ETag that is an MD5.
func proofOf(o minio.ObjectInfo) proof {
	composite := strings.EqualFold(o.ChecksumMode, "COMPOSITE")
	for _, p := range []proof{
		{newCRC, o.ChecksumCRC64NVME, base64Of},
		{minio.ChecksumCRC32C.Hasher, o.ChecksumCRC32C, base64Of},
		{minio.ChecksumCRC32.Hasher, o.ChecksumCRC32, base64Of},
		{sha256.New, o.ChecksumSHA256, base64Of},
		{sha1.New, o.ChecksumSHA1, base64Of},
	} {
		if p.want != "" && !composite && !strings.Contains(p.want, "-") {
			return p
		}
	}
	encrypted := o.Headers.Get("X-Amz-Server-Side-Encryption") == "aws:kms" || o.Headers.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != ""
	if plainETag.MatchString(o.ETag) && !encrypted {
		return proof{md5.New, o.ETag, func(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }}
	}
	return proof{}
}

func (p proof) known() bool { return p.hash != nil }

// check compares what was hashed.
func (p proof) check(h hash.Hash) error {
	if got := p.form(h); got != p.want {
		return fmt.Errorf("%w: the store has %s, these bytes %s", ErrDigest, Printable(p.want), got)
	}
	return nil
}

// checkAll reads n bytes of r and compares them.
func (p proof) checkAll(r io.ReaderAt, n int64) error {
	h := p.hash()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, n), make([]byte, bufferBytes)); err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	return p.check(h)
}

// sums are those of a body that is to be sent.
type sums struct {
	crc    string // base64
	sha256 string // hexadecimal; empty where TLS guards the body
}

// sumsOf reads body once before it is sent, so that the store can refuse what is
// damaged on the way, or was changed meanwhile.
func (c *Client) sumsOf(body io.ReadSeeker) (sums, error) {
	crc := newCRC()
	var w io.Writer = crc
	var sha hash.Hash
	if c.base.Scheme == "http" && c.cfg.AccessKey != "" {
		sha = sha256.New()
		w = io.MultiWriter(crc, sha)
	}
	b := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(b)
	if _, err := io.CopyBuffer(w, struct{ io.Reader }{body}, *b); err != nil {
		return sums{}, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return sums{}, err
	}
	s := sums{crc: base64Of(crc)}
	if sha != nil {
		s.sha256 = hex.EncodeToString(sha.Sum(nil))
	}
	return s, nil
}

// stored compares what the store says it received. One that gave no checksum back did
// not look at ours; then the ETag tells, if it is an MD5.
func stored(body io.ReadSeeker, sent sums, crc, etag string) error {
	if crc != "" {
		if crc != sent.crc {
			return fmt.Errorf("%w: the store has %s, these bytes %s", ErrDigest, Printable(crc), sent.crc)
		}
		return nil
	}
	if !plainETag.MatchString(etag) {
		return nil
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := md5.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{body}, make([]byte, bufferBytes)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != etag {
		return fmt.Errorf("%w: the store has %s, these bytes %s", ErrDigest, etag, got)
	}
	return nil
}
