package storage

import (
	"context"
	"time"
)

// Store is a set of buckets. All methods may be called at once.
type Store interface {
	// CreateBucket makes an empty bucket, durably on every disk. It returns
	// ErrBucketExists, or ErrInvalid for a name that CheckBucket refuses.
	CreateBucket(ctx context.Context, name string, s Settings) (Bucket, error)

	// Bucket opens a bucket, or returns ErrNoBucket.
	Bucket(ctx context.Context, name string) (Bucket, error)

	// Buckets lists at most limit buckets with names above after, by name.
	Buckets(ctx context.Context, after string, limit int) ([]BucketInfo, error)

	// DeleteBucket removes a bucket without objects, versions and delete markers, or
	// returns ErrNotEmpty. Uploads that were begun in it are aborted. A bucket that is
	// made anew under the name shares nothing with the old one.
	DeleteBucket(ctx context.Context, name string) error

	// Sweep does what time asks for: it removes objects that have expired and aborts
	// uploads past their bucket's limit. A backend's Run calls it now and then.
	Sweep(ctx context.Context) (Swept, error)

	// Close waits for what runs, makes all durable and releases the store. Later calls
	// return ErrClosed.
	Close() error
}

// Swept counts what a Sweep removed.
type Swept struct{ Objects, Uploads int }

// BucketInfo is what is known of a bucket.
type BucketInfo struct {
	Name     string
	Created  time.Time
	Settings Settings
	Usage    Usage
}

// Usage counts what a bucket holds. Copies on several disks count once.
type Usage struct {
	// Objects are the current ones, Older the versions below them and delete markers,
	// Parts those of uploads and of objects made of parts.
	Objects, Older, Parts Count
}

// Count is a number of things and their bytes, without metadata.
type Count struct{ Number, Bytes int64 }

// Durability says what an acknowledgement means.
type Durability uint8

const (
	// Synced: acknowledged data is on the disk's stable medium (fdatasync has returned
	// for data and log). It survives a power cut. Writers that come together share one
	// sync. It is the default.
	Synced Durability = iota
	// Written: acknowledged data is with the operating system, and is synced within the
	// backend's flush interval (a second). It survives the death of the program; a
	// power cut may take what came in that time, each object whole or not at all, in no
	// promised order.
	Written
)

// Versioning says what becomes of an object that is overwritten or deleted.
type Versioning uint8

const (
	Unversioned Versioning = iota // it is gone
	Versioned                     // it stays, as an older version
	Suspended                     // only versions that have an id stay
)

// Settings are what a bucket's owner chooses.
type Settings struct {
	Durability Durability
	Versioning Versioning
	// Copies on different disks of each object; 0 means 1. What a store with fewer
	// disks is asked for is refused with ErrInvalid.
	Copies int
	// PlainETag allows ETags that are no MD5, which is what bounds the speed of Put.
	// They are then made from the checksums the store needs anyway.
	PlainETag bool
	// UploadAgeMax is how long an upload may stay without Complete; 0 means a week.
	UploadAgeMax time.Duration
	// Residency says where the bytes may lie; Tiers when they move. A store without
	// tiers keeps both and does nothing by them.
	Residency Residency
	Tiers     Tiers
	// Labels are the front doors' own: policies, ACLs, CORS rules.
	Labels map[string]string
}

const uploadAgeDefault = 7 * 24 * time.Hour

// UploadAge is UploadAgeMax or its default.
func (s Settings) UploadAge() time.Duration {
	if s.UploadAgeMax > 0 {
		return s.UploadAgeMax
	}
	return uploadAgeDefault
}
