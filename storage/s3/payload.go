package s3

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/s3/sigv4"
)

// objectBytesMax is how long the body of one request may be ("Amazon S3 multipart upload
// limits": 5 GiB for a PUT and for a part).
const objectBytesMax = 5 << 30

// payload is a request's body, decoded and checked on its way: it returns io.EOF only
// where all is as the client said. Close gives its memory back.
type payload struct {
	r      io.Reader
	chunks *sigv4.Chunks // nil where the body is not aws-chunked
	size   int64         // -1 where it is unknown
	count  int64
	md5    string // in hexadecimal, as Content-MD5 says

	sha     hash.Hash // of the body, where the signature is over it
	wantSHA string

	sum  checksum
	hash hash.Hash // of sum's algorithm; it may be sha
	done error
}

// payload prepares to read the body.
func (q *request) payload() (*payload, error) {
	p := &payload{r: q.r.Body, size: q.r.ContentLength}
	var err error
	if p.sum, err = q.checksum(); err != nil {
		return nil, err
	}
	if p.md5, err = q.contentMD5(); err != nil {
		return nil, err
	}
	if err := q.decoded(p); err != nil {
		return nil, err
	}
	if p.size > objectBytesMax {
		p.Close()
		return nil, fail("EntityTooLarge", "The body has %d bytes, and a request takes at most %d; upload it in parts.", p.size, int64(objectBytesMax)).
			with("ProposedSize", strconv.FormatInt(p.size, 10)).with("MaxSizeAllowed", strconv.FormatInt(objectBytesMax, 10))
	}
	if a := p.sum.algorithm; a != nil {
		if a.name == "SHA256" && p.sha != nil {
			p.hash = p.sha
		} else {
			p.hash = a.make()
		}
	}
	return p, nil
}

// decoded finds out how the body is wrapped.
func (q *request) decoded(p *payload) error {
	kind := q.header("X-Amz-Content-Sha256")
	if q.auth != nil && q.auth.Payload != "" {
		kind = q.auth.Payload
	}
	if kind == "" && wrapped(q.header("Content-Encoding")) {
		kind = sigv4.UnsignedTrailer
	}
	switch kind {
	case "", sigv4.Unsigned:
	case sigv4.Stream, sigv4.StreamTrailer, sigv4.UnsignedTrailer:
		return q.unwrap(p, kind)
	default:
		if raw, err := hex.DecodeString(kind); err != nil || len(raw) != sha256.Size {
			return fail("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the words for aws-chunked bodies, or a SHA-256 in hexadecimal.")
		}
		p.sha, p.wantSHA = sha256.New(), strings.ToLower(kind)
	}
	if p.sum.trailer {
		return fail("InvalidRequest", "x-amz-trailer needs an aws-chunked body with a trailer, as x-amz-content-sha256 must say.")
	}
	return nil
}

func (q *request) unwrap(p *payload, kind string) (err error) {
	p.size = -1
	if v := q.header("X-Amz-Decoded-Content-Length"); v != "" {
		if p.size, err = strconv.ParseInt(v, 10, 64); err != nil || p.size < 0 {
			return fail("InvalidArgument", "x-amz-decoded-content-length must be a number of bytes, not %q.", v)
		}
	}
	if p.size < 0 {
		return fail("MissingContentLength", "An aws-chunked body needs x-amz-decoded-content-length.")
	}
	if p.sum.trailer && kind == sigv4.Stream {
		return fail("InvalidRequest", "x-amz-trailer needs x-amz-content-sha256 to be %s.", sigv4.StreamTrailer)
	}
	p.chunks, err = sigv4.Chunked(q.auth, kind, q.r.Body, p.size, q.header("X-Amz-Trailer"))
	p.r = p.chunks
	return err
}

// wrapped says whether a Content-Encoding has aws-chunked in it.
func wrapped(encoding string) bool { return strings.Contains(encoding, "aws-chunked") }

// contentMD5 reads Content-MD5, which is base64.
func (q *request) contentMD5() (string, error) {
	v, ok := q.r.Header["Content-Md5"]
	if !ok {
		return "", nil
	}
	b, err := base64.StdEncoding.DecodeString(v[0])
	if err != nil || len(b) != md5.Size {
		return "", fail("InvalidDigest", "Content-MD5 must be base64 of %d bytes, not %q.", md5.Size, v[0])
	}
	return hex.EncodeToString(b), nil
}

// Close gives memory back; nobody may read any more.
func (p *payload) Close() {
	if p.chunks != nil {
		p.chunks.Close()
		p.chunks = nil
	}
	p.done = io.ErrClosedPipe
}

// Read implements io.Reader.
func (p *payload) Read(b []byte) (int, error) {
	if p.done != nil {
		return 0, p.done
	}
	n, err := p.r.Read(b)
	p.count += int64(n)
	if p.sha != nil {
		_, _ = p.sha.Write(b[:n]) // a hash never fails
	}
	if p.hash != nil && p.hash != p.sha {
		_, _ = p.hash.Write(b[:n])
	}
	switch {
	case p.count > objectBytesMax:
		p.done = fail("EntityTooLarge", "The body has more than the %d bytes that a request takes; upload it in parts.", int64(objectBytesMax))
	case err == io.EOF:
		p.done = p.end()
	case err != nil:
		p.done = fmt.Errorf("reading the body: %w", err)
	}
	return n, p.done
}

// end is called once behind the last byte.
func (p *payload) end() error {
	if p.sha != nil {
		got := hex.EncodeToString(p.sha.Sum(nil))
		if subtle.ConstantTimeCompare([]byte(got), []byte(p.wantSHA)) != 1 {
			return fail("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.").
				with("ClientComputedContentSHA256", p.wantSHA).with("S3ComputedContentSHA256", got)
		}
	}
	if p.hash == nil {
		return io.EOF
	}
	got := base64.StdEncoding.EncodeToString(p.hash.Sum(nil))
	a := p.sum.algorithm
	if p.sum.trailer {
		if p.sum.want = p.chunks.Trailer(a.header); !a.valid(p.sum.want) {
			return fail("InvalidRequest", "The trailer %s is missing, or not base64 of %d bytes.", strings.ToLower(a.header), a.bytes)
		}
	}
	if p.sum.want != "" && p.sum.want != got {
		return fail("BadDigest", "The %s you specified did not match the calculated checksum: it is %s.", a.name, got)
	}
	p.sum.want = got
	return io.EOF
}

// seal puts the checksum into an object's metadata, once the body is read.
func (p *payload) seal(m *storage.Meta) {
	if p.sum.algorithm != nil {
		m.Checksums = map[string]string{p.sum.algorithm.name: p.sum.want}
	}
}

// room is the size that a store is told: 0 is unknown.
func (p *payload) room() int64 { return max(p.size, 0) }

// readAll reads a small body, as XML is, and checks what was said of it.
func (q *request) readAll(limit int64) ([]byte, error) {
	p, err := q.payload()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.size > limit {
		return nil, fail("MaxMessageLengthExceeded", "The body has %d bytes, and at most %d are taken.", p.size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(p, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fail("MaxMessageLengthExceeded", "The body has more than the %d bytes that are taken.", limit)
	}
	if sum := md5.Sum(b); p.md5 != "" && hex.EncodeToString(sum[:]) != p.md5 {
		return nil, fail("BadDigest", "The body's MD5 is not the one that Content-MD5 says.")
	}
	return b, nil
}
