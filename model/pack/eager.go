package pack

import "os"

const (
	// copyBytes is how much is read and written at once.
	copyBytes = 256 << 10
	// eagerBytes is how much is written before the disk is told to begin.
	eagerBytes = 8 << 20
)

// eager is a file that the disk begins to write while more of it still comes. It is
// synced in the end, and the kernel by itself would leave all of it until then.
type eager struct {
	file           *os.File
	begun, written int64
}

// Write implements io.Writer.
func (e *eager) Write(b []byte) (int, error) {
	n, err := e.file.Write(b)
	if e.written += int64(n); e.written-e.begun >= eagerBytes {
		begin(e.file, e.begun, e.written-e.begun)
		e.begun = e.written
	}
	return n, err
}
