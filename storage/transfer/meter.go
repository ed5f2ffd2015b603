package transfer

import "sync/atomic"

// Meter counts what a Run does, while it does it. The zero value is ready.
type Meter struct {
	// Objects and Bytes are done; Bytes counts what went over the wire or was there
	// already, and may fall when a request is repeated.
	Objects, Bytes atomic.Int64
	// ObjectsAll and BytesAll are what is known to be done; final once Planned.
	ObjectsAll, BytesAll atomic.Int64
	Planned              atomic.Bool

	// Skipped were the same on both sides, Failed were not done.
	Skipped, Failed atomic.Int64
	// Reused counts bytes that an earlier run had moved.
	Reused atomic.Int64
	// Unverified counts downloads for which the store had no checksum that tells.
	Unverified atomic.Int64
}
