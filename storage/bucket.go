package storage

import (
	"context"
	"io"
)

// Bucket is a set of objects by key. Every method returns ErrNoBucket once the bucket
// is deleted, and ErrInvalid for a key that CheckKey refuses.
type Bucket interface {
	Name() string

	// Info returns the bucket's settings and what it holds now.
	Info(ctx context.Context) (BucketInfo, error)

	// Configure changes the settings. Objects that are there keep the durability they
	// were written with; Copies may not change while there are any.
	Configure(ctx context.Context, change func(*Settings) error) error

	// Put stores what body yields until io.EOF as the newest version of key, and
	// replaces what was there at once. Any other error of body is returned, and nothing
	// is stored. Conditions are judged when the body is complete, in the same step that
	// makes the object visible.
	Put(ctx context.Context, key string, body io.Reader, o PutOptions) (Info, error)

	// Stat returns what Open would, without the data.
	Stat(ctx context.Context, key string, o ReadOptions) (Info, error)

	// Open returns an object for reading. What it then reads are the bytes of this
	// version, even if it is overwritten or deleted meanwhile.
	Open(ctx context.Context, key string, o ReadOptions) (Object, error)

	// Edit changes metadata and tags of a version in place: data, ETag and version
	// stay. Modified becomes the present where touch is set.
	Edit(ctx context.Context, key string, o EditOptions) (Info, error)

	// Delete removes an object. In a bucket with versions it puts a delete marker on
	// top instead, unless a version is named, which is then gone for good. To delete
	// what is not there is no error, unless conditions say so.
	Delete(ctx context.Context, key string, o DeleteOptions) (Deletion, error)

	// List returns a page of current objects.
	List(ctx context.Context, o ListOptions) (Listing, error)

	// Versions returns a page of all versions and delete markers, of each key the
	// newest first.
	Versions(ctx context.Context, o ListOptions) (Listing, error)

	Uploader
}

// Uploader makes one object of many parts, which may come in any order and at once.
type Uploader interface {
	// Begin starts an upload; m becomes the object's metadata.
	Begin(ctx context.Context, key string, m Meta) (Upload, error)

	// PutPart stores a part, in place of one with the same number, as Put does an
	// object. Numbers are 1 to PartsMax. CopyPart is PutPart from a stored object.
	PutPart(ctx context.Context, key, upload string, number int, body io.Reader, o PutOptions) (Part, error)

	// Parts lists at most limit parts with numbers above after; more says whether
	// there are others.
	Parts(ctx context.Context, key, upload string, after, limit int) (parts []Part, more bool, err error)

	// Complete makes the object of the named parts, which must ascend, exist
	// (ErrPart), and have at least PartBytesMin but for the last (ErrTooSmall). The
	// ETag is the MD5 of the parts' MD5s, a dash, and their number. Parts that are not
	// named are removed.
	Complete(ctx context.Context, key, upload string, parts []PartRef, o CompleteOptions) (Info, error)

	// Abort removes an upload with its parts.
	Abort(ctx context.Context, key, upload string) error

	// Uploads returns a page of uploads by key, then by time.
	Uploads(ctx context.Context, o ListOptions) (Listing, error)
}
