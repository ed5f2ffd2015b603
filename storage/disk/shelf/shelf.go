package shelf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path"
	"sync"
	"sync/atomic"
	"syscall"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drive"
	"polder.dev/polder/storage/disk/index"
	"polder.dev/polder/storage/engine"
)

var errNoSpace = syscall.ENOSPC

// Config is what a shelf is opened with. Zero values are the defaults.
type Config struct {
	FS  drive.FS
	Log *slog.Logger
	// VolumeBytes is how long a volume gets before the next begins; 1 GiB.
	VolumeBytes int64
	// CacheBytes is the memory of the index for what was read last; 64 MiB.
	CacheBytes int64
	// ReserveBytes stay free on the disk for what makes room: deletions, compaction and
	// the index; 256 MiB.
	ReserveBytes int64
	// FlushBytes of log, or an eighth of it in the index's memory, are replayed after a
	// crash at most; 512 MiB.
	FlushBytes int64
	// Replayed, if set, is told of each entry that Open's replay has changed.
	Replayed func(key []byte, rev uint64)
}

func (c Config) complete() Config {
	for _, d := range []struct {
		field *int64
		value int64
	}{{&c.VolumeBytes, 1 << 30}, {&c.CacheBytes, 64 << 20}, {&c.ReserveBytes, 256 << 20}, {&c.FlushBytes, 512 << 20}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// memtableShare of FlushBytes is what may gather in the index's memory.
const memtableShare = 16

// Shelf is one disk.
type Shelf struct {
	Config
	life
	dir   string
	fs    drive.FS
	log   *slog.Logger
	index *index.Index
	lock  io.Closer
	rng   *rand.Rand // s.mu; of salts and names of files

	failure atomic.Pointer[error]
	revMax  atomic.Uint64
	loose   atomic.Bool // something was committed and not synced

	mu      sync.Mutex
	volumes map[uint32]*volume
	staged  map[uint64]bool // files that no record names yet
	pins    map[uint64]int  // files that are read
	doomed  map[uint64]bool // files to be removed when they are not read any more
	frees   []uint64        // files to be removed once the log is durable
	parted  []uint64        // and once that is known, see free
	reap    []uint64        // files to be removed
	dying   map[uint64]bool // files that nobody may open any more, because they are removed
	wakeup  chan struct{}
	usage   map[string]storage.Count
	shared  map[position]bool // records that other disks may not have yet
	sharing bool              // there were such records

	queue queue

	// What follows is the leader's: who holds the lead, or nobody else runs.
	tail      *volume
	buf       []byte
	unsynced  []*Stage // files that were committed without a sync
	sinceLog  int64    // bytes of log since the last flush of the index
	sinceMem  int64    // bytes of changes of the index since then
	flushing  <-chan struct{}
	Recovered Recovery
}

// Recovery says what Open found after a crash.
type Recovery struct {
	Records int   // that were replayed
	Bytes   int64 // of log that was read
	Torn    int   // records that were not written in full
	Damaged int   // stretches of durable log that could not be read: entries may be lost
	Rebuilt bool  // the index was made anew
}

// Keys of the index's own. They come before all keys of entries.
var (
	keyMark   = []byte{0, 'w'} // how far the log is in the index
	keyShared = []byte{0, 's'} // from where on other disks may not have what this one has
)

func keyUsage(prefix string) []byte { return append([]byte{0, 'u'}, prefix...) }
func keyLive(vol uint32) []byte     { return binary.BigEndian.AppendUint32([]byte{0, 'l'}, vol) }
func keyFile(id uint64) []byte      { return binary.BigEndian.AppendUint64([]byte{0, 'f'}, id) }

// firstEntry is below the keys of all entries.
var firstEntry = []byte{1}

// Open opens a shelf in dir, or makes it there. After a crash it replays the log's end.
// Seed is of salts and names.
func Open(cfg Config, dir string, seed uint64) (*Shelf, error) {
	cfg = cfg.complete()
	s := &Shelf{
		Config: cfg, dir: dir, fs: cfg.FS, log: cfg.Log, rng: rand.New(rand.NewPCG(seed, 0)),
		volumes: map[uint32]*volume{}, staged: map[uint64]bool{}, pins: map[uint64]int{}, doomed: map[uint64]bool{}, dying: map[uint64]bool{},
		wakeup: make(chan struct{}, 1), usage: map[string]storage.Count{}, shared: map[position]bool{},
	}
	for _, d := range []string{"volumes", "blobs", "index"} {
		if err := s.fs.MkdirAll(path.Join(dir, d)); err != nil {
			return nil, fmt.Errorf("setting up %s: %w", dir, err)
		}
	}
	for i := range 256 {
		if err := s.fs.MkdirAll(path.Join(dir, "blobs", fmt.Sprintf("%02x", i))); err != nil {
			return nil, fmt.Errorf("setting up %s: %w", dir, err)
		}
	}
	var err error
	if s.lock, err = s.fs.Lock(path.Join(dir, "lock")); err != nil {
		return nil, err
	}
	s.users.Store(1)
	s.end = sync.OnceValue(s.close)
	s.mourn = func(err error) { s.log.Error("the disk could not be closed", "path", s.dir, "err", err) }
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the disk in %s: %w", dir, err), s.release())
	}
	return s, nil
}

// Dir is where the shelf lies.
func (s *Shelf) Dir() string { return s.dir }

// RevMax is the highest revision of any record.
func (s *Shelf) RevMax() uint64 { return s.revMax.Load() }

// Err is why the shelf does not work any more, or nil.
func (s *Shelf) Err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Shelf) usable() error {
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w: the disk in %s failed: %w", storage.ErrUnavailable, s.dir, err)
	}
	return nil
}

