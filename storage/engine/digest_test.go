package engine

import (
	"crypto/md5"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestDigester: bodies that are hashed together have the MD5s that they have alone, also
// when the digester is closed under them.
func TestDigester(t *testing.T) {
	d := NewDigester()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range 3 {
				h := d.begin(false)
				want := md5.New()
				chunk := chunks.Get().(*[]byte)
				for n := rng.IntN(20); ; n-- {
					size := len(*chunk)
					if n <= 0 {
						size = rng.IntN(len(*chunk)) // the last one
					}
					for j := 0; j < size; j += 512 {
						(*chunk)[j] = byte(rng.Uint32())
					}
					want.Write((*chunk)[:size])
					h.write(chunk, size)
					if n <= 0 {
						break
					}
					chunk = h.next()
				}
				if got, _ := h.end(); got != hex.EncodeToString(want.Sum(nil)) {
					t.Errorf("body %d: MD5 %s", i, got)
				}
			}
		})
	}
	d.Close()
	wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active != 0 || d.lanes != nil {
		t.Errorf("%d bodies are left, lanes %v", d.active, d.lanes)
	}
}
