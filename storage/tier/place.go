package tier

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
)

// place is where a lower tier holds the data of one version. Its text, which entries
// hold, is LEVEL/KEY.
type place struct{ level, key string }

// newPlace is one that never was. Its key says nothing.
func newPlace(level string) place {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return place{level: level, key: hex.EncodeToString(b[:])}
}

func parsePlace(text string) (place, bool) {
	level, key, ok := strings.Cut(text, "/")
	return place{level, key}, ok && level != "" && key != ""
}

func (p place) String() string { return p.level + "/" + p.key }

// places knows which are in use just now, so that Collect leaves them alone.
type places struct {
	mu     sync.Mutex
	busy   map[string]int  // written to or read
	recent map[string]bool // written to since Collect began
	doomed map[string]bool // being removed
}

// write keeps a place that is written to. The entry, if any, refers to it before the
// function that it returns is called.
func (p *places) write(name string) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(name, 1)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.set(name, -1)
		if p.recent == nil {
			p.recent = map[string]bool{}
		}
		p.recent[name] = true
	})
}

// read keeps a place that is read, or reports that it is being removed.
func (p *places) read(name string) (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doomed[name] {
		return nil, false
	}
	p.set(name, 1)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.set(name, -1)
	}), true
}

func (p *places) set(name string, d int) {
	if p.busy == nil {
		p.busy = map[string]int{}
	}
	if p.busy[name] += d; p.busy[name] == 0 {
		delete(p.busy, name)
	}
}

// begin is called before notes are listed: a place that was written to until then has an
// entry, or is loose for good.
func (p *places) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recent = nil
}

// doom takes a place that was listed as loose out of everybody's reach, unless it is used.
func (p *places) doom(name string) (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[name] > 0 || p.recent[name] {
		return nil, false
	}
	if p.doomed == nil {
		p.doomed = map[string]bool{}
	}
	p.doomed[name] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.doomed, name)
	}, true
}
