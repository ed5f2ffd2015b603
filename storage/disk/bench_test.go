package disk_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
)

// BenchmarkPut stores objects of 4 KiB from many clients at once.
func BenchmarkPut(b *testing.B) {
	for name, d := range map[string]storage.Durability{"synced": storage.Synced, "written": storage.Written} {
		b.Run(name, func(b *testing.B) {
			s, err := disk.Open(disk.Config{Dirs: []string{b.TempDir()}})
			if err != nil {
				b.Fatal(err)
			}
			bk, err := s.CreateBucket(context.Background(), "b", storage.Settings{Durability: d})
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			b.SetParallelism(32)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				body := make([]byte, 4096)
				for p.Next() {
					key := fmt.Sprintf("dir%03d/object-%08d", next.Add(1)%500, next.Load())
					if _, err := bk.Put(context.Background(), key, bytes.NewReader(body), storage.PutOptions{Size: 4096}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
