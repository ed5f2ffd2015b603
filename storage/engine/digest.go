package engine

import (
	"crypto/md5"
	"encoding/hex"
	"hash"
	"hash/crc32"
)

// Digester makes the hashes of bodies that are streamed.
type Digester struct{}

// NewDigester returns one that uses the standard library.
func NewDigester() Digester { return Digester{} }

// Close releases what New began.
func (Digester) Close() {}

func sumMD5(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// hashing is the hash of one body. Chunks go to it by write and come back by next.
type hashing struct {
	md5  hash.Hash // nil where a CRC does
	sum  uint32
	work chan lot
	free chan *[]byte
	made int
	done chan struct{}
}

type lot struct {
	chunk *[]byte
	n     int
}

// begin starts the goroutine that hashes; end waits for it.
func (Digester) begin(plain bool) *hashing {
	h := &hashing{work: make(chan lot, ring), free: make(chan *[]byte, ring), made: 1, done: make(chan struct{})}
	if !plain {
		h.md5 = md5.New()
	}
	go h.run()
	return h
}

func (h *hashing) run() {
	defer close(h.done)
	for l := range h.work {
		if b := (*l.chunk)[:l.n]; h.md5 != nil {
			_, _ = h.md5.Write(b) // a hash never fails
		} else {
			h.sum = crc32.Update(h.sum, castagnoli, b)
		}
		h.free <- l.chunk
	}
}

// write hands a chunk with n bytes over. Its caller may read the chunk until next.
func (h *hashing) write(c *[]byte, n int) { h.work <- lot{c, n} }

// next returns a chunk to fill: a new one, or one that is hashed. The one that was
// handed over last must be done with.
func (h *hashing) next() *[]byte {
	select {
	case c := <-h.free:
		return c
	default:
	}
	if h.made < ring {
		h.made++
		return chunks.Get().(*[]byte)
	}
	return <-h.free
}

// end waits for the hash and gives the chunks back. All must have been handed over.
func (h *hashing) end() (etag string, sum uint32) {
	close(h.work)
	<-h.done
	for range h.made {
		chunks.Put(<-h.free)
	}
	if h.md5 != nil {
		etag = hex.EncodeToString(h.md5.Sum(nil))
	}
	return etag, h.sum
}
