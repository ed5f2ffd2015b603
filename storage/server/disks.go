package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"polder.dev/polder/internal/pki"
)

// disksFile lists the directories of the disks, so that those that were added are found
// again.
const disksFile = "disks.json"

// dirs are the disks' directories: those that are known, and those of the configuration,
// which are made.
func (s *Server) dirs() ([]string, error) {
	var known []string
	b, err := os.ReadFile(filepath.Join(s.cfg.Dir, disksFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		known = s.cfg.Disks
		if len(known) == 0 {
			known = []string{filepath.Join(s.cfg.Dir, "disk")}
		}
	case err != nil:
		return nil, fmt.Errorf("reading which disks there are: %w", err)
	default:
		if err := json.Unmarshal(b, &known); err != nil {
			return nil, fmt.Errorf("reading %s: %w", disksFile, err)
		}
		for _, d := range s.cfg.Disks {
			if abs, err := filepath.Abs(d); err != nil || !slices.Contains(known, abs) {
				return nil, fmt.Errorf("the store is there already, and %s is none of its disks; add it with `polder disk add` while the store runs", d)
			}
		}
	}
	for i, d := range known {
		abs, err := filepath.Abs(d)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d, err)
		}
		known[i] = abs
		if err := os.MkdirAll(abs, 0o700); err != nil && !s.cfg.Missing {
			return nil, fmt.Errorf("making the directory of a disk: %w", err)
		}
	}
	return known, s.remember(known)
}

func (s *Server) remember(dirs []string) error {
	b, err := json.Marshal(dirs)
	if err != nil {
		return err
	}
	return pki.WriteFile(filepath.Join(s.cfg.Dir, disksFile), append(b, '\n'))
}
