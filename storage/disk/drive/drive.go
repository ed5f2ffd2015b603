// Package drive is what the disk store asks of a file system, so that tests can cut its
// power, fill it and let it rot (drivetest). OS is the real one. Only storage/disk and
// what lies below it import it.
package drive

import (
	"io"
	"os"
)

// FS is a file system. Names are paths; a directory's changes are durable after SyncDir.
type FS interface {
	// Create makes a file for reading and writing, empty if it is there already.
	Create(name string) (File, error)
	// Open opens a file that is there, for reading and writing.
	Open(name string) (File, error)
	Remove(name string) error
	// Rename replaces what has the new name.
	Rename(from, to string) error
	MkdirAll(dir string) error
	// List returns the names in a directory, in any order.
	List(dir string) ([]string, error)
	Stat(name string) (size int64, dir bool, err error)
	SyncDir(dir string) error
	// Lock excludes other programs until it is closed.
	Lock(name string) (io.Closer, error)
	// Room returns the bytes of the file system, and those that are free.
	Room(dir string) (total, free int64, err error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate sets room aside for the first n bytes, and grows the file to them.
	Allocate(n int64) error
	// Sync makes data and size durable.
	Sync() error
	// OS is the file for the kernel, or nil where there is none.
	OS() *os.File
}
