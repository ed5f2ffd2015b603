// Package cache is the hot tier: verified bytes of objects in memory, in blocks, named
// by revision and number. The data of a revision never changes, so nothing here can be
// stale, and nothing has to be told of writes.
//
// storage/tier puts it in front of a store; anybody with storage.Objects that have
// revisions may. Its memory never exceeds its bound, nor what a budget leaves it, other
// than by what readers still hold of blocks that are gone. It spawns goroutines only to read ahead, and each ends
// with its block. It is never the only holder of anything, and refuses to write.
package cache

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage/budget"
)

// BlockBytes is what large objects are cut into. An object of up to as much is one block.
const BlockBytes = 1 << 20

// Config is what a cache is made with. BytesMax is needed; zero values are the defaults.
type Config struct {
	// BytesMax of memory, with what keeping a block costs.
	BytesMax int64
	// Memory, if set, is what blocks are of. They yield to others that take of it.
	Memory *budget.Budget
	// Ahead is how many blocks are read ahead of a sequential reader at most; 8.
	Ahead int
	// AheadMax is how many blocks are read ahead at once, for all readers; 16.
	AheadMax int
	// Metrics, if set, registers what the cache counts.
	Metrics prometheus.Registerer
}

// Cache holds blocks. All methods may be called at once.
type Cache struct {
	cfg    Config
	shards [shardCount]shard
	fifo   fifo
	ahead  chan struct{}
	meters *meters

	flightMu sync.Mutex
	flights  map[key]*flight

	// door remembers what was asked for last, by slots that forget.
	door [doorSlots]atomic.Uint64
}

const (
	shardCount = 64
	doorSlots  = 1 << 16
	// overhead is what a block takes beside its bytes: its entry, and its share of tables.
	overhead = 256
)

// key names a block.
type key struct {
	revision uint64
	number   uint32
}

func (k key) hash() uint64 {
	x := k.revision*0x9e3779b97f4a7c15 ^ uint64(k.number)*0xbf58476d1ce4e5b9
	return x ^ x>>29
}

type shard struct {
	mu      sync.RWMutex
	entries map[key]*entry
}

// Owner counts what the cache holds for somebody: a bucket.
type Owner struct {
	// Objects of which the first block is there, and Bytes.
	Objects, Bytes atomic.Int64
	barred         bool // fifo.mu
}

// New makes an empty cache.
func New(cfg Config) (*Cache, error) {
	if cfg.Ahead == 0 {
		cfg.Ahead = 8
	}
	if cfg.AheadMax == 0 {
		cfg.AheadMax = 16
	}
	c := &Cache{cfg: cfg, ahead: make(chan struct{}, cfg.AheadMax), flights: map[key]*flight{}}
	c.fifo = fifo{c: c, bytesMax: cfg.BytesMax, ghosts: map[key]bool{}}
	for i := range c.shards {
		c.shards[i].entries = map[key]*entry{}
	}
	cfg.Memory.Yields(c.fifo.yield)
	var err error
	c.meters, err = newMeters(c, cfg.Metrics)
	return c, err
}

// Bytes is what the cache holds now, with what keeping it costs.
func (c *Cache) Bytes() int64 { return c.fifo.bytes.Load() }

// BytesMax is the bound.
func (c *Cache) BytesMax() int64 { return c.cfg.BytesMax }

// Asked notes that a revision is read, and reports whether it was asked for lately. What
// is read once is not worth its memory.
func (c *Cache) Asked(revision uint64) bool {
	slot := &c.door[key{revision: revision}.hash()>>48%doorSlots]
	return slot.Swap(revision) == revision
}

// Has reports whether the beginning of a revision is there.
func (c *Cache) Has(revision uint64) bool {
	k := key{revision: revision}
	return c.shard(k).holds(k)
}

func (c *Cache) shard(k key) *shard { return &c.shards[k.hash()%shardCount] }

// get returns a block that is there, and counts it as a use if it is one.
func (c *Cache) get(k key, use bool) *entry {
	s := c.shard(k)
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	if e != nil && use && e.uses.Load() < usesMax {
		e.uses.Add(1)
	}
	return e
}

// Bar says whether blocks of an owner are refused from now on. Who may hold none any
// more is barred, and then forgotten.
func (c *Cache) Bar(o *Owner, barred bool) {
	c.fifo.mu.Lock()
	defer c.fifo.mu.Unlock()
	o.barred = barred
}

// Forget drops what is held for an owner, whether pinned or not.
func (c *Cache) Forget(o *Owner) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		var all []*entry
		for _, e := range s.entries {
			if e.owner == o {
				all = append(all, e)
			}
		}
		s.mu.RUnlock()
		for _, e := range all {
			c.fifo.drop(e)
		}
	}
	c.fifo.tidy()
}
