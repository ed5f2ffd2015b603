package kernlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is the log's, on this machine.
const File = "/dev/kmsg"

// recordBytesMax is more than the kernel makes of a message: 8 KiB up to Linux 6.6,
// less since. It refuses to read into less than it has.
const recordBytesMax = 16 << 10

// replayMax is how many records are read at most of what the kernel holds: more than its
// largest buffer has room for. Without it, one who writes faster than we read would keep
// a program that only looks once.
const replayMax = 1 << 20

// Log is the kernel's log, opened for one reader, at its beginning. It keeps one record
// at a time.
type Log struct {
	f   *os.File
	buf []byte
}

// Open opens that of the machine whose root directory is at root. It needs the right to read [File]: root's, or CAP_SYSLOG where
// kernel.dmesg_restrict is set.
func Open(root string) (*Log, error) {
	fd, err := unix.Open(filepath.Join(root, File), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", File, err)
	}
	return &Log{f: os.NewFile(uintptr(fd), File), buf: make([]byte, recordBytesMax)}, nil
}

// Close ends the use of the log, and a Follow that is going on.
func (l *Log) Close() error { return l.f.Close() }

// Replay passes on what the kernel holds and was not read yet, and does not wait.
func (l *Log) Replay(hear func(message string)) error {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("reading %s: %w", File, err)
	}
	left := replayMax
	err = l.each(func(b []byte) (n int, err error) {
		if left--; left < 0 {
			return 0, unix.EAGAIN
		}
		gone := raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), b)
			return true // also if there is nothing: it is not waited for
		})
		return n, errors.Join(gone, err)
	}, hear)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("reading %s: %w", File, err)
	}
	return nil
}

// Follow passes on what was not read yet and what comes, until ctx or the log ends.
func (l *Log) Follow(ctx context.Context, hear func(message string)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.f.Close() })
	defer stop()
	err := l.each(l.f.Read, hear)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("reading %s: %w", File, err)
}

// each passes on records until reading fails, one with each call of read.
func (l *Log) each(read func([]byte) (int, error), hear func(message string)) error {
	for {
		n, err := read(l.buf)
		switch {
		case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR):
			// The kernel overwrote records before we came to them, and stands at the
			// oldest that it still has; or a signal came.
			continue
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		}
		if message, ok := parse(l.buf[:n]); ok {
			hear(message)
		}
	}
}
