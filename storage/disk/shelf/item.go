package shelf

import (
	"encoding/binary"
	"fmt"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
	"polder.dev/polder/storage/wire"
)

// item is what the index holds of an entry: where its record lies, and what is in it.
type item struct {
	rev    uint64
	weight int64
	vol    uint32
	off    int64 // of the record
	kind   byte  // of the change that wrote it
	at     int64 // of inline data in the volume
	size   int64
	sum    uint32
	file   uint64
	value  []byte
}

func (t *item) encode() []byte {
	b := make([]byte, 0, 40+len(t.value))
	b = append(b, t.kind)
	b = binary.AppendUvarint(b, t.rev)
	b = binary.AppendUvarint(b, uint64(t.weight+1))
	b = binary.AppendUvarint(b, uint64(t.vol))
	b = binary.AppendUvarint(b, uint64(t.off))
	switch t.kind {
	case kindInline:
		b = binary.AppendUvarint(b, uint64(t.at-t.off))
		b = binary.AppendUvarint(b, uint64(t.size))
		b = binary.LittleEndian.AppendUint32(b, t.sum)
	case kindFile:
		b = binary.AppendUvarint(b, uint64(t.size))
		b = binary.LittleEndian.AppendUint64(b, t.file)
	}
	return append(b, t.value...)
}

func decodeItem(b []byte) (*item, error) {
	r := &wire.Reader{Left: b}
	t := &item{kind: r.Take(1)[0], rev: r.Uvarint(), weight: int64(r.Uvarint()) - 1, vol: uint32(r.Uvarint()), off: int64(r.Uvarint())}
	switch t.kind {
	case kindPlain:
	case kindInline:
		t.at = t.off + int64(r.Uvarint())
		t.size = int64(r.Uvarint())
		t.sum = r.Uint32()
	case kindFile:
		t.size = int64(r.Uvarint())
		t.file = r.Uint64()
	default:
		r.Bad = true
	}
	if r.Bad || t.size < 0 || t.off < 0 || t.at < 0 {
		return nil, fmt.Errorf("%w: an entry of the index cannot be read", storage.ErrCorrupt)
	}
	t.value = r.Left
	return t, nil
}

// share is what an entry takes of its volume.
func (t *item) share(key []byte) int64 {
	n := int64(recordHeadBytes + len(key) + len(t.value))
	if t.kind == kindInline {
		n += t.size
	}
	return n
}

// entry is what the ledger's callers see. key is kept.
func (t *item) entry(s *Shelf, key []byte) engine.Entry {
	e := engine.Entry{Key: key, Value: t.value, Rev: t.rev, Weight: t.weight}
	if t.kind == kindInline || t.kind == kindFile {
		e.Place = Place{Shelf: s, item: t}
	}
	return e
}

// Place is where the blob of an entry lies: engine.Entry.Place.
type Place struct {
	Shelf *Shelf
	*item
}
