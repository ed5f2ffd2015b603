package storage

import (
	"context"
	"io"
)

// Mover is a Store that can keep what it knows of an object without the object's data,
// which then lies at a place that only the caller can reach. What moves objects between
// tiers is built on it. Keys, versions, ETags, listings and conditions stay the Mover's,
// so they are one whatever moves; its Buckets are Relocators.
//
// No place is lost: one that a caller claims before it writes there, or that no version
// refers to any more, is noted in the very commit that makes it so, until Forget.
type Mover interface {
	Store

	// Flush makes durable all that was acknowledged before it was called. Data of a place
	// may be removed only after that, or a power cut could bring back who refers to it.
	Flush() error

	// Loose lists at most limit notes of places with IDs above after. No version refers to
	// such a place, unless its claimer is still at work.
	Loose(ctx context.Context, after string, limit int) ([]Loose, error)

	// Forget removes a note, once there is nothing at the place.
	Forget(ctx context.Context, id string) error
}

// Loose is a note of a place that no version refers to.
type Loose struct {
	ID    string // opaque; notes are in its order
	Place string
}

// Relocator is a Bucket of a Mover. Open of a version whose data is away is ErrAway; all
// else works as if it were there.
type Relocator interface {
	Bucket

	// Claim notes, durably, that a place may come to hold data of a version; revision is
	// 0 for one that is still to come. Whoever claims takes a place that never was one.
	Claim(ctx context.Context, key string, revision uint64, place string) (Loose, error)

	// Relocate changes, atomically and durably, where the data of exactly one version
	// lies, and nothing else of it. It returns ErrNoVersion if there is no such revision
	// any more, and ErrPrecondition if its data does not lie where the caller thought.
	// Data that is dropped stays readable for who has it open.
	Relocate(ctx context.Context, key string, r Relocation) (Info, error)

	// Preview opens the object that Complete would make of the parts, or returns the
	// error that Complete would.
	Preview(ctx context.Context, key, upload string, parts []PartRef) (Object, error)
}

// Relocation is a change of where a version's data lies.
type Relocation struct {
	Revision uint64
	// From is where it lies now, To where from now on.
	From, To Whereabouts
	// Data is read to its end if the data comes back. It must be the version's: the
	// caller has verified it when it returns io.EOF.
	Data io.Reader
	// Claim is the ID of the note that To.Place was claimed with; it is removed.
	Claim string
}

// Whereabouts of the data of a version. The zero value is the store alone.
type Whereabouts struct {
	// Place outside of the store holds the data; "" is none. It is the very text that it
	// was claimed with.
	Place string
	// Sum is of the data at the place, in whatever form its writer likes.
	Sum string
	// Away says that the store itself has no data: only Place has.
	Away bool
}
