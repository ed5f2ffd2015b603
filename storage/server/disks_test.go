package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// move renames a directory, as a file system comes and goes.
func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// refused opens what must not open, for a reason.
func refused(t *testing.T, cfg Config, why ...string) {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err == nil {
		_ = s.Close()
		t.Fatal("a store without its disk was opened")
	}
	for _, w := range why {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is missing in: %v", w, err)
		}
	}
}

// TestMovedDirectory: a data directory with its disk in it can be put anywhere.
func TestMovedDirectory(t *testing.T) {
	old, now := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "now")
	_, url, stop := run(t, Config{Dir: old})
	newClient(t, url).s3("PUT", "/data", "", 200)
	stop()
	move(t, old, now)
	_, url, _ = run(t, Config{Dir: now})
	newClient(t, url).s3("GET", "/data", "", 200)
	if _, err := os.Stat(old); err == nil {
		t.Error("the old directory was made again")
	}
}

// TestDiskAway: a disk that is not mounted is never taken for an empty one.
func TestDiskAway(t *testing.T) {
	top := t.TempDir()
	a, b, gone := filepath.Join(top, "a"), filepath.Join(top, "b"), filepath.Join(top, "gone")
	for name, c := range map[string]struct {
		disks  []string
		mount  bool // the mount point stays
		reason string
	}{
		"the only one":        {[]string{a}, true, "mount it"},
		"one of two":          {[]string{a, b}, true, "is it mounted?"},
		"without a directory": {[]string{a}, false, "mount it"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), Disks: c.disks}
			_, url, stop := run(t, cfg)
			newClient(t, url).s3("PUT", "/data", "", 200)
			stop()
			move(t, a, gone)
			if c.mount {
				if err := os.Mkdir(a, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, cfg, a, c.reason)
			if len(c.disks) > 1 { // what is left of the store runs, and does not forget the other
				cfg.Missing = true
				s, _, stop := run(t, cfg)
				if err := s.rememberPool(); err != nil {
					t.Fatal(err)
				}
				stop()
				cfg.Missing = false
			}
			if err := os.RemoveAll(a); err != nil {
				t.Fatal(err)
			}
			move(t, gone, a)
			cfg.Disks = nil
			_, url, stop = run(t, cfg)
			newClient(t, url).s3("GET", "/data", "", 200)
			stop()
			for _, d := range c.disks {
				if err := os.RemoveAll(d); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestTierAway is the same of a tier.
func TestTierAway(t *testing.T) {
	top := t.TempDir()
	big := filepath.Join(top, "big")
	cfg := Config{Dir: t.TempDir(), Tiers: []Tier{{Name: "big", Class: "capacity", Disks: []string{big}}}}
	_, _, stop := run(t, cfg)
	stop()
	move(t, big, filepath.Join(top, "gone"))
	refused(t, cfg, "tier big", big, "mount it")
	move(t, filepath.Join(top, "gone"), big)
	_, _, stop = run(t, cfg)
	stop()
}
