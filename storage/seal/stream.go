package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sort"

	"polder.dev/polder/storage"
)

// saltBytes of a part make its key unlike that of any other part that was ever sent
// under its number.
const saltBytes = 8

// stream is the key stream of one blob: an object, or a part.
type stream struct{ block cipher.Block }

// newStream derives the key of a part; number 0 is an object that is in one piece.
func newStream(data []byte, number int, salt []byte) (stream, error) {
	h := hmac.New(sha256.New, data)
	_, _ = h.Write(binary.BigEndian.AppendUint32([]byte("polder seal 1 part"), uint32(number))) // a hash never fails
	_, _ = h.Write(salt)
	b, err := aes.NewCipher(h.Sum(nil))
	return stream{b}, err
}

// at returns the stream from an offset on.
func (s stream) at(off int64) cipher.Stream {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(off/aes.BlockSize))
	c := cipher.NewCTR(s.block, iv[:])
	if n := off % aes.BlockSize; n > 0 {
		var skip [aes.BlockSize]byte
		c.XORKeyStream(skip[:n], skip[:n])
	}
	return c
}

// sealer is a body on its way in.
type sealer struct {
	r   io.Reader
	c   cipher.Stream
	md5 hash.Hash // of the plain text, where somebody wants it
	sum string    // which it must have, or ""
}

// newSealer seals what r yields. The plain text must have an MD5, unless it is ""; text
// says that it is asked for.
func newSealer(r io.Reader, s stream, sum string, text bool) *sealer {
	out := &sealer{r: r, c: s.at(0), sum: sum}
	if sum != "" || text {
		out.md5 = md5.New()
	}
	return out
}

// text is the MD5 of the plain text, behind its end.
func (s *sealer) text() string { return hex.EncodeToString(s.md5.Sum(nil)) }

func (s *sealer) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.md5 != nil {
		_, _ = s.md5.Write(p[:n]) // a hash never fails
	}
	s.c.XORKeyStream(p[:n], p[:n])
	if err == io.EOF && s.sum != "" {
		if got := s.text(); got != s.sum {
			return n, fmt.Errorf("%w: the body's MD5 is %s, not %s", storage.ErrDigest, got, s.sum)
		}
	}
	return n, err
}

// span is a blob of an object, and where it ends.
type span struct {
	end int64
	s   stream
}

// opened is a sealed object that can be read.
type opened struct {
	storage.Object
	spans []span
}

func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Object.ReadAt(p, off)
	o.xor(p[:n], off)
	return n, err
}

// xor opens p, which was read at off.
func (o *opened) xor(p []byte, off int64) {
	i := sort.Search(len(o.spans), func(i int) bool { return o.spans[i].end > off })
	for ; len(p) > 0 && i < len(o.spans); i++ {
		begin := int64(0)
		if i > 0 {
			begin = o.spans[i-1].end
		}
		n := min(int64(len(p)), o.spans[i].end-off)
		o.spans[i].s.at(off-begin).XORKeyStream(p[:n], p[:n])
		p, off = p[n:], off+n
	}
}

// extentMax bounds what Extents opens at a time.
const extentMax = 256 << 10

// Extents returns opened bytes: what lies in files is sealed.
func (o *opened) Extents(off, n int64) ([]storage.Extent, error) {
	size := o.Info().Size
	if off < 0 || n < 0 || off+n > size {
		return nil, fmt.Errorf("%w: bytes %d to %d of %d", storage.ErrRange, off, off+n, size)
	}
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, min(n, extentMax))
	m, err := o.ReadAt(b, off)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return []storage.Extent{{Length: int64(m), Bytes: b[:m]}}, nil
}
