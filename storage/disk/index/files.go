package index

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"polder.dev/polder/storage/disk/drive"
)

// files shows a drive.FS to Pebble. Tests use it; on a real disk Pebble has its own.
type files struct{ fs drive.FS }

func (f files) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return seen(f.fs.Create(name))
}

func (f files) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	if _, dir, err := f.fs.Stat(name); err == nil && dir {
		return f.OpenDir(name)
	}
	return seen(f.fs.Open(name))
}

func (f files) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f.Create(name, c)
	}
	return seen(file, err)
}

func (f files) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.fs.Rename(old, name); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(name, c)
}

func (f files) OpenDir(name string) (vfs.File, error) { return &file{dir: name, fs: f.fs}, nil }
func (f files) Link(string, string) error             { return errors.ErrUnsupported }
func (f files) Remove(name string) error              { return f.fs.Remove(name) }
func (f files) Rename(from, to string) error          { return f.fs.Rename(from, to) }
func (f files) MkdirAll(dir string, _ os.FileMode) error {
	return f.fs.MkdirAll(dir)
}
func (f files) Lock(name string) (io.Closer, error) { return f.fs.Lock(name) }
func (f files) List(dir string) ([]string, error)   { return f.fs.List(dir) }
func (f files) PathBase(p string) string            { return path.Base(p) }
func (f files) PathJoin(elem ...string) string      { return path.Join(elem...) }
func (f files) PathDir(p string) string             { return path.Dir(p) }
func (f files) Unwrap() vfs.FS                      { return nil }

func (f files) RemoveAll(name string) error {
	names, err := f.fs.List(name)
	if err != nil {
		return f.fs.Remove(name)
	}
	for _, n := range names {
		if err := f.RemoveAll(path.Join(name, n)); err != nil {
			return err
		}
	}
	return nil
}

func (f files) Stat(name string) (vfs.FileInfo, error) {
	size, dir, err := f.fs.Stat(name)
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), size, dir}, nil
}

func (f files) GetDiskUsage(p string) (vfs.DiskUsage, error) {
	total, free, err := f.fs.Room(p)
	return vfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: uint64(total), UsedBytes: uint64(total - free)}, err
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) IsDir() bool                { return i.dir }
func (i info) ModTime() time.Time         { return time.Time{} }
func (i info) Sys() any                   { return nil }
func (i info) DeviceID() (d vfs.DeviceID) { return d }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

// file is a file, which is read and written on from where it stands, or a directory.
type file struct {
	drive.File
	at  int64
	dir string
	fs  drive.FS
}

func seen(f drive.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: f}, nil
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *file) Close() error {
	if f.dir != "" {
		return nil
	}
	return f.File.Close()
}

func (f *file) Sync() error {
	if f.dir != "" {
		return f.fs.SyncDir(f.dir)
	}
	return f.File.Sync()
}

func (f *file) Stat() (vfs.FileInfo, error) {
	if f.dir != "" {
		return info{f.dir, 0, true}, nil
	}
	size, err := f.Size()
	return info{"", size, false}, err
}

func (f *file) SyncData() error              { return f.Sync() }
func (f *file) SyncTo(int64) (bool, error)   { return true, f.Sync() }
func (f *file) Preallocate(_, _ int64) error { return nil }
func (f *file) Prefetch(_, _ int64) error    { return nil }
func (f *file) Fd() uintptr                  { return vfs.InvalidFd }
