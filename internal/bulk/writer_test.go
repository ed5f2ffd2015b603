package bulk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

func bytesOf(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

var sizes = []int{0, 1, firstBytes - 1, firstBytes, firstBytes + 1, firstBytes + partBytes, 3*partBytes + 7, 20 * partBytes}

// TestEveryStageGetsEverything, in order and unchanged, however it comes.
func TestEveryStageGetsEverything(t *testing.T) {
	for _, size := range sizes {
		want := bytesOf(size)
		for name, r := range map[string]io.Reader{
			"at once":      bytes.NewReader(want),
			"by halves":    iotest.HalfReader(bytes.NewReader(want)),
			"with its end": iotest.DataErrReader(bytes.NewReader(want)),
		} {
			var a, b, c bytes.Buffer
			n, err := Copy(r, &a, &b, &c)
			if err != nil || n != int64(size) {
				t.Errorf("%d bytes %s: %d, %v", size, name, n, err)
			}
			for i, got := range [][]byte{a.Bytes(), b.Bytes(), c.Bytes()} {
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes %s: stage %d has %d others", size, name, i, len(got))
				}
			}
		}
	}
}

// TestAWriterGoesOnAfterFlush, which has given all there was.
func TestAWriterGoesOnAfterFlush(t *testing.T) {
	var got bytes.Buffer
	w := NewWriter(&got)
	var want []byte
	for _, size := range sizes {
		b := bytesOf(size)
		want = append(want, b...)
		if n, err := w.Write(b); n != size || err != nil {
			t.Errorf("%d of %d bytes: %v", n, size, err)
		}
		if err := w.Flush(); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("after Flush there are %d of %d bytes: %v", got.Len(), len(want), err)
		}
	}
}

var errBroken = errors.New("broken")

// breaks writes until some bytes were given, and then fails.
type breaks struct {
	left  int
	after atomic.Int64 // calls since
}

func (b *breaks) Write(p []byte) (int, error) {
	if b.left < 0 {
		b.after.Add(1)
	}
	if b.left -= len(p); b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestAStageThatFails ends the work of all, and is told, whichever it is.
func TestAStageThatFails(t *testing.T) {
	for _, size := range sizes[1:] {
		for at := range 3 {
			broken := &breaks{left: size - 1}
			stages := []io.Writer{io.Discard, io.Discard, io.Discard}
			stages[at] = broken
			w := NewWriter(stages...)
			_, err := w.Write(bytesOf(size))
			if err != nil && !errors.Is(err, errBroken) {
				t.Errorf("%d bytes to stage %d: %v", size, at, err)
			}
			if err := w.Flush(); !errors.Is(err, errBroken) {
				t.Errorf("%d bytes to stage %d are flushed: %v", size, at, err)
			}
			if _, err := w.Write([]byte{1}); !errors.Is(err, errBroken) {
				t.Errorf("%d bytes to stage %d: goes on with %v", size, at, err)
			}
			if n := broken.after.Load(); n > 0 {
				t.Errorf("%d bytes to stage %d: asked again %d times", size, at, n)
			}
		}
	}
}

// TestAnEndlessReaderIsLeft when nobody takes what it gives.
func TestAnEndlessReaderIsLeft(t *testing.T) {
	if n, err := Copy(endless{}, &breaks{left: 2 * partBytes}); !errors.Is(err, errBroken) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestAReaderThatFails: what came before is written.
func TestAReaderThatFails(t *testing.T) {
	for _, size := range sizes {
		want := bytesOf(size)
		var got bytes.Buffer
		n, err := Copy(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(errBroken)), &got)
		if !errors.Is(err, errBroken) || n != int64(size) || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d of %d bytes, %d written, %v", n, size, got.Len(), err)
		}
	}
}
