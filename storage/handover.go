package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrNoHandover says that a store does not take over a file; nothing has become of it. Send
// its bytes.
var ErrNoHandover = errors.New("the file is not taken over")

// Handover is a body for Put that is a file on a disk of the store's machine already. A
// store whose disk has the file makes it the object's data by giving it another name:
// nothing is read or written again. Otherwise Put returns ErrNoHandover, as it does for
// all that would have to read the body: a tier that is written through, encryption, an
// MD5.
//
// From then on the file is the store's. Who hands it over has nobody else write to it, and
// it has no second name. The bytes are what Sums says: the store verifies them when it
// reads, and not now.
type Handover struct {
	// Path of the file, absolute.
	Path string
	Size int64
	// Sums are the CRC-32C of each HandoverBlock bytes.
	Sums []uint32
}

// HandoverBlock is how many bytes have one of the Sums; the last block may be shorter.
const HandoverBlock = 64 << 10

// Read implements io.Reader, for whoever knows nothing of handovers.
func (*Handover) Read([]byte) (int, error) { return 0, ErrNoHandover }

// HandoverHeader names the file, relative to the directory that both sides know, in a PUT
// whose body is what Encode returns.
const HandoverHeader = "X-Polder-Handover"

// Encode is the size and the sums, little-endian.
func (h *Handover) Encode() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+4*len(h.Sums)), uint64(h.Size))
	for _, s := range h.Sums {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return b
}

// DecodeHandover reads what Encode returned, for the file at path.
func DecodeHandover(path string, b []byte) (*Handover, error) {
	if len(b) < 8 || len(b)%4 != 0 {
		return nil, fmt.Errorf("%w: a handover of %d bytes", ErrInvalid, len(b))
	}
	h := &Handover{Path: path, Size: int64(binary.LittleEndian.Uint64(b)), Sums: make([]uint32, 0, len(b)/4-2)}
	for b = b[8:]; len(b) > 0; b = b[4:] {
		h.Sums = append(h.Sums, binary.LittleEndian.Uint32(b))
	}
	if n := int64(len(h.Sums)); h.Size <= (n-1)*HandoverBlock || h.Size > n*HandoverBlock {
		return nil, fmt.Errorf("%w: a handover of %d bytes with %d checksums", ErrInvalid, h.Size, n)
	}
	return h, nil
}

// Sums is the CRC-32C of each HandoverBlock of what is written to it.
type Sums struct {
	Size   int64
	Blocks []uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Write implements io.Writer. It never fails.
func (s *Sums) Write(p []byte) (int, error) {
	for b := p; len(b) > 0; {
		at := s.Size % HandoverBlock
		if at == 0 {
			s.Blocks = append(s.Blocks, 0)
		}
		n := min(int64(len(b)), HandoverBlock-at)
		last := &s.Blocks[len(s.Blocks)-1]
		*last = crc32.Update(*last, castagnoli, b[:n])
		b = b[n:]
		s.Size += n
	}
	return len(p), nil
}
