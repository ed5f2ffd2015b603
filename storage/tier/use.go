package tier

import (
	"sync"
	"time"
)

// uses remembers when revisions were last read, and how often, of those that were read
// last. Nothing is written for it: it is approximate, and lost with the program.
type uses struct {
	shards [useShards]useShard
}

const (
	useShards = 16
	// usesMax of a shard's generation; two generations of all are some 30 MB.
	usesMax = 1 << 15
)

type useShard struct {
	mu       sync.Mutex
	cur, old map[uint64]use
}

type use struct {
	at    int64 // Unix, in seconds
	count int32
}

func newUses() *uses {
	u := &uses{}
	for i := range u.shards {
		u.shards[i].cur = map[uint64]use{}
	}
	return u
}

// note counts a use and returns how many there were.
func (u *uses) note(revision uint64, now time.Time) int32 {
	s := &u.shards[revision%useShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.cur[revision]
	if !ok {
		if len(s.cur) >= usesMax {
			s.old, s.cur = s.cur, make(map[uint64]use, usesMax)
		}
		v = s.old[revision]
	}
	v.at = now.Unix()
	v.count++
	s.cur[revision] = v
	return v.count
}

// forget that a revision was used: it was moved down, and counts anew.
func (u *uses) forget(revision uint64) {
	s := &u.shards[revision%useShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cur, revision)
	delete(s.old, revision)
}

// last is when a version was used or, if that is not known, modified.
func (u *uses) last(revision uint64, modified time.Time) time.Time {
	s := &u.shards[revision%useShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.cur[revision]
	if !ok {
		v, ok = s.old[revision]
	}
	if at := time.Unix(v.at, 0); ok && at.After(modified) {
		return at
	}
	return modified
}
