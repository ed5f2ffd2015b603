package wire

import (
	"encoding/binary"
	"testing"
)

func TestReader(t *testing.T) {
	b := binary.AppendVarint(binary.AppendUvarint(nil, 300), -7)
	b = append(binary.AppendUvarint(b, 3), "abc"...)
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, 5), 6)
	r := Reader{Left: b}
	if u, v, s, a, c := r.Uvarint(), r.Varint(), string(r.Bytes()), r.Uint32(), r.Uint64(); u != 300 || v != -7 || s != "abc" || a != 5 || c != 6 || r.Bad || len(r.Left) > 0 {
		t.Errorf("read %d %d %q %d %d; %+v", u, v, s, a, c, r)
	}
	for n := range b { // cut anywhere
		r := Reader{Left: b[:n]}
		if r.Uvarint(); r.Bad && n > 1 {
			t.Errorf("%d bytes hold a number", n)
		}
		r.Varint()
		r.Bytes()
		r.Uint32()
		if r.Uint64(); !r.Bad || len(r.Left) > 0 {
			t.Errorf("%d of %d bytes were enough", n, len(b))
		}
	}
	huge := Reader{Left: binary.AppendUvarint(nil, 1<<63)}
	if got := huge.Bytes(); len(got) > 8 || !huge.Bad {
		t.Errorf("%d bytes of nothing", len(got))
	}
}
