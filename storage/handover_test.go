package storage

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"
)

// TestSums are those of the blocks, by whatever pieces they come.
func TestSums(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcde"), HandoverBlock/5)
	var want []uint32
	for block := range slices.Chunk(b, HandoverBlock) {
		want = append(want, crc32.Checksum(block, castagnoli))
	}
	for _, piece := range []int{1000, HandoverBlock - 1, HandoverBlock, len(b)} {
		var s Sums
		for p := range slices.Chunk(b, piece) {
			if n, err := s.Write(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if s.Size != int64(len(b)) || !slices.Equal(s.Blocks, want) {
			t.Errorf("by %d bytes: %d bytes, %x, and not %x", piece, s.Size, s.Blocks, want)
		}
	}
}

// TestHandoverIsNotRead by who does not know what it is.
func TestHandoverIsNotRead(t *testing.T) {
	if b, err := io.ReadAll(&Handover{Size: 10}); len(b) > 0 || !errors.Is(err, ErrNoHandover) {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzDecodeHandover(f *testing.F) {
	f.Add((&Handover{Size: 1, Sums: []uint32{7}}).Encode())
	f.Add((&Handover{Size: 3*HandoverBlock + 1, Sums: []uint32{1, 2, 3, 4}}).Encode())
	f.Add((&Handover{}).Encode())
	f.Add([]byte("too short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodeHandover("/f", b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			return
		}
		if n := (h.Size + HandoverBlock - 1) / HandoverBlock; h.Path != "/f" || h.Size < 0 || n != int64(len(h.Sums)) {
			t.Errorf("%d bytes of %s have %d checksums", h.Size, h.Path, len(h.Sums))
		}
		if !bytes.Equal(h.Encode(), b) {
			t.Errorf("%x became %x", b, h.Encode())
		}
	})
}
