package engine

import (
	"crypto/md5"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"sync"

	md5simd "github.com/minio/md5-simd"
)

// lanesMin is how many bodies must be hashed at once for their MD5s to be made together,
// which takes a third of the time that one after the other does (AVX2, eight lanes).
// Fewer are faster by themselves.
const lanesMin = 3

// hashersMax bounds the hashers that are made for it. They are used again and never
// closed: md5-simd 1.1.2 keeps what it knew of one that is, and looks through all of them
// at each turn. Bodies above that are hashed alone.
const hashersMax = 64

// Digester makes the hashes of bodies that are streamed.
type Digester struct {
	mu     sync.Mutex
	active int            // bodies whose MD5 is being made
	lanes  md5simd.Server // made when it is first needed
	made   int            // hashers of lanes
	free   []md5simd.Hasher
	closed bool
}

// NewDigester returns one. It must be closed.
func NewDigester() *Digester { return &Digester{} }

// Close releases what was begun, when the last body has been hashed.
func (d *Digester) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.release()
}

// release ends the lanes if nobody needs them any more; d.mu is held.
func (d *Digester) release() {
	if d.closed && d.active == 0 && d.lanes != nil {
		d.lanes.Close()
		d.lanes, d.free, d.made = nil, nil, 0
	}
}

// newMD5 is for one body: by itself, or together with others.
func (d *Digester) newMD5() md5simd.Hasher {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active++
	if d.active < lanesMin || d.closed {
		return alone{md5.New()}
	}
	if n := len(d.free); n > 0 {
		h := d.free[n-1]
		d.free = d.free[:n-1]
		return h
	}
	if d.made == hashersMax {
		return alone{md5.New()}
	}
	if d.lanes == nil {
		d.lanes = md5simd.NewServer()
	}
	d.made++
	return d.lanes.NewHash()
}

// endMD5 gives a hash back.
func (d *Digester) endMD5(h md5simd.Hasher) {
	_, single := h.(alone)
	if !single {
		h.Reset()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !single {
		d.free = append(d.free, h)
	}
	d.active--
	d.release()
}

// alone is the standard library's MD5.
type alone struct{ hash.Hash }

// Close implements md5simd.Hasher.
func (alone) Close() {}

func sumMD5(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// hashing is the hash of one body. Chunks go to it by write.
type hashing struct {
	d    *Digester
	md5  md5simd.Hasher // nil where a CRC does
	sum  uint32
	work chan *chunk
	done chan struct{}
}

// begin starts the goroutine that hashes; end waits for it.
func (d *Digester) begin(plain bool) *hashing {
	h := &hashing{d: d, work: make(chan *chunk, ring-2), done: make(chan struct{})}
	if !plain {
		h.md5 = d.newMD5()
	}
	go h.run()
	return h
}

func (h *hashing) run() {
	defer close(h.done)
	for c := range h.work {
		if h.md5 != nil {
			_, _ = h.md5.Write(c.bytes()) // a hash never fails
		} else {
			h.sum = crc32.Update(h.sum, castagnoli, c.bytes())
		}
		c.release()
	}
}

// write has a chunk hashed, which its caller may go on to read.
func (h *hashing) write(c *chunk) {
	c.holds.Add(1)
	h.work <- c
}

// end waits for the hash.
func (h *hashing) end() (etag string, sum uint32) {
	close(h.work)
	<-h.done
	if h.md5 != nil {
		etag = hex.EncodeToString(h.md5.Sum(nil))
		h.d.endMD5(h.md5)
	}
	return etag, h.sum
}
