package route

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	rules "polder.dev/polder/model/route"
)

const (
	// cacheBytesMax of the answers that all routes together keep.
	cacheBytesMax = 256 << 20
	// entriesMax of one route.
	entriesMax = 1 << 20
	// entryBytes that an answer takes beside its body.
	entryBytes = 1 << 10
)

// room is memory that many share.
type room struct {
	max  int64
	used atomic.Int64
}

// take sets bytes aside, if there are so many.
func (r *room) take(n int64) bool {
	if r.used.Add(n) > r.max {
		r.used.Add(-n)
		return false
	}
	return true
}

func (r *room) free(n int64) { r.used.Add(-n) }

// answers are those that one route keeps. What was not asked for the longest goes first.
type answers struct {
	room     *room
	bytesMax int64
	goodFor  time.Duration

	mu    sync.Mutex
	lru   *simplelru.LRU[rules.Key, *kept]
	bytes int64
	gone  bool // nothing is kept any more
}

// kept is an answer.
type kept struct {
	header             http.Header
	body               []byte
	targets, escalated string
	rule               string
	at                 time.Time
}

// passed are the headers of an answer that are kept with it.
var passed = []string{"Content-Type", "Content-Language", "Inference-Header-Content-Length"}

func newAnswers(r *room, bytesMax int64, goodFor time.Duration) *answers {
	c := &answers{room: r, bytesMax: bytesMax, goodFor: goodFor}
	c.lru, _ = simplelru.NewLRU[rules.Key, *kept](entriesMax, func(_ rules.Key, k *kept) { // fails for a size below 1 only
		c.bytes -= k.size()
		c.room.free(k.size())
	})
	return c
}

func (k *kept) size() int64 { return int64(len(k.body)) + entryBytes }

// find returns an answer that is still good.
func (c *answers) find(key rules.Key, now time.Time) *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.lru.Get(key)
	if !ok {
		return nil
	}
	if now.Sub(k.at) >= c.goodFor {
		c.lru.Remove(key)
		return nil
	}
	return k
}

// put keeps an answer if there is room for it.
func (c *answers) put(key rules.Key, k *kept, now time.Time) {
	k.at = now
	h := http.Header{}
	for _, name := range passed {
		if v := k.header.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	k.header = h
	c.mu.Lock()
	defer c.mu.Unlock()
	size := k.size()
	if c.gone || size > c.bytesMax {
		return
	}
	c.lru.Remove(key)
	for c.bytes+size > c.bytesMax || !c.room.take(size) {
		if _, _, any := c.lru.RemoveOldest(); !any {
			return // other routes have the room
		}
	}
	c.bytes += size
	c.lru.Add(key, k)
}

// clear lets go of everything, for good: requests that are under way keep nothing more.
func (c *answers) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.lru.Purge()
}