// fail ends all further writes. What the disk holds is known only when it is read anew.
func (s *Shelf) fail(err error) error {
	if s.failure.CompareAndSwap(nil, &err) {
		s.log.Error("the disk failed", "path", s.dir, "err", err)
	}
	return s.usable()
}

// room refuses n more bytes if the reserve would not be left.
func (s *Shelf) room(n int64) error {
	_, free, err := s.fs.Room(s.dir)
	if err != nil {
		return err
	}
	if free-n < s.ReserveBytes {
		return fmt.Errorf("%w: %d bytes are free in %s, and %d are kept in reserve", storage.ErrFull, free, s.dir, s.ReserveBytes)
	}
	return nil
}

// Room is that of the disk, less the reserve.
func (s *Shelf) Room() (total, free int64, err error) {
	total, free, err = s.fs.Room(s.dir)
	return total - s.ReserveBytes, max(free-s.ReserveBytes, 0), err
}

func (s *Shelf) item(key []byte) (*item, error) {
	b, ok, err := s.index.Get(key)
	if err != nil || !ok {
		return nil, err
	}
	return decodeItem(b)
}

// Get returns an entry.
func (s *Shelf) Get(key []byte) (engine.Entry, bool, error) {
	if err := errors.Join(s.usable(), s.Hold()); err != nil {
		return engine.Entry{}, false, err
	}
	defer s.Let()
	t, err := s.item(key)
	if err != nil || t == nil {
		return engine.Entry{}, false, err
	}
	return t.entry(s, key), true, nil
}

// Usage counts entries by the beginning of their keys.
func (s *Shelf) Usage(prefix []byte) storage.Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage[string(prefix)]
}

// release closes what is open.
func (s *Shelf) release() error {
	var errs []error
	if s.index != nil {
		errs = append(errs, s.index.Close())
	}
	for _, v := range s.volumes {
		errs = append(errs, v.file.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Close makes all durable and closes the files, whoever holds the shelf.
func (s *Shelf) Close() error {
	s.users.Store(-1 << 40)
	return s.end()
}

func (s *Shelf) close() error {
	err := s.Err()
	if err == nil {
		err = s.Checkpoint()
	}
	if err == nil {
		err = s.Reap()
	}
	return errors.Join(err, s.release())
}

// cursor implements engine.Cursor over the index.
type cursor struct {
	*index.Cursor
	s   *Shelf
	err error
}

// Scan goes through the entries in [from, to).
func (s *Shelf) Scan(from, to []byte, reverse bool) engine.Cursor {
	if len(from) == 0 {
		from = firstEntry
	}
	if err := errors.Join(s.usable(), s.Hold()); err != nil {
		return &cursor{err: err}
	}
	return &cursor{Cursor: s.index.Scan(from, to, reverse), s: s}
}

func (c *cursor) Next() bool           { return c.err == nil && c.Cursor.Next() }
func (c *cursor) Seek(key []byte) bool { return c.err == nil && c.Cursor.Seek(key) }

func (c *cursor) Entry() engine.Entry {
	t, err := decodeItem(append([]byte(nil), c.Value()...))
	if err != nil {
		c.err = err
		return engine.Entry{Key: append([]byte(nil), c.Key()...)}
	}
	return t.entry(c.s, append([]byte(nil), c.Key()...))
}

func (c *cursor) Close() error {
	if c.Cursor == nil {
		return c.err
	}
	defer c.s.Let()
	return errors.Join(c.err, c.Cursor.Close())
}
