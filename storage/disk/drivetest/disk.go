// Package drivetest is a disk in memory whose power can be cut: what was not synced is
// then lost, kept or torn at the borders of sectors, at random. It can also be full,
// fail to read, and rot. Only tests import it.
package drivetest

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"polder.dev/polder/storage/disk/drive"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Disk implements drive.FS. Its zero value is empty and has no bounds.
type Disk struct {
	// Fail, if set, may make an operation fail: "read", "write", "sync", "create",
	// "remove", "rename". It is called with the disk locked, and set before use.
	Fail func(op, name string) error
	// BytesMax that files may have together; 0 is without bounds.
	BytesMax int64

	mu    sync.Mutex
	files map[string]*node
	kept  map[string]*node // the names that would outlive a power cut
	todo  map[string][]change
	dirs  map[string]bool
	locks map[string]bool
	bytes int64
	dead  bool
}

var _ drive.FS = (*Disk)(nil)

// change of a directory that was not synced yet.
type change struct {
	name string
	node *node // nil removes the name
}

// node is a file. Its durable form has the sectors of what was synced.
type node struct {
	data, durable []byte
	dirty         map[int64]bool // sectors
}

func (d *Disk) fail(op, name string) error {
	if d.Fail == nil || d.dead {
		return nil
	}
	return d.Fail(op, name)
}

func (d *Disk) enter() func() {
	d.mu.Lock()
	if d.files == nil {
		d.files, d.kept, d.todo, d.dirs, d.locks = map[string]*node{}, map[string]*node{}, map[string][]change{}, map[string]bool{}, map[string]bool{}
	}
	return d.mu.Unlock
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

func (d *Disk) set(name string, n *node) {
	if n == nil {
		d.bytes -= int64(len(d.files[name].data))
		delete(d.files, name)
	} else {
		d.files[name] = n
	}
	if !d.dead {
		d.todo[path.Dir(name)] = append(d.todo[path.Dir(name)], change{name, n})
	}
}

func (d *Disk) Create(name string) (drive.File, error) {
	defer d.enter()()
	if err := d.fail("create", name); err != nil {
		return nil, err
	}
	if !d.dirs[path.Dir(name)] {
		return nil, notExist("create", name)
	}
	if d.files[name] != nil {
		d.set(name, nil)
	}
	n := &node{dirty: map[int64]bool{}}
	d.set(name, n)
	return &handle{d, n, name}, nil
}

func (d *Disk) Open(name string) (drive.File, error) {
	defer d.enter()()
	if n := d.files[name]; n != nil {
		return &handle{d, n, name}, nil
	}
	return nil, notExist("open", name)
}

func (d *Disk) Remove(name string) error {
	defer d.enter()()
	if err := d.fail("remove", name); err != nil {
		return err
	}
	if d.dirs[name] {
		delete(d.dirs, name)
		return nil
	}
	if d.files[name] == nil {
		return notExist("remove", name)
	}
	d.set(name, nil)
	return nil
}

func (d *Disk) Rename(from, to string) error {
	defer d.enter()()
	if err := d.fail("rename", from); err != nil {
		return err
	}
	n := d.files[from]
	if n == nil {
		return notExist("rename", from)
	}
	if d.files[to] != nil {
		d.bytes -= int64(len(d.files[to].data))
	}
	delete(d.files, from)
	d.files[to] = n
	if !d.dead { // both names change, or neither does
		d.todo[path.Dir(to)] = append(d.todo[path.Dir(to)], change{from, nil}, change{to, n})
	}
	return nil
}

// MkdirAll is durable at once: directories are made once, when a disk is set up.
func (d *Disk) MkdirAll(dir string) error {
	defer d.enter()()
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		d.dirs[dir] = true
	}
	d.dirs["/"] = true
	return nil
}

