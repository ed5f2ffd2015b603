package storage

import "context"

// Class says how near a tier is, the nearest first.
type Class uint8

const (
	Hot      Class = iota // memory
	Fast                  // flash
	Capacity              // large disks
	Remote                // another object store
)

func (c Class) String() string {
	return [...]string{"hot", "fast", "capacity", "remote"}[min(c, Remote)]
}

// Tier is a Store that is one level among several. Objects move between tiers without
// a client seeing it, other than by how long a read takes; so a Tier holds the same
// versions with the same ETags as any other.
type Tier interface {
	Store

	// Class never changes.
	Class() Class

	// Room returns what the tier could hold in bytes and what of it is free, now. A
	// tier without bounds returns two zeros.
	Room(ctx context.Context) (total, free int64, err error)

	// Volatile says that what it acknowledges is gone when the machine restarts,
	// whatever a bucket's Durability says. A volatile tier never is the only holder of
	// an acknowledged object.
	Volatile() bool
}
