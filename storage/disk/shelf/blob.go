package shelf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"syscall"

	"polder.dev/polder/internal/bulk"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drive"
	"polder.dev/polder/storage/engine"
)

// A file holds the bytes of one blob, then the checksums of its blocks, then a foot.
const (
	blockBytes = storage.HandoverBlock
	footBytes  = 40
	fileMagic  = "PLDRBLB\x01"
)

func (s *Shelf) filePath(id uint64) string {
	return path.Join(s.dir, "blobs", fmt.Sprintf("%02x", id>>56), fmt.Sprintf("%016x", id))
}

// foot ends a file.
type foot struct {
	id    uint64
	size  int64
	table uint32 // checksum of the checksums
}

func (f foot) encode() []byte {
	b := make([]byte, footBytes)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint64(b[8:], f.id)
	binary.LittleEndian.PutUint64(b[16:], uint64(f.size))
	binary.LittleEndian.PutUint32(b[24:], blockBytes)
	binary.LittleEndian.PutUint32(b[28:], f.table)
	binary.LittleEndian.PutUint32(b[36:], checksum(b[:36]))
	return b
}

func decodeFoot(b []byte) (foot, bool) {
	if len(b) != footBytes || string(b[:8]) != fileMagic || binary.LittleEndian.Uint32(b[36:]) != checksum(b[:36]) {
		return foot{}, false
	}
	f := foot{binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:])), binary.LittleEndian.Uint32(b[28:])}
	return f, binary.LittleEndian.Uint32(b[24:]) == blockBytes
}

func blocks(size int64) int64 { return (size + blockBytes - 1) / blockBytes }

// Stage is a file that is being written: an engine.Stage.
type Stage struct {
	s     *Shelf
	id    uint64
	file  drive.File
	sums  storage.Sums // of what it holds
	from  string       // the name it had before it was taken over; "" for one that was made here
	ended bool         // the foot is written
	done  bool         // committed or discarded
}

// Stage begins a file for size bytes, or 0 where that is unknown.
func (s *Shelf) Stage(size int64) (*Stage, error) {
	return s.stage(size, func(g *Stage) (err error) {
		name := s.filePath(g.id)
		if g.file, err = s.fs.Create(name); err == nil && size > 0 {
			if err = g.file.Allocate(size + blocks(size)*4 + footBytes); err != nil {
				_ = g.file.Close()
				_ = s.fs.Remove(name)
			}
		}
		return err
	})
}

// Take makes a stage of a file that is whole, by giving it a name here, or returns
// storage.ErrNoHandover. Discard gives the file back.
func (s *Shelf) Take(h *storage.Handover) (*Stage, error) {
	return s.stage(blocks(h.Size)*4+footBytes, func(g *Stage) (err error) {
		if g.file, err = s.fs.Open(h.Path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is no file %s", storage.ErrInvalid, h.Path)
		} else if err != nil {
			return err
		}
		size, err := g.file.Size()
		if err == nil && (size != h.Size || int64(len(h.Sums)) != blocks(size)) {
			err = fmt.Errorf("%w: %s has %d bytes, and not %d with %d checksums", storage.ErrDigest, h.Path, size, h.Size, len(h.Sums))
		}
		if err == nil {
			err = s.fs.Rename(h.Path, s.filePath(g.id))
		}
		if err != nil {
			_ = g.file.Close()
		}
		if errors.Is(err, syscall.EXDEV) {
			err = fmt.Errorf("%w: %s is on another file system", storage.ErrNoHandover, h.Path)
		}
		g.from, g.sums = h.Path, storage.Sums{Size: h.Size, Blocks: h.Sums}
		return err
	})
}

