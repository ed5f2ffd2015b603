package bulk

import "os"

// here is an offset, and means that of the file.
const here = -1

const (
	// pastBytes are the least that is moved past memory: small files are asked for often.
	pastBytes = 64 << 10
	// beginBytes are written before the disk is told to begin with them.
	beginBytes = 8 << 20
)

// File reads or writes a file from its offset on. The disk works while more still comes;
// by itself the kernel leaves what is written until somebody waits for it. It is for one
// goroutine.
type File struct {
	f     *os.File
	keep  bool
	dirty int64 // written since the disk was told
}

// NewFile returns f as a File. Without keep, what is read and written in large parts is
// not left in the machine's memory, where the system can do that: who does not need it
// again at once should not displace what others need, and memory that is used again and
// again costs less than such that the machine has to find.
func NewFile(f *os.File, keep bool) *File { return &File{f: f, keep: keep} }

// Read implements io.Reader.
func (f *File) Read(b []byte) (int, error) {
	if f.past(b) {
		n, err := readPast(f.f, b, here)
		if !f.refused(err) {
			return n, err
		}
	}
	return f.f.Read(b)
}

// Write implements io.Writer.
func (f *File) Write(b []byte) (n int, err error) {
	for f.past(b[n:]) {
		m, err := writePast(f.f, b[n:])
		if f.refused(err) {
			break
		}
		if n += m; err != nil {
			return n, err
		}
	}
	m, err := f.f.Write(b[n:])
	if f.dirty += int64(m); f.dirty >= beginBytes {
		begin(f.f, f.dirty)
		f.dirty = 0
	}
	return n + m, err
}

// ReadAt is f's ReadAt, but that a large part that memory does not have is not left there.
func ReadAt(f *os.File, b []byte, off int64) (n int, err error) {
	for len(b)-n >= pastBytes {
		m, err := readPast(f, b[n:], off+int64(n))
		if cannot(err) {
			break
		}
		if n += m; err != nil {
			return n, err
		}
	}
	if n == len(b) {
		return n, nil
	}
	m, err := f.ReadAt(b[n:], off+int64(n))
	return n + m, err
}

func (f *File) past(b []byte) bool { return !f.keep && len(b) >= pastBytes }

// refused says whether err means that the system cannot move bytes past memory. It is
// not asked again.
func (f *File) refused(err error) bool {
	f.keep = cannot(err)
	return f.keep
}
