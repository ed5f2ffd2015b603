// Package storagetest proves that a backend keeps the promises of package storage. A
// backend's own test calls Run; what a backend does under faults is proved with Client
// and History, by whoever can make the faults. Only tests import it.
package storagetest

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

// New makes an empty store that tells the time by now. It is closed by Run.
type New func(t *testing.T, now func() time.Time) storage.Store

// Limits are what a backend cannot promise because of what it is built on, such as
// somebody else's store. Each says why; what says nothing is promised.
type Limits struct {
	// Skip gives the reason for each group of tests that cannot hold, by its name.
	Skip map[string]string
	// Far says that each operation is a request or more; long random tests are shorter.
	Far bool
	// MetaBytesMax is how long one value of metadata may be; 0 is as long as any.
	MetaBytesMax int
	// Usage is why Info does not count what a bucket holds.
	Usage string
	// Clock is why the store does not tell the time by New's clock: somebody else's does.
	Clock string
	// Replaced is what readers of an object get that is replaced or removed meanwhile,
	// where it cannot stay for them. They never get other bytes.
	Replaced error
}

// Run proves the store that open makes, one promise after the other.
func Run(t *testing.T, open New) { RunWithin(t, open, Limits{}) }

// RunWithin is Run for a backend with limits. It reports each with its reason.
func RunWithin(t *testing.T, open New, limits Limits) {
	left := maps.Clone(limits.Skip)
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
		{"locks", testLocks},
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
		why := limits.Skip[c.name]
		delete(left, c.name)
		t.Run(c.name, func(t *testing.T) {
			if why != "" {
				t.Skip("cannot be promised:", why)
			}
			t.Parallel() // most of the time is the disk's
			b := &bench{limits: limits, time: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
			b.Store = open(t, b.now)
			c.run(t, b)
			if err := b.Close(); err != nil && c.name != "closed" {
				t.Error("closing:", err)
			}
		})
	}
	for name := range left {
		t.Errorf("limits name a group %q, which is none", name)
	}
}

// bench is a store with a clock that stands until it is moved.
type bench struct {
	storage.Store
	clock
	time   time.Time
	limits Limits
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

// metaBytes is how long a long value of metadata is.
func (b *bench) metaBytes() int {
	if b.limits.MetaBytesMax > 0 {
		return b.limits.MetaBytesMax
	}
	return 70_000
}

// replaced says that a reader failed as the limits allow.
func (b *bench) replaced(err error) bool {
	return err != nil && b.limits.Replaced != nil && errors.Is(err, b.limits.Replaced)
}

// counts compares what Info counts, where it does.
func (b *bench) counts(t *testing.T, what string, got, wanted int64) {
	t.Helper()
	if b.limits.Usage != "" {
		t.Logf("%s: not counted: %s", what, b.limits.Usage)
		return
	}
	want(t, what, got, wanted)
}

// rounds is how often a random test does something.
func (b *bench) rounds(n int) int {
	if b.limits.Far {
		return n / 4
	}
	return n
}

// dated is the present, or what the store told if its clock is another.
func (b *bench) dated(told time.Time) time.Time {
	if b.limits.Clock != "" && !told.IsZero() {
		return told
	}
	return b.now()
}
