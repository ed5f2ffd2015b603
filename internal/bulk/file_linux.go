package bulk

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// dontCache is RWF_DONTCACHE of include/uapi/linux/fs.h (Linux 6.14, and file systems
// that know it): what memory has is taken from there, and what it has not goes through
// it at once.
const dontCache = 0x80

func readPast(f *os.File, b []byte, off int64) (int, error) {
	n, err := past(f, "read", func(fd int) (int, error) { return unix.Preadv2(fd, [][]byte{b}, off, dontCache) })
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

func writePast(f *os.File, b []byte) (int, error) {
	n, err := past(f, "write", func(fd int) (int, error) { return unix.Pwritev2(fd, [][]byte{b}, here, dontCache) })
	if n == 0 && err == nil {
		return 0, io.ErrShortWrite
	}
	return n, err
}

// past calls do with f's descriptor, again when it was interrupted.
func past(f *os.File, op string, do func(fd int) (int, error)) (n int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := error(unix.EINTR)
	err = c.Control(func(fd uintptr) {
		for errors.Is(failed, unix.EINTR) {
			n, failed = do(int(fd))
		}
	})
	if err != nil {
		failed = os.ErrClosed
	}
	if failed != nil {
		return 0, &os.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return n, nil
}

// cannot says whether err is that of a kernel or a file system without dontCache.
func cannot(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

// begin has the kernel write the last n bytes before f's offset. What fails, the sync in
// the end tells.
func begin(f *os.File, n int64) {
	if end, err := f.Seek(0, io.SeekCurrent); err == nil {
		_ = unix.SyncFileRange(int(f.Fd()), end-n, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
