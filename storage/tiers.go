package storage

import "time"

// Write says what an acknowledgement of a write means for the tier below.
type Write uint8

const (
	// WriteHome: the data is in the fastest durable tier, as durable as Durability says,
	// and goes down only when it is demoted.
	WriteHome Write = iota
	// WriteBack: as WriteHome, and a copy goes to the tier below as soon as it can. What
	// is acknowledged and not copied yet is lost if the home's disks are; how much that
	// is, is a metric. While the tier below is away, writes go on, and wait for it.
	WriteBack
	// WriteThrough: the tier below holds a copy, durably, before the write is
	// acknowledged. While it is away, writes fail with ErrUnavailable.
	WriteThrough
)

// Tiers is a bucket's policy. The zero value is the store's default. Whatever it says,
// reads return the same bytes; they only take longer or shorter.
type Tiers struct {
	// Lower names the tier to which data goes; "" is none.
	Lower string `json:",omitempty"`
	Write Write  `json:",omitempty"`
	// DemoteAfter is how long an object may be unused before its data leaves the home
	// for Lower; 0 is for ever, unless the home gets full.
	DemoteAfter time.Duration `json:",omitempty"`
	// DemoteBytesMin keeps smaller objects at home.
	DemoteBytesMin int64 `json:",omitempty"`
	// Pinned objects have keys with one of these prefixes, and never leave the home.
	Pinned []string `json:",omitempty"`
	// NoHot keeps the bucket's bytes out of the cache in memory.
	NoHot bool `json:",omitempty"`
	// NoPromote leaves data below even where it is read again and again.
	NoPromote bool `json:",omitempty"`
}
