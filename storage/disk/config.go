package disk

import (
	"log/slog"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/disk/drive"
)

// Config is what a store is opened with. Dirs is needed; zero values are the defaults.
type Config struct {
	// Dirs has a directory on each disk. If none holds a store yet, one is made of all.
	Dirs []string
	// Class of the disks; storage.Capacity if it is 0.
	Class storage.Class
	Log   *slog.Logger
	Now   func() time.Time
	// Missing allows disks to be away: what only they hold is storage.ErrUnavailable, and
	// so are writes to what they hold a copy of.
	Missing bool
	// Seed of the names of files and disks; 0 takes one from the machine.
	Seed uint64

	// Memory is what large buffers of bodies are of; nil is without a bound.
	Memory *budget.Budget

	// VolumeBytes, CacheBytes, ReserveBytes and FlushBytes are those of shelf.Config.
	VolumeBytes, CacheBytes, ReserveBytes, FlushBytes int64

	// FlushEvery is how long what was acknowledged as storage.Written may stay unsynced;
	// a second.
	FlushEvery time.Duration
	// TidyEvery is how often expired objects are removed and dead space is compacted; 10
	// minutes. ScrubBytesPerSecond is how fast stored bytes are read over, to find what
	// has rotted; 8 MiB.
	TidyEvery           time.Duration
	ScrubBytesPerSecond int64

	fs drive.FS
}

func (c Config) complete() Config {
	if c.fs == nil {
		c.fs = drive.OS{}
	}
	if c.Class == storage.Hot {
		c.Class = storage.Capacity
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FlushEvery == 0 {
		c.FlushEvery = time.Second
	}
	if c.TidyEvery == 0 {
		c.TidyEvery = 10 * time.Minute
	}
	if c.ScrubBytesPerSecond == 0 {
		c.ScrubBytesPerSecond = 8 << 20
	}
	return c
}

// On uses a file system of a test's.
func (c Config) On(fs drive.FS) Config {
	c.fs = fs
	return c
}
