// Command index compares what could hold the store's metadata: pebble, bbolt, and a
// tree in memory with a file that is read back at the start. It prints one row per
// candidate; docs/design/0002-object-store.md says what was made of it. It is a module
// of its own, so that the losers are not linked by anything else.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// pair is an entry as the store has them: a key of about 50 bytes, a value of 110.
type pair struct{ key, value []byte }

// candidate is what is compared.
type candidate interface {
	// commit makes a batch durable, or with sync unset only visible.
	commit(batch []pair, sync bool) error
	// page reads a page of a listing and returns its last key.
	page(after []byte, limit int) ([]byte, int, error)
	get(key []byte) bool
	close() error
}

var candidates = map[string]func(dir string) (candidate, error){
	"pebble": openPebble, "bbolt": openBolt, "tree": openTree,
}

func entry(rng *rand.Rand, i int) pair {
	key := binary.BigEndian.AppendUint64([]byte("c"), 1)
	key = fmt.Appendf(key, "train/shard-%016x/%08d.jpg", rng.Uint64(), i)
	value := make([]byte, 110)
	for j := 0; j < 40; j += 8 {
		binary.LittleEndian.PutUint64(value[j:], rng.Uint64())
	}
	return pair{key, value}
}

func main() {
	which := flag.String("candidate", "pebble", "pebble, bbolt or tree")
	count := flag.Int("count", 1_000_000, "entries to put in")
	synced := flag.Int("synced", 20_000, "entries of them that are committed in synced batches of 32")
	dir := flag.String("dir", "/var/tmp/polder-index", "where to write; removed at the end")
	seed := flag.Uint64("seed", 1, "of keys and values")
	flag.Parse()
	fmt.Println("seed", *seed)
	err := measure(*which, *dir, *count, *synced, *seed)
	if err := errors.Join(err, os.RemoveAll(*dir)); err != nil {
		fmt.Fprintln(os.Stderr, "index:", err)
		os.Exit(1)
	}
}

func measure(which, dir string, count, synced int, seed uint64) error {
	open := candidates[which]
	if open == nil {
		return fmt.Errorf("no candidate %q", which)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := open(dir)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fill(c, seed, count-synced, 1000, false); err != nil {
		return err
	}
	bulk := float64(count-synced) / time.Since(began).Seconds()
	began = time.Now()
	if err := fill(c, seed+1, synced, 32, true); err != nil {
		return err
	}
	put := float64(synced) / time.Since(began).Seconds()
	pages, first, last, err := list(c, min(count, 1_000_000))
	if err != nil {
		return err
	}
	gets := gets(c, seed, 100_000)
	heap, resident := memory()
	if err := c.close(); err != nil {
		return err
	}
	began = time.Now()
	if c, err = open(dir); err != nil {
		return err
	}
	c.get([]byte("c"))
	start := time.Since(began)
	fmt.Printf("| %s | %d | %.0f/s | %.0f/s | %v | %v, %v | %.0f/s | %d, %d MiB | %v | %d MiB |\n", which, count, bulk, put,
		pages.Round(time.Millisecond), first.Round(time.Microsecond), last.Round(time.Microsecond), gets, heap, resident, start.Round(time.Millisecond), size(dir))
	return c.close()
}

func fill(c candidate, seed uint64, count, batch int, sync bool) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	var b []pair
	for i := range count {
		if b = append(b, entry(rng, i)); len(b) == batch || i == count-1 {
			if err := c.commit(b, sync); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

// list reads pages of 1,000 and returns the time of all, and of the mean page in the
// first and the last tenth.
func list(c candidate, count int) (all, first, last time.Duration, err error) {
	var after []byte
	tenth := count / 10_000
	began := time.Now()
	for i := range count / 1000 {
		t := time.Now()
		var n int
		if after, n, err = c.page(after, 1000); err != nil {
			return 0, 0, 0, err
		}
		if n != 1000 {
			return 0, 0, 0, fmt.Errorf("page %d has %d entries", i, n)
		}
		switch took := time.Since(t); {
		case i < tenth:
			first += took
		case i >= count/1000-tenth:
			last += took
		}
	}
	return time.Since(began), first / time.Duration(tenth), last / time.Duration(tenth), nil
}

func gets(c candidate, seed uint64, count int) float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	began := time.Now()
	for i := range count {
		c.get(entry(rng, i).key)
	}
	return float64(count) / time.Since(began).Seconds()
}

// memory is the live heap and what is resident without files' pages, in MiB.
func memory() (heap, resident int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "RssAnon:") {
			fmt.Sscanf(strings.TrimPrefix(l, "RssAnon:"), "%d", &resident)
		}
	}
	return int(m.HeapAlloc >> 20), resident >> 10
}

func size(dir string) int64 {
	var sum int64
	_ = filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			sum += i.Size()
		}
		return nil
	})
	return sum >> 20
}
