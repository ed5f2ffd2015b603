package shelf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/wire"
)

// Sizes and marks of docs/formats/store.md, "Volumes". Numbers are little-endian.
const (
	volumeMagic     = "PLDRVOL\x01"
	volumeHeadBytes = 64
	recordMagic     = 0x31434552 // "REC1"
	recordHeadBytes = 64
	align           = 8

	// changesBytesMax bounds what a reader takes for a record's changes: 10,000 parts
	// that are removed at once have some 11 MB of keys.
	changesBytesMax = 32 << 20
	dataBytesMax    = 1 << 30
)

// Flags of a record.
const (
	flagWritten = 1 << iota // it did not ask for a sync
	flagMoved               // compaction wrote it
)

// Kinds of changes.
const (
	kindDelete = iota
	kindPlain
	kindInline
	kindFile
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// volumeHead begins a volume.
type volumeHead struct {
	id   uint32
	salt uint64 // of its records, so that no object's content can pass for one
}

func (h volumeHead) encode() []byte {
	b := make([]byte, volumeHeadBytes)
	copy(b, volumeMagic)
	binary.LittleEndian.PutUint32(b[8:], h.id)
	binary.LittleEndian.PutUint64(b[16:], h.salt)
	binary.LittleEndian.PutUint32(b[volumeHeadBytes-4:], checksum(b[:volumeHeadBytes-4]))
	return b
}

func decodeVolumeHead(b []byte) (volumeHead, error) {
	if len(b) < volumeHeadBytes || string(b[:8]) != volumeMagic {
		return volumeHead{}, errors.New("it does not begin as a volume does")
	}
	if binary.LittleEndian.Uint32(b[volumeHeadBytes-4:]) != checksum(b[:volumeHeadBytes-4]) {
		return volumeHead{}, fmt.Errorf("%w: the volume's head", storage.ErrCorrupt)
	}
	return volumeHead{binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
}

// recordHead begins a record. What follows are changes, data, and zeros up to a
// multiple of align.
type recordHead struct {
	salt    uint64
	seq     uint64 // in the volume, from 1
	synced  uint64 // the volume was durable up to here when the record was written
	rev     uint64
	offset  uint64 // of this head in the volume
	changes uint32 // bytes
	data    uint32 // bytes
	flags   uint16
}

// encode writes the head of a record with these changes.
func (h recordHead) encode(b, changes []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, recordMagic)
	le.PutUint64(b[8:], h.salt)
	le.PutUint64(b[16:], h.seq)
	le.PutUint64(b[24:], h.synced)
	le.PutUint64(b[32:], h.rev)
	le.PutUint64(b[40:], h.offset)
	le.PutUint32(b[48:], h.changes)
	le.PutUint32(b[52:], h.data)
	le.PutUint16(b[56:], h.flags)
	sum := crc32.Update(checksum(b[8:recordHeadBytes]), castagnoli, changes)
	le.PutUint32(b[4:], sum)
}

// decodeRecordHead takes a head apart; whole then tells whether it is undamaged.
func decodeRecordHead(b []byte) (h recordHead, ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHeadBytes || le.Uint32(b) != recordMagic {
		return h, false
	}
	h = recordHead{
		salt: le.Uint64(b[8:]), seq: le.Uint64(b[16:]), synced: le.Uint64(b[24:]), rev: le.Uint64(b[32:]), offset: le.Uint64(b[40:]),
		changes: le.Uint32(b[48:]), data: le.Uint32(b[52:]), flags: le.Uint16(b[56:]),
	}
	return h, h.changes <= changesBytesMax && h.data <= dataBytesMax
}

func wholeHead(b, changes []byte) bool {
	return binary.LittleEndian.Uint32(b[4:]) == crc32.Update(checksum(b[8:recordHeadBytes]), castagnoli, changes)
}

// bytes of the record with all that follows its head.
func (h recordHead) bytes() int64 {
	return aligned(recordHeadBytes + int64(h.changes) + int64(h.data))
}

func aligned(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// change of one entry, as a record has it.
type change struct {
	kind   byte
	key    []byte
	value  []byte
	weight int64
	data   []byte // of kindInline, when it is written
	size   int64  // of the data, or of the file
	sum    uint32 // CRC32C of the data
	file   uint64
}

func appendChanges(b []byte, changes []change) []byte {
	b = binary.AppendUvarint(b, uint64(len(changes)))
	for i := range changes {
		c := &changes[i]
		b = append(b, c.kind)
		b = appendBytes(b, c.key)
		if c.kind == kindDelete {
			continue
		}
		b = binary.AppendUvarint(b, uint64(c.weight+1))
		b = appendBytes(b, c.value)
		switch c.kind {
		case kindInline:
			b = binary.AppendUvarint(b, uint64(c.size))
			b = binary.LittleEndian.AppendUint32(b, c.sum)
		case kindFile:
			b = binary.AppendUvarint(b, uint64(c.size))
			b = binary.LittleEndian.AppendUint64(b, c.file)
		}
	}
	return b
}

func appendBytes(b, p []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(p))), p...) }

// decodeChanges takes apart what appendChanges wrote. Its result shares memory with b.
func decodeChanges(b []byte) ([]change, error) {
	r := &wire.Reader{Left: b}
	n := r.Uvarint()
	var out []change
	for ; n > 0 && !r.Bad; n-- {
		c := change{kind: r.Take(1)[0], key: r.Bytes()}
		if c.kind != kindDelete {
			c.weight = int64(r.Uvarint()) - 1
			c.value = r.Bytes()
		}
		switch c.kind {
		case kindDelete, kindPlain:
		case kindInline:
			c.size = int64(r.Uvarint())
			c.sum = r.Uint32()
		case kindFile:
			c.size = int64(r.Uvarint())
			c.file = r.Uint64()
		default:
			r.Bad = true
		}
		out = append(out, c)
	}
	if r.Bad || len(r.Left) > 0 {
		return nil, fmt.Errorf("%w: changes cannot be read", storage.ErrCorrupt)
	}
	return out, nil
}
