package discovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// beneath is the files below a directory, out of which no link leads. It does what
// os.Root does, but has the kernel resolve a path in one call (openat2(2), Linux 5.6)
// where os.Root opens each directory on the way: sysfs is deep, and a machine's
// discovery took three times as long.
type beneath struct {
	top *os.File
	// resolve is RESOLVE_BENEATH or RESOLVE_IN_ROOT.
	resolve uint64
}

var (
	_ fs.ReadLinkFS = beneath{}
	_ fs.StatFS     = beneath{}
)

// openBeneath opens a directory that is a copy of a machine: a path that leads out of
// it is refused. On a kernel without openat2 it is os.Root.
func openBeneath(dir string) (files fs.FS, closeFiles func() error, err error) {
	b, err := openTop(dir, unix.RESOLVE_BENEATH)
	if err != nil {
		return nil, nil, err
	}
	probe, err := b.Open(".")
	if err == nil {
		return b, b.top.Close, probe.Close()
	}
	_ = b.top.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	return root.FS(), root.Close, nil
}

// openRoot opens a directory that is the root of a machine, such as that of the host
// in a container: a link to /usr means the usr in it. It needs openat2.
func openRoot(dir string) (files fs.FS, closeFiles func() error, err error) {
	b, err := openTop(dir, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, nil, err
	}
	return b, b.top.Close, nil
}

func openTop(dir string, resolve uint64) (beneath, error) {
	top, err := os.Open(dir)
	if err != nil {
		return beneath{}, err
	}
	info, err := top.Stat()
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	if err != nil {
		return beneath{}, errors.Join(err, top.Close())
	}
	return beneath{top, resolve}, nil
}

func (b beneath) open(op, name string, flags uint64) (*os.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: b.resolve | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(b.top.Fd()), name, &how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) { // the latter when something was renamed meanwhile
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// Open implements fs.FS. It does not wait for whoever writes a pipe.
func (b beneath) Open(name string) (fs.File, error) {
	f, err := b.open("open", name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err // and no file, which a nil *os.File in an interface would be
	}
	return f, nil
}

// ReadLink implements fs.ReadLinkFS.
func (b beneath) ReadLink(name string) (string, error) {
	dir, err := b.open("readlink", path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), path.Base(name), buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// Lstat implements fs.ReadLinkFS.
func (b beneath) Lstat(name string) (fs.FileInfo, error) {
	f, err := b.open("lstat", name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Stat implements fs.StatFS. It does not open the file: opening a device may do
// something to it.
func (b beneath) Stat(name string) (fs.FileInfo, error) {
	f, err := b.open("stat", name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}
