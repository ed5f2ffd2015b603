package s3

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"

	"polder.dev/polder/storage/s3/sigv4"
)

// readAll reads a small body, as XML is, and checks what was said of it.
func (q *request) readAll(limit int64) ([]byte, error) {
	if q.r.ContentLength > limit {
		return nil, fail("MaxMessageLengthExceeded", "The body has %d bytes, and at most %d are taken.", q.r.ContentLength, limit)
	}
	b, err := io.ReadAll(io.LimitReader(q.r.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, fail("MaxMessageLengthExceeded", "The body has more than the %d bytes that are taken.", limit)
	}
	if want := q.header("Content-Md5"); want != "" {
		sum := md5.Sum(b)
		if base64.StdEncoding.EncodeToString(sum[:]) != want {
			return nil, fail("BadDigest", "The body's MD5 is not the one that Content-MD5 says.")
		}
	}
	if q.auth != nil && q.auth.Payload != "" && q.auth.Payload != sigv4.Unsigned {
		sum := sha256.Sum256(b)
		if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(q.auth.Payload)) != 1 {
			return nil, fail("XAmzContentSHA256Mismatch", "The body's SHA-256 is not the one that x-amz-content-sha256 says.")
		}
	}
	return b, nil
}
