package sigv4

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// Limits of aws-chunked: of a line, which is also what is buffered, and of trailers.
const (
	chunkLineMax   = 4096
	chunkDigitsMax = 16
	trailersMax    = 16
)

var lines = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, chunkLineMax) }}

// Chunks reads the data of an aws-chunked body, and checks the signatures of its chunks
// and trailers where there are some. It returns io.EOF only behind a whole body of the
// length that was said; what is before may be unproved until then. Close gives its
// memory back.
type Chunks struct {
	in      *bufio.Reader
	left    int64 // of the whole body's data
	chunk   int64 // of the current chunk
	inside  bool
	trailer bool
	names   []string // of trailers that may come
	found   Query
	err     error

	// Of signed bodies:
	hash   hash.Hash // nil where chunks bear no signatures
	key    [32]byte
	prefix []byte // time and scope, each with its line's end
	last   string // the signature before
	want   string // what the current chunk says
}

// Chunked returns the reader of a body whose payload is Stream, StreamTrailer or
// UnsignedTrailer; a may be nil for the last. length is x-amz-decoded-content-length, and
// names what x-amz-trailer says, separated by commas.
func Chunked(a *Auth, payload string, body io.Reader, length int64, names string) (*Chunks, error) {
	if length < 0 {
		return nil, fmt.Errorf("%w: x-amz-decoded-content-length must say how long the data is", ErrChunk)
	}
	c := &Chunks{left: length, trailer: payload != Stream}
	for n := range strings.SplitSeq(names, ",") {
		if n = strings.ToLower(strings.TrimSpace(n)); n != "" {
			c.names = append(c.names, n)
		}
	}
	if len(c.names) > trailersMax {
		return nil, fmt.Errorf("%w: x-amz-trailer names more than %d trailers", ErrChunk, trailersMax)
	}
	if payload == Stream || payload == StreamTrailer {
		if a == nil || a.two {
			return nil, fmt.Errorf("%w: nobody signed the chunks", ErrUnsigned)
		}
		c.hash, c.key, c.last = sha256.New(), a.key, a.signature
		c.prefix = append(a.Time.UTC().AppendFormat(nil, longDate), '\n')
		c.prefix = append(appendScope(c.prefix, a.day, a.region, a.service), '\n')
	}
	c.in = lines.Get().(*bufio.Reader)
	c.in.Reset(body)
	return c, nil
}

// Close must be called once, when nobody reads any more.
func (c *Chunks) Close() {
	c.in.Reset(nil)
	lines.Put(c.in)
	c.in, c.err = nil, errors.New("closed")
}

// Trailer returns what came behind the data, once Read has returned io.EOF.
func (c *Chunks) Trailer(name string) string { return c.found.Get(strings.ToLower(name)) }

// Read implements io.Reader.
func (c *Chunks) Read(p []byte) (int, error) {
	for c.err == nil && !c.inside {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.chunk)])
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.hash != nil {
		_, _ = c.hash.Write(p[:n]) // a hash never fails
	}
	switch {
	case c.chunk == 0:
		c.err = c.end()
	case err != nil:
		c.err = cut(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, c.err
}

// cut is what the end of the body is where more had to come.
func cut(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: it ends too soon", ErrChunk)
	}
	return err
}

// line reads a line without its end.
func (c *Chunks) line() (string, error) {
	b, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line is longer than %d bytes", ErrChunk, chunkLineMax)
	}
	if err != nil {
		return "", cut(err)
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
}

