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
	hashAll(t, d, 3*hashersMax/2)
	d.mu.Lock()
	if made := d.made; made == 0 || made > hashersMax || len(d.free) != made || d.active != 0 {
		t.Errorf("%d hashers were made, %d are free, %d in use", made, len(d.free), d.active)
	}
	d.mu.Unlock()
	go d.Close()
	hashAll(t, d, 24)
	d.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active != 0 || d.lanes != nil {
		t.Errorf("%d bodies are left, lanes %v", d.active, d.lanes)
	}
}

// hashAll hashes bodies at once, three one after the other each, and compares. The first of
// each begin before any ends.
func hashAll(t *testing.T, d *Digester, bodies int) {
	t.Helper()
	var s Store // without a bound
	var wg, begun sync.WaitGroup
	begun.Add(bodies)
	for i := range bodies {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for round := range 3 {
				h := d.begin(false)
				if round == 0 {
					begun.Done()
					begun.Wait()
				}
				want := md5.New()
				for left := rng.IntN(20); left >= 0; left-- {
					c := s.large()
					c.n = len(c.buf)
					if left == 0 {
						c.n = rng.IntN(len(c.buf)) // the last one
					}
					for j := 0; j < c.n; j += 512 {
						c.buf[j] = byte(rng.Uint32())
					}
					want.Write(c.bytes())
					h.write(c)
					c.release()
				}
				if got, _ := h.end(); got != hex.EncodeToString(want.Sum(nil)) {
					t.Errorf("body %d: MD5 %s", i, got)
				}
			}
		})
	}
	wg.Wait()
}
