package storage

import (
	"io"
	"os"
	"time"
)

// NullVersion names the version that was written without versioning.
const NullVersion = "null"

// Object is a version of an object, open for reading.
type Object interface {
	Info() Info

	// ReadAt reads verified bytes, as io.ReaderAt. Damage is ErrCorrupt, with n the
	// bytes before it; where the bucket keeps copies, another disk's are read and the
	// damage is repaired.
	io.ReaderAt

	// Extents returns where bytes from off on lie, in order, for a front door that hands
	// files to the kernel (sendfile) or sends memory without a copy. They may cover less
	// than n, but never nothing: ask again for the rest. They were verified when it
	// returns, and are valid until the next call of the object's methods.
	Extents(off, n int64) ([]Extent, error)

	// Close releases the object. Space of what is deleted is freed afterwards.
	Close() error
}

// Extent is a run of bytes: of a file, or in memory where File is nil.
type Extent struct {
	File   *os.File
	Offset int64
	Length int64
	Bytes  []byte
}

// Meta is what a client says of an object.
type Meta struct {
	ContentType string
	// Headers are kept and returned as they are: Cache-Control, Content-Encoding, ...
	Headers map[string]string
	// User is the client's own: x-amz-meta-*, X-Object-Meta-*.
	User map[string]string
	Tags map[string]string
	// Checksums of the whole object that its sender named, by algorithm.
	Checksums map[string]string
	// System is the front doors' own: manifests of large Swift objects, symlinks,
	// retention. It is no client's to read.
	System map[string]string
	// Expires is when the object ceases to exist; zero is never.
	Expires time.Time
}

// SystemSeal is there in Meta.System of what storage/seal keeps encrypted: its ETag may be
// the MD5 of the text, and not of the bytes that are stored.
const SystemSeal = "seal"

// Info is what is known of a version.
type Info struct {
	Key  string
	Size int64
	// ETag is the MD5 in lower-case hexadecimal for what Put stored (PutOptions.Text may
	// be another's), and has a dash for what Complete made or a bucket with PlainETag holds.
	ETag     string
	Modified time.Time
	Meta     Meta
	// Version is NullVersion where the bucket had no versioning.
	Version string
	// Latest says that no version is newer, Deleted that this is a delete marker.
	Latest, Deleted bool
	// Parts is how many Complete was given; 0 for what Put stored.
	Parts int
	// Revision is unlike that of any other version of the store, in any bucket; the data
	// of a revision never changes. It is for caches and tiers, and no client's to see.
	Revision uint64
	// Whereabouts is set by a Mover alone; other stores do not tell.
	Whereabouts Whereabouts
}

// PutOptions go with a body.
type PutOptions struct {
	Meta Meta
	// Size is the body's length, 0 where it is unknown. A body that is longer or shorter
	// is ErrDigest. Backends use it to set room aside before the body comes.
	Size int64
	// MD5 is what the body must have, in hexadecimal; "" does not ask.
	MD5 string
	If  Conditions
	// Opaque says that the body is not the client's text, so that its ETag must not look
	// like the text's MD5: it is one as in a bucket with PlainETag.
	Opaque bool
	// Text, if set beside Opaque, returns the text's MD5 once the body is complete. A
	// store that can makes it the ETag, unless the bucket has PlainETag. Meta says by
	// SystemSeal that this is no MD5 of the body.
	Text func() string
	// Seal, if set, is called once the body is complete and before it is stored: it may
	// fill in metadata that only the end of the body told, or refuse by an error.
	Seal func(*Meta) error
}

// ReadOptions choose a version.
type ReadOptions struct {
	Version string // "" is the newest
	If      Conditions
	// Once says that what is read is not read again soon: the store need not leave it in
	// the machine's memory.
	Once bool
}

// EditOptions change a version.
type EditOptions struct {
	Version string
	If      Conditions
	Touch   bool
	Change  func(*Meta) error
}

// DeleteOptions choose what to delete.
type DeleteOptions struct {
	Version string
	If      Conditions
	// Guard, if set, judges a version that is named, or the object of a bucket without
	// versions, in the same step that removes it. Its error is returned, and nothing is
	// removed. Without it, what storage/lock calls locked stays.
	Guard func(*Info) error
}

// Deletion says what Delete did.
type Deletion struct {
	// Found says that there was something to delete.
	Found bool
	// Version is that of the marker that was made or removed, or of what was removed.
	Version string
	// Marker says that Version is a delete marker.
	Marker bool
}

// CompleteOptions go with Complete.
type CompleteOptions struct {
	If   Conditions
	Seal func(*Meta) error
}
