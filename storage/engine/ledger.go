package engine

import (
	"errors"
	"io"

	"polder.dev/polder/storage"
)

// InlineMax is up to which size a blob is handed over as bytes, in the change that
// needs it. Larger ones are staged.
const InlineMax = 128 << 10

// ErrGone says that an entry was replaced since it was read; read it again.
var ErrGone = errors.New("entry is gone")

// Part is what one disk must hold together: all entries of one key of one bucket.
// The zero Part is held by every disk.
type Part struct {
	ID     string
	Copies int
}

// Ledger is what a backend brings.
type Ledger interface {
	// Rev returns a number above all that it or an earlier run has returned.
	Rev() uint64

	// Lock excludes other holders of the same part until the function it returns is
	// called. Changes of a part are decided and committed under it.
	Lock(p Part) func()

	// Get returns an entry as the last Commit left it.
	Get(p Part, key []byte) (Entry, bool, error)

	// Scan goes through the entries with keys in [from, to), upwards or downwards. It
	// sees what was committed before, and may see what is committed meanwhile.
	Scan(from, to []byte, reverse bool) Cursor

	// Stage begins a blob of size bytes, 0 where that is unknown.
	Stage(p Part, size int64) (Stage, error)

	// Take makes a stage of a file that is on the part's disk already, or returns
	// storage.ErrNoHandover.
	Take(p Part, h *storage.Handover) (Stage, error)

	// Commit makes all changes of a batch, or none. It returns when they are as durable
	// as the batch asks, and visible.
	Commit(b Batch) error

	// Open pins the blob of an entry, or returns ErrGone.
	Open(p Part, e Entry) (Blob, error)

	// Usage counts the entries by the first UsageBytes of their keys.
	Usage(prefix []byte) (storage.Count, error)

	// CopiesMax is how many disks there are to hold copies.
	CopiesMax() int

	// Close makes all durable and releases the ledger.
	Close() error
}

// UsageBytes of a key say where it is counted.
const UsageBytes = 9

// Entry is one of the map's.
type Entry struct {
	Key, Value []byte
	// Rev of the batch that wrote it.
	Rev uint64
	// Weight is what it counts in bytes; below 0 it is not counted.
	Weight int64
	// Place is the ledger's own: where the blob lies. It is nil if there is none.
	Place any
}

// Cursor goes through entries. What Entry returns is valid for good.
type Cursor interface {
	// Next moves on, and reports whether there is an entry.
	Next() bool
	// Seek moves to the first entry from key on, with key included upwards and excluded
	// downwards; nil upwards is the end. It never goes back.
	Seek(key []byte) bool
	Entry() Entry
	// Close releases the cursor and returns what went wrong on the way.
	Close() error
}

// Stage is a blob that comes in.
type Stage interface {
	// Write appends. It keeps nothing of p.
	io.Writer
	// Discard gives up what no Commit took. After a Commit it does nothing.
	Discard()
}

// Batch is what is committed at once.
type Batch struct {
	Part       Part
	Rev        uint64
	Durability storage.Durability
	Changes    []Change
}

// Change of one entry.
type Change struct {
	Key []byte
	// Delete removes the entry and its blob.
	Delete bool
	Value  []byte
	Weight int64
	// Data is a blob of at most InlineMax bytes; Stage a larger one. From takes the
	// blob of another entry, which is removed, or with From equal to Key keeps it.
	Data  []byte
	Stage Stage
	From  []byte
	// Spare lets a change without a blob take room of what is kept in reserve, because
	// it makes room, or leads to it.
	Spare bool
}

// Blob is stored data, pinned.
type Blob interface {
	// ReadAt verifies what it reads.
	io.ReaderAt
	Extents(off, n int64) ([]storage.Extent, error)
	// Once has what is read not stay in the machine's memory, where the ledger can do that.
	Once()
	// Idle gives back what can be had again, such as an open file.
	Idle()
	Close() error
}
