package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// A small reader of Protocol Buffers that never holds more than a window: what a file
// claims to be long is passed over, not read. The library reads from memory alone, and
// models are larger than that.

const windowBytes = 64 << 10

var errBroken = errors.New("the file is cut off, or is no ONNX model")

// window is a file, of which a part is in memory.
type window struct {
	r     io.ReaderAt
	size  int64
	from  int64
	bytes []byte
}

// at returns the byte at i.
func (w *window) at(i int64) (byte, error) {
	if i < w.from || i >= w.from+int64(len(w.bytes)) {
		if i < 0 || i >= w.size {
			return 0, errBroken
		}
		n := min(windowBytes, w.size-i)
		if int64(cap(w.bytes)) < n {
			w.bytes = make([]byte, n)
		}
		w.bytes = w.bytes[:n]
		if _, err := w.r.ReadAt(w.bytes, i); err != nil && !errors.Is(err, io.EOF) {
			w.bytes = w.bytes[:0]
			return 0, fmt.Errorf("reading: %w", err)
		}
		w.from = i
	}
	return w.bytes[i-w.from], nil
}

// message is a part of the file: fields, one after the other.
type message struct {
	w        *window
	pos, end int64
}

// field is one field of a message: a number, or a part of the file.
type field struct {
	number int32
	value  uint64
	body   message // where the field has a length
	long   bool
}

// next returns the next field, or false at the end.
func (m *message) next() (field, bool, error) {
	if m.pos >= m.end {
		return field{}, false, nil
	}
	key, err := m.varint()
	if err != nil {
		return field{}, false, err
	}
	if key>>3 == 0 || key>>3 > math.MaxInt32>>3 {
		return field{}, false, errBroken
	}
	f := field{number: int32(key >> 3)}
	switch key & 7 {
	case 0:
		f.value, err = m.varint()
	case 1:
		f.value, err = m.fixed(8)
	case 5:
		f.value, err = m.fixed(4)
	case 2:
		var n uint64
		if n, err = m.varint(); err != nil {
			break
		}
		if n > uint64(m.end-m.pos) {
			return field{}, false, errBroken
		}
		f.long, f.body = true, message{m.w, m.pos, m.pos + int64(n)}
		m.pos += int64(n)
	default:
		err = errBroken
	}
	return f, err == nil, err
}

func (m *message) varint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if m.pos >= m.end {
			return 0, errBroken
		}
		b, err := m.w.at(m.pos)
		if err != nil {
			return 0, err
		}
		m.pos++
		if shift == 63 && b > 1 {
			return 0, errBroken
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errBroken
}

func (m *message) fixed(n int64) (uint64, error) {
	if m.end-m.pos < n {
		return 0, errBroken
	}
	var b [8]byte
	for i := range n {
		var err error
		if b[i], err = m.w.at(m.pos + i); err != nil {
			return 0, err
		}
	}
	m.pos += n
	return binary.LittleEndian.Uint64(b[:]), nil
}

// size in bytes.
func (m message) size() int64 { return m.end - m.pos }

// text reads the message as a string of at most bytesMax bytes.
func (m message) text(bytesMax int64) (string, error) {
	if m.size() > bytesMax {
		return "", fmt.Errorf("a name in it has %d bytes, at most %d are read", m.size(), bytesMax)
	}
	b := make([]byte, 0, m.size())
	for ; m.pos < m.end; m.pos++ {
		c, err := m.w.at(m.pos)
		if err != nil {
			return "", err
		}
		b = append(b, c)
	}
	return string(b), nil
}
