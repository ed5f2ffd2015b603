package device

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// numbers are a device file's major and minor number.
func numbers(info fs.FileInfo) (major, minor int64) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return int64(unix.Major(s.Rdev)), int64(unix.Minor(s.Rdev))
}
