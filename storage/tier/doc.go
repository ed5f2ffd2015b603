// Package tier makes one store of several: a home, on the fastest durable disks, which
// knows every object; lower tiers, to which data goes when it is not used; and a cache
// in memory above. A client cannot tell where an object is, other than by how long a
// read takes: keys, versions, ETags, listings, conditions and uploads are the home's.
//
// Whoever runs a store makes one with New and has Run look after it. The invariants:
//
//   - Data leaves the home only after a copy below is durable and verified, and in one
//     commit with the entry that says so (storage.Relocator).
//   - What a policy wants below and is not there yet is never evicted.
//   - A lower copy is removed only when no entry refers to it, durably, and nobody reads
//     it; every place that may hold bytes is noted before the first one is written.
//   - No byte goes to a tier, or into the cache, that the bucket's Residency does not
//     allow. What would is refused, never warned of.
//
// It remembers nothing that the home does not, but for when objects were last read; that
// is approximate, and lost with the program.
package tier

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/residency"
)

// Level is a lower tier.
type Level struct {
	// Name is what policies call it. It has no slash, and stays: entries hold it.
	Name         string
	Class        storage.Class
	Store        storage.Store
	Jurisdiction string
	// Bucket of the store that holds the data, under names that say nothing; it is made
	// if it is not there. "polder-tier" if it is "".
	Bucket string
	// Copies that the bucket is made with.
	Copies int
	// Timeout is how long the store may take without any progress; a minute.
	Timeout time.Duration
}

// Config is what a store is made with. Home is needed; zero values are the defaults.
type Config struct {
	Home             storage.Mover
	HomeJurisdiction string
	Lower            []Level
	// Cache in memory; nil is none.
	Cache             *cache.Cache
	CacheJurisdiction string
	// Default is the policy of buckets that have none.
	Default storage.Tiers

	Log     *slog.Logger
	Now     func() time.Time
	Metrics prometheus.Registerer

	// Above HighWater, a share of the home's room, what was not used for longest leaves
	// it, until LowWater is reached; 0.9 and 0.8.
	HighWater, LowWater float64
	// Workers move data at once, for each lower tier; 4.
	Workers int
	// ScanEvery is how often all entries are looked at, for what has become old; 10
	// minutes. PressureEvery is how often the home's room is; 5 seconds. CollectEvery is
	// how often what nobody refers to is removed from lower tiers; a minute.
	ScanEvery, PressureEvery, CollectEvery time.Duration
}

func (c Config) complete() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.ScanEvery, 10 * time.Minute}, {&c.PressureEvery, 5 * time.Second}, {&c.CollectEvery, time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.HighWater == 0 {
		c.HighWater = 0.9
	}
	if c.LowWater == 0 {
		c.LowWater = 0.8
	}
	if c.Workers == 0 {
		c.Workers = 4
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// check says what cannot work.
func (c *Config) check() error {
	var errs []error
	if c.Home == nil {
		errs = append(errs, fmt.Errorf("%w: tiers need a home", storage.ErrInvalid))
	}
	if c.LowWater > c.HighWater || c.HighWater > 1 {
		errs = append(errs, fmt.Errorf("%w: the low water mark %v is above the high one, %v, or that above 1", storage.ErrInvalid, c.LowWater, c.HighWater))
	}
	js := []string{c.HomeJurisdiction, c.CacheJurisdiction}
	for _, l := range c.Lower {
		js = append(js, l.Jurisdiction)
	}
	for _, j := range js {
		if j != "" {
			errs = append(errs, residency.CheckJurisdiction(j))
		}
	}
	return errors.Join(errs...)
}
