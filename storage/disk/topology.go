package disk

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// topology is the pool with its open disks. It is replaced, never changed.
type topology struct {
	pool  pool
	disks []*disk // as pool.Members
}

// disk is a member; its shelf is nil if it is away.
type disk struct {
	member
	seed  uint64
	shelf *shelf.Shelf
}

func newDisk(m member, s *shelf.Shelf) *disk {
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.ID)) // a hash never fails
	return &disk{member: m, seed: h.Sum64(), shelf: s}
}

// ok reports whether the disk works.
func (d *disk) ok() bool { return d.shelf != nil && d.shelf.Err() == nil }

func (d *disk) missing() error {
	if d.shelf == nil {
		return fmt.Errorf("%w: disk %s is away", storage.ErrUnavailable, d.ID)
	}
	return fmt.Errorf("%w: disk %s failed: %w", storage.ErrUnavailable, d.ID, d.shelf.Err())
}

// homes are the disks that hold a part, the first one first: those with the highest
// scores of weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted
// Distributed Hash Tables", SPAA 2005), so that a disk that comes or goes moves only
// its own share.
func (t *topology) homes(p engine.Part) []*disk {
	if p.ID == "" {
		return t.disks
	}
	if len(t.disks) == 1 {
		return t.disks
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.ID)) // a hash never fails
	sum := h.Sum64()
	type scored struct {
		d     *disk
		score float64
	}
	all := make([]scored, 0, len(t.disks))
	for _, d := range t.disks {
		if !d.Draining {
			u := (float64(mix(sum^d.seed)>>11) + 0.5) / (1 << 53)
			all = append(all, scored{d, -d.Weight / math.Log(u)})
		}
	}
	slices.SortFunc(all, func(a, b scored) int {
		switch {
		case a.score != b.score && a.score > b.score:
			return -1
		case a.score != b.score:
			return 1
		}
		return strings.Compare(a.d.ID, b.d.ID)
	})
	out := make([]*disk, 0, p.Copies)
	for _, s := range all[:min(max(p.Copies, 1), len(all))] {
		out = append(out, s.d)
	}
	return out
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// with is a topology with another pool and the disks of its members.
func (t *topology) with(p pool, more ...*disk) *topology {
	out := &topology{pool: p}
	for _, m := range p.Members {
		for _, d := range slices.Concat(t.disks, more) {
			if d.ID == m.ID {
				out.disks = append(out.disks, &disk{member: m, seed: d.seed, shelf: d.shelf})
				break
			}
		}
	}
	return out
}