// next reads a chunk's head. Behind the last one it reads the trailers, and returns
// io.EOF.
func (c *Chunks) next() error {
	l, err := c.line()
	if err != nil {
		return err
	}
	digits, ext, _ := strings.Cut(l, ";")
	if c.chunk, err = size(digits); err != nil {
		return err
	}
	if c.hash != nil {
		sig, ok := strings.CutPrefix(ext, "chunk-signature=")
		if !ok {
			return fmt.Errorf("%w: a chunk bears no chunk-signature", ErrChunk)
		}
		c.want = sig
		c.hash.Reset()
	}
	if c.chunk > c.left {
		return fmt.Errorf("%w: the data is longer than x-amz-decoded-content-length says", ErrChunk)
	}
	if c.chunk > 0 {
		c.inside = true
		return nil
	}
	if c.left > 0 {
		return fmt.Errorf("%w: the data is %d bytes shorter than x-amz-decoded-content-length says", ErrChunk, c.left)
	}
	if err := c.proveChunk(); err != nil {
		return err
	}
	if err := c.trailers(); err != nil {
		return err
	}
	return io.EOF
}

func size(digits string) (int64, error) {
	bad := fmt.Errorf("%w: a chunk's size must be hexadecimal digits", ErrChunk)
	if digits == "" || len(digits) > chunkDigitsMax {
		return 0, bad
	}
	var n int64
	for _, d := range []byte(digits) {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, bad
		}
		if n >= 1<<58 {
			return 0, bad
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

// end is behind a chunk's data.
func (c *Chunks) end() error {
	c.inside = false
	l, err := c.line()
	if err != nil {
		return err
	}
	if l != "" {
		return fmt.Errorf("%w: a chunk's data does not end where its size says", ErrChunk)
	}
	return c.proveChunk()
}

func (c *Chunks) proveChunk() error {
	if c.hash == nil {
		return nil
	}
	var sum [32]byte
	return c.prove("AWS4-HMAC-SHA256-PAYLOAD", c.want, append(append([]byte(Empty), '\n'), hex.AppendEncode(nil, c.hash.Sum(sum[:0]))...))
}

// prove checks one signature of the chain.
func (c *Chunks) prove(kind, got string, text []byte) error {
	b := make([]byte, 0, 384)
	b = append(append(b, kind...), '\n')
	b = append(b, c.prefix...)
	b = append(append(b, c.last...), '\n')
	b = append(b, text...)
	c.last = macHex(&c.key, b)
	if subtle.ConstantTimeCompare([]byte(c.last), []byte(got)) != 1 {
		return fmt.Errorf("%w: that of a chunk or trailer of the body is wrong", ErrSignature)
	}
	return nil
}

const trailerSignature = "x-amz-trailer-signature"

// trailers reads up to the empty line that ends the body.
func (c *Chunks) trailers() error {
	var text []byte // as it is signed
	proved := c.hash == nil || !c.trailer
	gap := false // some clients write an empty line before the signature
	for range trailersMax + 3 {
		l, err := c.line()
		if err != nil {
			return err
		}
		if l == "" && (proved || len(text) == 0) {
			return nil
		}
		if l == "" && !gap {
			gap = true
			continue
		}
		k, v, ok := strings.Cut(l, ":")
		k, v = strings.ToLower(textproto.TrimString(k)), textproto.TrimString(v)
		switch {
		case gap && k != trailerSignature:
			return fmt.Errorf("%w: the trailers bear no %s", ErrChunk, trailerSignature)
		case !ok || !c.trailer:
			return fmt.Errorf("%w: there is a line behind the data that is no trailer", ErrChunk)
		case k == trailerSignature && !proved:
			sum := sha256.Sum256(text)
			if err := c.prove("AWS4-HMAC-SHA256-TRAILER", v, hex.AppendEncode(nil, sum[:])); err != nil {
				return err
			}
			proved, gap = true, false
		case !slices.Contains(c.names, k) || c.found.Has(k):
			return fmt.Errorf("%w: trailer %q is not one that x-amz-trailer names, or is there twice", ErrChunk, k)
		case c.hash != nil && proved:
			return fmt.Errorf("%w: a trailer comes behind the signature", ErrChunk)
		default:
			c.found = append(c.found, Param{k, v})
			text = append(append(append(append(text, k...), ':'), v...), '\n')
		}
	}
	return fmt.Errorf("%w: there are more than %d trailers", ErrChunk, trailersMax)
}
