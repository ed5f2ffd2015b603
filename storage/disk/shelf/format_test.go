package shelf

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage/disk/drive"
)

// volumeOf writes records as the leader does.
func volumeOf(salt uint64, records ...[]change) []byte {
	v := &volume{volumeHead: volumeHead{id: 7, salt: salt}}
	b := v.encode()
	f := &memory{b: b}
	v.file, v.end = f, volumeHeadBytes
	w := &writer{v: v, at: v.end}
	for i, c := range records {
		r := &record{rev: uint64(i), changes: c, coded: appendChanges(nil, c), vol: v, off: w.at + int64(len(w.buf))}
		for _, c := range c {
			r.data += int64(len(c.data))
		}
		v.seq++
		w.record(r)
	}
	w.flush()
	return f.b
}

// memory is as much of a file as a volume's writer needs.
type memory struct {
	drive.File
	b []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.b = append(m.b[:off], p...)
	return len(p), nil
}

func someChanges(n int) []change {
	inline := change{key: []byte("c key 1"), value: []byte("v"), weight: int64(n)}
	inline.inline(bytes.Repeat([]byte{byte(n)}, n))
	return []change{
		{kind: kindDelete, key: []byte("c key 0")},
		inline,
		{kind: kindPlain, key: []byte("c key 2"), value: []byte{}, weight: -1},
		{kind: kindFile, key: []byte("c key 3"), value: []byte("w"), weight: 1 << 40, size: 1 << 40, file: 1<<63 + 5},
	}
}

func scanAll(t testing.TB, b []byte, from int64) (out []*scanned, damaged int) {
	head, err := decodeVolumeHead(b)
	if err != nil {
		return nil, 0
	}
	s := newScanner(bytes.NewReader(b), head, from, int64(len(b)), true)
	for {
		r, err := s.next()
		if err == io.EOF {
			return out, s.damaged
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
}

func TestVolume(t *testing.T) {
	var all [][]change
	for _, n := range []int{1, 7, 4096, largeBytes, 128 << 10, 3} {
		all = append(all, someChanges(n))
	}
	b := volumeOf(99, all...)
	got, damaged := scanAll(t, b, 0)
	if len(got) != len(all) || damaged > 0 {
		t.Fatalf("%d records of %d were found, %d stretches are damaged", len(got), len(all), damaged)
	}
	for i, r := range got {
		for j, c := range r.list {
			want := all[i][j]
			want.data = nil
			if d := cmp.Diff(want, c, cmp.AllowUnexported(change{})); d != "" {
				t.Error(d)
			}
		}
		if r.dataBad || r.rev != uint64(i) {
			t.Errorf("record %d: %+v", i, r.recordHead)
		}
	}
}

// TestDamage flips each byte of a volume: only the record it is in may suffer.
func TestDamage(t *testing.T) {
	b := volumeOf(99, someChanges(40), someChanges(50), someChanges(60))
	whole, _ := scanAll(t, b, 0)
	for i := volumeHeadBytes; i < len(b); i++ {
		bad := bytes.Clone(b)
		bad[i] ^= 0x40
		got, _ := scanAll(t, bad, 0)
		good := 0
		for _, r := range got {
			for _, w := range whole {
				if r.off == w.off && bytes.Equal(r.body, w.body) && !r.dataBad {
					good++
				}
			}
		}
		if good < 2 {
			t.Fatalf("with byte %d damaged, %d records are left", i, good)
		}
	}
}

// TestForged: an object that looks like a record is none, for it does not know the salt.
func TestForged(t *testing.T) {
	forged := volumeOf(1, someChanges(10))[volumeHeadBytes:]
	c := change{key: []byte("c evil"), value: []byte{}}
	c.inline(forged)
	b := volumeOf(2, []change{c}, someChanges(5))
	b[volumeHeadBytes+8] ^= 1 // so that the scanner has to look for the next record
	got, damaged := scanAll(t, b, 0)
	if len(got) != 1 || damaged != 1 || got[0].seq != 2 {
		t.Errorf("%d records, %d stretches damaged", len(got), damaged)
	}
}

func FuzzVolume(f *testing.F) {
	f.Add(volumeOf(99, someChanges(40), someChanges(3)), int64(0))
	f.Add(volumeOf(99, someChanges(40), someChanges(3))[:300], int64(64))
	f.Add([]byte(volumeMagic), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		if from < 0 || from > int64(len(b)) {
			return
		}
		got, _ := scanAll(t, b, from)
		end := int64(0)
		for _, r := range got {
			if r.off < end {
				t.Errorf("a record at %d begins in the one before, which ends at %d", r.off, end)
			}
			end = r.off + recordHeadBytes + int64(r.changes)
		}
	})
}

func FuzzItem(f *testing.F) {
	for _, k := range []byte{kindPlain, kindInline, kindFile} {
		f.Add((&item{kind: k, rev: 5, weight: -1, vol: 3, off: 64, at: 130, size: 9, sum: 7, file: 8, value: []byte("v")}).encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := decodeItem(b)
		if err != nil {
			return
		}
		again, err := decodeItem(it.encode())
		if d := cmp.Diff(it, again, cmp.AllowUnexported(item{})); err != nil || d != "" {
			t.Errorf("%v: %s", err, d)
		}
	})
}

func FuzzChanges(f *testing.F) {
	f.Add(appendChanges(nil, someChanges(5)))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeChanges(b)
		if err != nil {
			return
		}
		if again, err := decodeChanges(appendChanges(nil, list)); err != nil || len(again) != len(list) {
			t.Errorf("%d changes became %d: %v", len(list), len(again), err)
		}
	})
}

// TestFoot reads back what ends a file, and nothing that is damaged.
func TestFoot(t *testing.T) {
	want := foot{id: rand.Uint64(), size: 1 << 33, table: 5}
	b := want.encode()
	if got, ok := decodeFoot(b); !ok || got != want {
		t.Errorf("got %+v, %t", got, ok)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if got, ok := decodeFoot(bad); ok && got == want && i >= 36 {
			t.Errorf("with byte %d damaged it is taken for whole", i)
		}
	}
}
