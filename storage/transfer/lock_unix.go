//go:build unix

package transfer

import (
	"os"
	"syscall"
)

// lockFile locks f for this open file until it is closed, or fails at once.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
