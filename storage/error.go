package storage

import "errors"

// The kinds of failure. A backend wraps them with what it was doing; a front door maps
// them to its protocol's codes with errors.Is, in one place.
var (
	ErrNoBucket     = errors.New("no such bucket")
	ErrBucketExists = errors.New("bucket exists")
	ErrNotEmpty     = errors.New("bucket is not empty")
	ErrNoObject     = errors.New("no such object")
	ErrNoVersion    = errors.New("no such version")
	ErrNoUpload     = errors.New("no such upload")

	// ErrDeleted comes with ErrNoObject where a delete marker is the newest version,
	// and alone where a version that was named is one.
	ErrDeleted = errors.New("version is a delete marker")

	// ErrPrecondition says that a condition did not hold; with ErrNoObject where that
	// was because there is no object. ErrNotModified is its form for reads.
	ErrPrecondition = errors.New("precondition failed")
	ErrNotModified  = errors.New("not modified")

	ErrInvalid = errors.New("invalid argument")
	ErrRange   = errors.New("range not satisfiable")
	ErrPart    = errors.New("invalid part")
	// ErrOrder says that Complete was given parts out of order.
	ErrOrder = errors.New("parts are not in ascending order")
	// ErrTooSmall says that a part other than the last is below PartBytesMin.
	ErrTooSmall = errors.New("part is too small")
	// ErrDigest says that a body is not what its sender said it would be.
	ErrDigest = errors.New("digest does not match")

	// ErrCorrupt says that stored bytes are damaged and no copy could replace them.
	ErrCorrupt = errors.New("stored data is corrupt")
	// ErrForbiddenPlace says that bytes of a bucket would lie, or would go, where its
	// Residency does not allow. The error names the place and what is allowed.
	ErrForbiddenPlace = errors.New("place is not allowed for the bucket")
	// ErrReadOnly says that a bucket shows data that may only be read.
	ErrReadOnly = errors.New("the bucket may only be read")
	// ErrFull says that no disk has the room.
	ErrFull = errors.New("no space left")
	// ErrUnavailable says that a disk or another store that is needed does not work.
	ErrUnavailable = errors.New("storage is unavailable")
	ErrClosed      = errors.New("store is closed")
	// ErrAway says that a Mover does not have the data of a version; its Info says where
	// it lies. No client of a front door meets it.
	ErrAway = errors.New("data lies elsewhere")
)
