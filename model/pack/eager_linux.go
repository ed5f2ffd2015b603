package pack

import (
	"os"
	"syscall"
)

// writebackStart is SYNC_FILE_RANGE_WRITE: begin, and do not wait.
const writebackStart = 2

// begin has the kernel write a part of f. What fails, the sync at the end tells.
func begin(f *os.File, offset, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), offset, n, writebackStart)
}
