// Package wire takes bytes apart that encoding/binary put together, and remembers that
// it could not, so that who reads a format asks once, at its end.
//
// The rooms of storage may import it. It knows no format, holds no copy of the bytes, and
// never reads beyond them, whatever they are.
package wire

import "encoding/binary"

// Reader is what is left of some bytes. Once Bad is set nothing is left, and what it
// returned since means nothing.
type Reader struct {
	Left []byte
	Bad  bool
}

func (r *Reader) fail() { r.Bad, r.Left = true, nil }

// Uvarint reads a number from 0.
func (r *Reader) Uvarint() uint64 {
	n, k := binary.Uvarint(r.Left)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.Left = r.Left[k:]
	return n
}

// Varint reads a number that may be negative.
func (r *Reader) Varint() int64 {
	n, k := binary.Varint(r.Left)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.Left = r.Left[k:]
	return n
}

// Take reads n bytes, which stay those of the whole. Where there are fewer it returns
// zeros, of up to eight bytes, which is enough for a number.
func (r *Reader) Take(n uint64) []byte {
	if n > uint64(len(r.Left)) {
		r.fail()
		return make([]byte, min(n, 8))
	}
	out := r.Left[:n:n]
	r.Left = r.Left[n:]
	return out
}

// Bytes reads bytes behind their number.
func (r *Reader) Bytes() []byte { return r.Take(r.Uvarint()) }

// Uint32 reads four bytes, little-endian.
func (r *Reader) Uint32() uint32 { return binary.LittleEndian.Uint32(r.Take(4)) }

// Uint64 reads eight bytes, little-endian.
func (r *Reader) Uint64() uint64 { return binary.LittleEndian.Uint64(r.Take(8)) }
