package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/shelf"
	"polder.dev/polder/storage/engine"
)

// Store is a pool of disks: a storage.Tier.
type Store struct {
	*engine.Store
	cfg  Config
	rng  *rand.Rand // admin
	top  atomic.Pointer[topology]
	rev  atomic.Uint64
	lock [4096]sync.Mutex // of parts, by their hash

	admin   sync.Mutex // of who changes the pool
	touched map[string]touch
}

var (
	_ storage.Tier  = (*Store)(nil)
	_ storage.Mover = (*Store)(nil)
)

// touch says which disk's replay saw the last change of a part.
type touch struct {
	rev  uint64
	disk int
}

// Open opens the store in the directories of cfg, or makes one. After a crash it has
// repaired what the crash left when it returns. The caller has to Run it.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.complete()
	if len(cfg.Dirs) == 0 {
		return nil, fmt.Errorf("%w: a store needs a directory", storage.ErrInvalid)
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	s := &Store{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), touched: map[string]touch{}}
	p, ids, err := readCards(cfg.fs, cfg.Dirs)
	if err != nil {
		return nil, err
	}
	if p == nil {
		if p, ids, err = s.found(); err != nil {
			return nil, err
		}
	}
	if err := s.openShelves(p, ids); err != nil {
		return nil, errors.Join(err, s.closeShelves())
	}
	if s.Store, err = engine.New(ledger{s}, cfg.Now, cfg.Memory); err != nil {
		return nil, errors.Join(err, s.closeShelves())
	}
	if err := s.reconcile(); err != nil {
		return nil, errors.Join(fmt.Errorf("making copies alike after a crash: %w", err), s.closeShelves())
	}
	return s, nil
}

// found makes a pool of empty directories.
func (s *Store) found() (*pool, []string, error) {
	p := &pool{Format: poolFormat, Store: s.name(), Epoch: 1, Settled: true}
	var ids []string
	for _, dir := range s.cfg.Dirs {
		total, _, err := s.cfg.fs.Room(dir)
		if err != nil {
			return nil, nil, err
		}
		id := s.name()
		ids = append(ids, id)
		p.Members = append(p.Members, member{ID: id, Weight: float64(max(total, 1))})
	}
	for i, dir := range s.cfg.Dirs {
		if err := writeCard(s.cfg.fs, dir, card{Disk: ids[i], Pool: *p}); err != nil {
			return nil, nil, err
		}
	}
	return p, ids, nil
}

func (s *Store) name() string { return fmt.Sprintf("%016x", s.rng.Uint64()) }

// openShelves opens the disks of a pool.
func (s *Store) openShelves(p *pool, ids []string) error {
	t := &topology{pool: *p}
	s.top.Store(t)
	for i, m := range p.Members {
		dir := ""
		for j, id := range ids {
			if id == m.ID {
				dir = s.cfg.Dirs[j]
			}
		}
		if dir == "" && !s.cfg.Missing {
			return fmt.Errorf("%w: disk %s of the store is in none of the directories; give its directory, or open with disks missing", storage.ErrUnavailable, m.ID)
		}
		var sh *shelf.Shelf
		if dir != "" {
			var err error
			if sh, err = s.openShelf(dir, i); err != nil {
				return err
			}
			s.rev.Store(max(s.rev.Load(), sh.RevMax()))
		}
		t.disks = append(t.disks, newDisk(m, sh))
	}
	return nil
}

func (s *Store) openShelf(dir string, number int) (*shelf.Shelf, error) {
	c := shelf.Config{
		FS: s.cfg.fs, Log: s.cfg.Log, VolumeBytes: s.cfg.VolumeBytes, CacheBytes: s.cfg.CacheBytes,
		ReserveBytes: s.cfg.ReserveBytes, FlushBytes: s.cfg.FlushBytes,
	}
	if len(s.cfg.Dirs) > 1 {
		c.Replayed = func(key []byte, rev uint64) {
			id, err := engine.PartOf(key)
			if old, ok := s.touched[id]; err == nil && (!ok || rev > old.rev) {
				s.touched[id] = touch{rev, number}
			}
		}
	}
	return shelf.Open(c, dir, s.cfg.Seed+uint64(number)+s.rng.Uint64())
}

func (s *Store) closeShelves() error {
	var errs []error
	for _, d := range s.top.Load().disks {
		if d.shelf != nil {
			errs = append(errs, d.shelf.Close())
		}
	}
	return errors.Join(errs...)
}

// Class is that of the configuration.
func (s *Store) Class() storage.Class { return s.cfg.Class }

// Volatile is false.
func (s *Store) Volatile() bool { return false }

// Room adds up the disks; copies count for each.
func (s *Store) Room(context.Context) (total, free int64, err error) {
	for _, d := range s.top.Load().disks {
		if !d.ok() {
			continue
		}
		t, f, err := d.shelf.Room()
		if err != nil {
			return 0, 0, err
		}
		total, free = total+t, free+f
	}
	return total, free, nil
}

// Recovered says what Open found on each disk.
func (s *Store) Recovered() []shelf.Recovery {
	var out []shelf.Recovery
	for _, d := range s.top.Load().disks {
		if d.shelf != nil {
			out = append(out, d.shelf.Recovered)
		}
	}
	return out
}