func (d *Disk) List(dir string) ([]string, error) {
	defer d.enter()()
	if !d.dirs[dir] {
		return nil, notExist("list", dir)
	}
	var out []string
	for name := range d.files {
		if path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	for name := range d.dirs {
		if path.Dir(name) == dir && name != dir {
			out = append(out, path.Base(name))
		}
	}
	return out, nil
}

func (d *Disk) Stat(name string) (int64, bool, error) {
	defer d.enter()()
	if n := d.files[name]; n != nil {
		return int64(len(n.data)), false, nil
	}
	if d.dirs[name] {
		return 0, true, nil
	}
	return 0, false, notExist("stat", name)
}

func (d *Disk) SyncDir(dir string) error {
	defer d.enter()()
	if err := d.fail("sync", dir); err != nil {
		return err
	}
	if !d.dead {
		for _, c := range d.todo[dir] {
			d.keep(c)
		}
		delete(d.todo, dir)
	}
	return nil
}

func (d *Disk) keep(c change) {
	if c.node == nil {
		delete(d.kept, c.name)
	} else {
		d.kept[c.name] = c.node
	}
}

func (d *Disk) Lock(name string) (io.Closer, error) {
	defer d.enter()()
	if d.locks[name] {
		return nil, fmt.Errorf("%s is locked", name)
	}
	d.locks[name] = true
	return closer(func() error {
		defer d.enter()()
		delete(d.locks, name)
		return nil
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func (d *Disk) Room(string) (int64, int64, error) {
	defer d.enter()()
	if d.BytesMax == 0 {
		return 1 << 40, 1 << 40, nil
	}
	return d.BytesMax, max(d.BytesMax-d.bytes, 0), nil
}

// Names lists the files whose path holds text.
func (d *Disk) Names(text string) []string {
	defer d.enter()()
	var out []string
	for name := range d.files {
		if strings.Contains(name, text) {
			out = append(out, name)
		}
	}
	return out
}

// Flip damages a bit at random in the first n bytes from off on of a file.
func (d *Disk) Flip(rng *rand.Rand, name string, off, n int64) {
	defer d.enter()()
	f := d.files[name]
	at := off + rng.Int64N(min(n, int64(len(f.data))-off))
	bit := byte(1) << rng.IntN(8)
	f.data[at] ^= bit
	if at < int64(len(f.durable)) {
		f.durable[at] ^= bit
	}
}

// handle is an open file; it outlives the file's name.
type handle struct {
	d    *Disk
	n    *node
	name string
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	defer h.d.enter()()
	if err := h.d.fail("read", h.name); err != nil {
		return 0, err
	}
	if off >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	defer h.d.enter()()
	if err := h.d.fail("write", h.name); err != nil {
		return 0, err
	}
	if err := h.grow(off + int64(len(p))); err != nil {
		return 0, err
	}
	copy(h.n.data[off:], p)
	if len(p) > 0 {
		h.soil(off, off+int64(len(p)))
	}
	return len(p), nil
}

func (h *handle) soil(from, to int64) {
	for s := from / sector; s <= (to-1)/sector; s++ {
		h.n.dirty[s] = true
	}
}

func (h *handle) grow(size int64) error {
	more := size - int64(len(h.n.data))
	if more <= 0 {
		return nil
	}
	if h.d.BytesMax > 0 && h.d.bytes+more > h.d.BytesMax {
		return &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
	}
	h.d.bytes += more
	h.n.data = append(h.n.data, make([]byte, more)...)
	return nil
}

func (h *handle) Truncate(size int64) error {
	defer h.d.enter()()
	if err := h.d.fail("write", h.name); err != nil {
		return err
	}
	if old := int64(len(h.n.data)); size < old {
		h.d.bytes -= old - size
		h.n.data = h.n.data[:size:size]
		h.soil(size, old)
		return nil
	}
	return h.grow(size)
}

func (h *handle) Allocate(n int64) error {
	defer h.d.enter()()
	return h.grow(n)
}

func (h *handle) Size() (int64, error) {
	defer h.d.enter()()
	return int64(len(h.n.data)), nil
}

func (h *handle) Sync() error {
	defer h.d.enter()()
	if err := h.d.fail("sync", h.name); err != nil {
		return err
	}
	if h.d.dead {
		return nil
	}
	h.n.durable = resize(h.n.durable, len(h.n.data))
	for s := range h.n.dirty {
		if at := s * sector; at < int64(len(h.n.data)) {
			copy(h.n.durable[at:min(at+sector, int64(len(h.n.data)))], h.n.data[at:])
		}
	}
	clear(h.n.dirty)
	return nil
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

func (h *handle) Close() error { return nil }
func (h *handle) OS() *os.File { return nil }
