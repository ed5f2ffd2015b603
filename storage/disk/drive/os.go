package drive

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OS is the machine's file system.
type OS struct{}

var _ FS = OS{}

func (OS) Create(name string) (File, error) {
	return opened(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600))
}

func (OS) Open(name string) (File, error) { return opened(os.OpenFile(name, os.O_RDWR, 0)) }

func opened(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (OS) Remove(name string) error     { return os.Remove(name) }
func (OS) Rename(from, to string) error { return os.Rename(from, to) }
func (OS) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o700) }

func (OS) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (OS) Stat(name string) (int64, bool, error) {
	i, err := os.Stat(name)
	if err != nil {
		return 0, false, err
	}
	return i.Size(), i.IsDir(), nil
}

func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s, which another program may hold: %w", name, err)
	}
	return f, nil
}

func (OS) Room(dir string) (int64, int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("room of %s: %w", dir, err)
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, nil
}

type file struct{ *os.File }

func (f file) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// Allocate does without where the file system cannot.
func (f file) Allocate(n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

func (f file) Sync() error  { return unix.Fdatasync(int(f.Fd())) }
func (f file) OS() *os.File { return f.File }
