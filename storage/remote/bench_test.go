package remote_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

// BenchmarkS3 is the client beside our own door over memory, in one process.
func BenchmarkS3(b *testing.B) {
	c, _ := s3World(b, time.Now)
	bk, err := newS3(b, c).CreateBucket(b.Context(), "bucket", storage.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{4 << 10, 64 << 20} {
		body := pattern(n)
		b.Run(fmt.Sprintf("put %d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bk.Put(b.Context(), "k", bytes.NewReader(body), storage.PutOptions{Size: int64(n)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("get %d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				o, err := bk.Open(b.Context(), "k", storage.ReadOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, storage.Reader(o, 0, int64(n))); err != nil {
					b.Fatal(err)
				}
				if err := o.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
