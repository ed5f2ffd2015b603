package transfer

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/minio/minio-go/v7"
)

const crcHeader = "X-Amz-Checksum-Crc64nvme"

// newCRC is CRC-64/NVME, which S3 stores for whole objects, of many parts too.
func newCRC() hash.Hash { return minio.ChecksumCRC64NVME.Hasher() }

func base64Of(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

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
