// Package storagetest proves that a backend keeps the promises of package storage. A
// backend's own test calls Run; what a backend does under faults is proved with Client
// and History, by whoever can make the faults. Only tests import it.
package storagetest

import (
	"context"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

// New makes an empty store that tells the time by now. It is closed by Run.
type New func(t *testing.T, now func() time.Time) storage.Store

// Run proves the store that open makes, one promise after the other.
func Run(t *testing.T, open New) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, b *bench)
	}{
		{"buckets", testBuckets},
		{"names", testNames},
		{"objects", testObjects},
		{"bodies", testBodies},
		{"failing bodies", testFailingBodies},
		{"ranges", testRanges},
		{"conditions", testConditions},
		{"metadata", testMetadata},
		{"readers keep their version", testReaders},
		{"versions", testVersions},
		{"guards", testGuards},
		{"opaque bodies", testOpaque},
		{"suspended versions", testSuspended},
		{"listings", testListings},
		{"pages of versions", testVersionPages},
		{"multipart", testMultipart},
		{"parts refused", testPartsRefused},
		{"abandoned uploads", testAbandoned},
		{"expiry", testExpiry},
		{"usage", testUsage},
		{"plain ETags", testPlainETag},
		{"random against a model", testModel},
		{"concurrent clients", testConcurrent},
		{"data elsewhere", testElsewhere},
		{"loose places", testLoose},
		{"versions elsewhere", testVersionsElsewhere},
		{"previews", testPreview},
		{"closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of the time is the disk's
			b := &bench{time: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
			b.Store = open(t, b.now)
			c.run(t, b)
			if err := b.Close(); err != nil && c.name != "closed" {
				t.Error("closing:", err)
			}
		})
	}
}

// bench is a store with a clock that stands until it is moved.
type bench struct {
	storage.Store
	clock
	time time.Time
}

var ctx = context.Background()

// bucket makes one, or ends the test.
func (b *bench) bucket(t *testing.T, s storage.Settings) storage.Bucket {
	t.Helper()
	out, err := b.CreateBucket(ctx, "bucket", s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
