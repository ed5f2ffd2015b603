package server

import (
	"fmt"
	"os"
	"runtime/debug"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
)

// What of the process's memory is not for clients. An index holds two tables of changes
// of up to 64 MiB that are not on the disk yet, and a cache of what was read.
const (
	programBytes  = 64 << 20
	changesBytes  = 128 << 20
	indexBytesMin = 8 << 20
	indexBytesMax = 64 << 20
	clientsMin    = 64 << 20
	clientsAim    = 256 << 20 // before indexes get more than the least
)

// parts of a process's memory. What is left is for garbage, an eighth.
type parts struct {
	bytesMax     int64
	indexBytes   int64 // the cache of each disk's index
	clientsBytes int64
}

// MemoryMin is the least that a store on so many disks, those of tiers included, may have.
func MemoryMin(disks int) int64 { return (160 + 160*int64(disks)) << 20 }

// memoryOf is what a store has by default.
func memoryOf(disks int) int64 { return (480 + 224*int64(disks)) << 20 }

// divide says what of bytesMax is for what; 0 is the default.
func divide(bytesMax int64, disks int) (parts, error) {
	if bytesMax == 0 {
		bytesMax = memoryOf(disks)
	}
	if least := MemoryMin(disks); bytesMax < least {
		return parts{}, fmt.Errorf("%w: %d bytes of memory are too little for a store on %d disks; give it %d (%d MiB) or more",
			storage.ErrInvalid, bytesMax, disks, least, least>>20)
	}
	n := int64(disks)
	rest := bytesMax - bytesMax/8 - programBytes - n*changesBytes
	index := min(max((rest-clientsAim)/n, indexBytesMin), indexBytesMax)
	return parts{bytesMax: bytesMax, indexBytes: index, clientsBytes: max(rest-n*index, clientsMin)}, nil
}

// part divides memory for a home on so many disks, and those of the tiers.
func (s *Server) part(disks int) (err error) {
	for _, t := range s.cfg.Tiers {
		disks += len(t.Disks)
	}
	if s.parts, err = divide(s.cfg.MemoryBytesMax, disks); err != nil {
		return err
	}
	s.memory = budget.New(s.parts.clientsBytes)
	return nil
}

// BoundHeap has Go collect garbage before the process is at the bound of its memory. Who
// sets GOMEMLIMIT has said where that is. It is for a process that is the store's alone.
func (s *Server) BoundHeap() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(s.parts.bytesMax - s.parts.bytesMax/16)
	}
}