// stage begins a stage that takes so many bytes more, whose file comes by open.
func (s *Shelf) stage(more int64, open func(*Stage) error) (*Stage, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if err := s.room(more); err != nil {
		return nil, err
	}
	if err := s.Hold(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	g := &Stage{s: s, id: s.rng.Uint64()}
	s.staged[g.id] = true
	s.mu.Unlock()
	if err := open(g); err != nil {
		s.unstage(g.id)
		s.Let()
		return nil, full(fmt.Errorf("staging a file: %w", err))
	}
	return g, nil
}

func (s *Shelf) unstage(id uint64) {
	s.mu.Lock()
	delete(s.staged, id)
	s.mu.Unlock()
}

func (g *Stage) Write(p []byte) (int, error) {
	if _, err := g.file.WriteAt(p, g.sums.Size); err != nil {
		return 0, full(fmt.Errorf("writing a file: %w", err))
	}
	return g.sums.Write(p)
}

// end writes the foot, and syncs if asked to.
func (g *Stage) end(sync bool) error {
	if g.ended {
		return nil
	}
	size := g.sums.Size
	b := make([]byte, 0, len(g.sums.Blocks)*4+footBytes)
	for _, s := range g.sums.Blocks {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	b = append(b, foot{g.id, size, checksum(b)}.encode()...)
	if _, err := g.file.WriteAt(b, size); err != nil {
		return full(fmt.Errorf("ending a file: %w", err))
	}
	if err := g.file.Truncate(size + int64(len(b))); err != nil {
		return full(fmt.Errorf("ending a file: %w", err))
	}
	g.ended = true
	if sync {
		return g.sync()
	}
	return nil
}

func (g *Stage) sync() error {
	if err := g.file.Sync(); err != nil {
		return fmt.Errorf("syncing a file: %w", err)
	}
	if err := g.s.fs.SyncDir(path.Dir(g.s.filePath(g.id))); err != nil {
		return fmt.Errorf("syncing a file's directory: %w", err)
	}
	return nil
}

// Discard removes a file that was not committed.
func (g *Stage) Discard() {
	if g.done {
		return
	}
	g.done = true
	if g.from == "" || !g.giveBack() {
		_ = g.s.fs.Remove(g.s.filePath(g.id)) // what is left is found as an orphan
	}
	_ = g.file.Close()
	g.s.unstage(g.id)
	g.s.Let()
}

// giveBack makes a file again what it was before it was taken over, so that its owner may
// try once more.
func (g *Stage) giveBack() bool {
	return g.file.Truncate(g.sums.Size) == nil && g.s.fs.Rename(g.s.filePath(g.id), g.from) == nil
}

// CopyTo writes what was staged to another stage.
func (g *Stage) CopyTo(to *Stage) error {
	_, err := io.Copy(to, io.NewSectionReader(g.file, 0, g.sums.Size))
	return err
}

// full makes of the system's error that a disk is full one that callers know.
func full(err error) error {
	if errors.Is(err, errNoSpace) {
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}

// fileBlob reads a file: an engine.Blob.
type fileBlob struct {
	s    *Shelf
	id   uint64
	size int64

	once bool
	mu   sync.Mutex
	file drive.File
	sums []byte
}

func (b *fileBlob) Once() { b.once = true }

func (s *Shelf) openFile(t *item) (engine.Blob, error) {
	if err := s.Hold(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	dying := s.dying[t.file]
	s.pins[t.file]++
	s.mu.Unlock()
	b := &fileBlob{s: s, id: t.file, size: t.size}
	if dying {
		return nil, errors.Join(engine.ErrGone, b.Close())
	}
	_, _, err := s.fs.Stat(s.filePath(t.file))
	if err == nil {
		return b, nil
	}
	_ = b.Close()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, engine.ErrGone
	}
	return nil, fmt.Errorf("opening a file: %w", err)
}

// open returns the file and the checksums, read and verified once.
func (b *fileBlob) open() (drive.File, []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		f, err := b.s.fs.Open(b.s.filePath(b.id))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
		}
		b.file = f
	}
	if b.sums == nil {
		sums, err := readSums(b.file, b.id, b.size)
		if err != nil {
			return nil, nil, err
		}
		b.sums = sums
	}
	return b.file, b.sums, nil
}

// readSums reads the checksums behind the data.
func readSums(f drive.File, id uint64, size int64) ([]byte, error) {
	n := blocks(size) * 4
	tail := make([]byte, n+footBytes)
	if m, err := f.ReadAt(tail, size); m < len(tail) {
		if err == io.EOF {
			err = errors.New("it is too short")
		}
		return nil, fmt.Errorf("%w: file %016x: %w", storage.ErrCorrupt, id, err)
	}
	if ft, ok := decodeFoot(tail[n:]); !ok || ft.id != id || ft.size != size || ft.table != checksum(tail[:n]) {
		return nil, fmt.Errorf("%w: file %016x: its checksums are damaged", storage.ErrCorrupt, id)
	}
	return tail[:n], nil
}

func (b *fileBlob) ReadAt(p []byte, off int64) (int, error) {
	f, sums, err := b.open()
	if err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && off < b.size {
		at := off % blockBytes
		left := min(int64(len(p)-n), b.size-off)
		end := off - at + blockBytes // of the block
		var k int64
		if at == 0 && (left >= blockBytes || left == b.size-off) {
			k = left
			if off+left < b.size {
				k = left / blockBytes * blockBytes
			}
			k, err = b.blocksAt(f, sums, p[n:int64(n)+k], off)
		} else {
			k, err = b.within(f, sums, p[n:int64(n)+left], off, min(end, b.size))
		}
		n, off = n+int(k), off+k
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// blocksAt reads whole blocks into p, and returns how much of them is undamaged.
func (b *fileBlob) blocksAt(f drive.File, sums, p []byte, off int64) (int64, error) {
	m, err := b.read(f, p, off)
	if m < len(p) {
		return 0, fmt.Errorf("%w: file %016x at %d: %w", storage.ErrCorrupt, b.id, off, err)
	}
	for at := 0; at < len(p); at += blockBytes {
		block := p[at:min(at+blockBytes, len(p))]
		i := (off + int64(at)) / blockBytes
		if checksum(block) != binary.LittleEndian.Uint32(sums[i*4:]) {
			return int64(at), fmt.Errorf("%w: file %016x, block %d", storage.ErrCorrupt, b.id, i)
		}
	}
	return int64(len(p)), nil
}

func (b *fileBlob) read(f drive.File, p []byte, off int64) (int, error) {
	if real := f.OS(); b.once && real != nil {
		return bulk.ReadAt(real, p, off)
	}
	return f.ReadAt(p, off)
}

var blockPool = sync.Pool{New: func() any { b := make([]byte, blockBytes); return &b }}

// within reads part of the block that ends at end.
func (b *fileBlob) within(f drive.File, sums, p []byte, off, end int64) (int64, error) {
	begin := off / blockBytes * blockBytes
	buf := blockPool.Get().(*[]byte)
	defer blockPool.Put(buf)
	block := (*buf)[:end-begin]
	if _, err := b.blocksAt(f, sums, block, begin); err != nil {
		return 0, err
	}
	return int64(copy(p, block[off-begin:])), nil
}

// Extents verifies what it names by reading it.
func (b *fileBlob) Extents(off, n int64) ([]storage.Extent, error) {
	f, sums, err := b.open()
	if err != nil {
		return nil, err
	}
	if f.OS() == nil {
		p := make([]byte, n)
		if _, err := b.ReadAt(p, off); err != nil {
			return nil, err
		}
		return []storage.Extent{{Length: n, Bytes: p}}, nil
	}
	buf := blockPool.Get().(*[]byte)
	defer blockPool.Put(buf)
	for at := off / blockBytes * blockBytes; at < off+n; at += blockBytes {
		if _, err := b.blocksAt(f, sums, (*buf)[:min(blockBytes, b.size-at)], at); err != nil {
			return nil, err
		}
	}
	return []storage.Extent{{File: f.OS(), Offset: off, Length: n}}, nil
}

func (b *fileBlob) Idle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		_ = b.file.Close() // it was only read
		b.file = nil
	}
}

// Close unpins the file; the last to do so removes one that was replaced meanwhile.
func (b *fileBlob) Close() error {
	defer b.s.Let()
	b.Idle()
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.s.pins[b.id]--; b.s.pins[b.id] == 0 {
		delete(b.s.pins, b.id)
		if b.s.doomed[b.id] {
			delete(b.s.doomed, b.id)
			b.s.bury(b.id)
			b.s.wake()
		}
	}
	return nil
}

// inlineBlob reads data in a volume: an engine.Blob.
type inlineBlob struct {
	s *Shelf
	t *item
	v *volume

	once sync.Once
	data []byte
	err  error
}

func (s *Shelf) openInline(t *item) (engine.Blob, error) {
	if err := s.Hold(); err != nil {
		return nil, err
	}
	v := s.pin(t.vol)
	if v == nil {
		s.Let()
		return nil, engine.ErrGone
	}
	return &inlineBlob{s: s, t: t, v: v}, nil
}

// readInline reads all of the data into p, which is as long.
func readInline(v *volume, t *item, p []byte) error {
	if n, err := v.file.ReadAt(p, t.at); n < len(p) {
		return fmt.Errorf("%w: volume %d at %d: %w", storage.ErrCorrupt, t.vol, t.at, err)
	}
	if checksum(p) != t.sum {
		return fmt.Errorf("%w: volume %d at %d", storage.ErrCorrupt, t.vol, t.at)
	}
	return nil
}

func (b *inlineBlob) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 && int64(len(p)) >= b.t.size { // all at once: no other copy is needed
		if err := readInline(b.v, b.t, p[:b.t.size]); err != nil {
			return 0, err
		}
		if int64(len(p)) > b.t.size {
			return int(b.t.size), io.EOF
		}
		return len(p), nil
	}
	if err := b.load(); err != nil {
		return 0, err
	}
	n := copy(p, b.data[min(off, b.t.size):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *inlineBlob) load() error {
	b.once.Do(func() {
		b.data = make([]byte, b.t.size)
		b.err = readInline(b.v, b.t, b.data)
	})
	return b.err
}

// Extents are in memory: what is small is not worth a call to the kernel for each.
func (b *inlineBlob) Extents(off, n int64) ([]storage.Extent, error) {
	if err := b.load(); err != nil {
		return nil, err
	}
	return []storage.Extent{{Length: n, Bytes: b.data[off : off+n : off+n]}}, nil
}

func (b *inlineBlob) Once() {}

func (b *inlineBlob) Idle() {}

func (b *inlineBlob) Close() error {
	defer b.s.Let()
	return b.s.unpin(b.v)
}

// Open pins the blob of an entry of this shelf, or returns engine.ErrGone.
func (s *Shelf) Open(p Place) (engine.Blob, error) {
	if p.kind == kindInline {
		return s.openInline(p.item)
	}
	return s.openFile(p.item)
}
