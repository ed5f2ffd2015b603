package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage/disk"
)

// disksFile lists the directories of the disks, so that those that were added are found
// again. What lies in the data directory is listed relative to it, so that a copy of the
// whole, at another place, is a store of its own.
const disksFile = "disks.json"

// tiersFile lists the tiers that were opened.
const tiersFile = "tiers.json"

// dirs are the disks' directories: those that are known, or, when the store is made,
// those of the configuration. Where a known one holds no disk, its file system may not be
// mounted: it is never taken for an empty disk, or clients would find an empty store.
func (s *Server) dirs() ([]string, error) {
	known, err := s.known()
	if err != nil {
		return nil, err
	}
	if known == nil {
		return s.fresh()
	}
	var here []string
	for _, d := range known {
		ok, err := disk.Holds(d)
		if err != nil && !s.cfg.Missing {
			return nil, fmt.Errorf("looking at disk %s: %w", d, err)
		}
		if ok && err == nil {
			here = append(here, d)
		} else {
			s.away = append(s.away, d)
		}
	}
	if len(here) == 0 {
		return nil, fmt.Errorf("no disk of the store is in %s; mount it, or remove %s to begin an empty store", strings.Join(known, ", "), filepath.Join(s.cfg.Dir, disksFile))
	}
	return here, nil
}

// fresh makes the directories of a store that is made now.
func (s *Server) fresh() ([]string, error) {
	dirs := slices.Clone(s.cfg.Disks)
	if len(dirs) == 0 {
		dirs = []string{filepath.Join(s.cfg.Dir, "disk")}
	}
	for i, d := range dirs {
		abs, err := filepath.Abs(d)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d, err)
		}
		dirs[i] = abs
		if err := os.MkdirAll(abs, 0o700); err != nil {
			return nil, fmt.Errorf("making the directory of a disk: %w", err)
		}
	}
	return dirs, nil
}

// known are the directories that disksFile lists, absolute; nil where there is none yet.
func (s *Server) known() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, disksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading which disks there are: %w", err)
	}
	var known []string
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("reading %s: %w", disksFile, err)
	}
	for i, d := range known {
		if !filepath.IsAbs(d) {
			d = filepath.Join(s.cfg.Dir, d)
		}
		if known[i], err = filepath.Abs(d); err != nil {
			return nil, fmt.Errorf("disk %s: %w", d, err)
		}
	}
	for _, d := range s.cfg.Disks {
		if abs, err := filepath.Abs(d); err != nil || !slices.Contains(known, abs) {
			return nil, fmt.Errorf("the store is there already, and %s is none of its disks; add it with `polder disk add` while the store runs", d)
		}
	}
	return known, nil
}

// openDisks opens the disks and writes down where they are.
func (s *Server) openDisks(cfg disk.Config) error {
	var err error
	if cfg.Dirs, err = s.dirs(); err != nil {
		return err
	}
	if err := s.part(len(cfg.Dirs) + len(s.away)); err != nil {
		return err
	}
	cfg.Memory, cfg.CacheBytes = s.memory, s.parts.indexBytes
	if s.disks, err = disk.Open(cfg); err != nil {
		if len(s.away) > 0 {
			return fmt.Errorf("opening the disks: there is none in %s, is it mounted? %w", strings.Join(s.away, ", "), err)
		}
		return fmt.Errorf("opening the disks: %w", err)
	}
	return s.rememberPool()
}

// rememberPool writes down the directories of the pool as it is, and of the disks that
// are away as long as some are.
func (s *Server) rememberPool() error {
	dir, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return err
	}
	var dirs []string
	missing := false
	for _, d := range s.disks.Disks() {
		switch rel, err := filepath.Rel(dir, d.Dir); {
		case d.Dir == "":
			missing = true
		case err == nil && filepath.IsLocal(rel):
			dirs = append(dirs, rel)
		default:
			dirs = append(dirs, d.Dir)
		}
	}
	if missing {
		dirs = append(dirs, s.away...)
	}
	return s.write(disksFile, dirs)
}

// knownTier refuses a tier that was open before and of which a disk is not there, and
// makes the directories of one that is new.
func (s *Server) knownTier(t Tier) error {
	names, err := s.tierNames()
	if err != nil {
		return err
	}
	for _, d := range t.Disks {
		held, err := disk.Holds(d)
		if err != nil || held {
			continue // what is wrong is said when it is opened
		}
		if slices.Contains(names, t.Name) {
			return fmt.Errorf("no disk of the tier is in %s; mount it", d)
		}
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// tierNames are those of all tiers that ever were open.
func (s *Server) tierNames() ([]string, error) {
	var names []string
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, tiersFile))
	if err == nil {
		err = json.Unmarshal(b, &names)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", tiersFile, err)
	}
	return names, nil
}

// rememberTiers writes down which tiers there are.
func (s *Server) rememberTiers() error {
	names, err := s.tierNames()
	if err != nil {
		return err
	}
	old := len(names)
	for _, t := range s.cfg.Tiers {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	if len(names) == old {
		return nil
	}
	return s.write(tiersFile, names)
}

func (s *Server) write(name string, list []string) error {
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return pki.WriteFile(filepath.Join(s.cfg.Dir, name), append(b, '\n'))
}
