package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/drive"
)

// pool is what every disk knows of all of them: the file pool.json, which
// docs/formats/store.md describes. Of several the one with the highest epoch holds.
type pool struct {
	Format  int      `json:"format"`
	Store   string   `json:"store"`
	Epoch   uint64   `json:"epoch"`
	Settled bool     `json:"settled"`
	Members []member `json:"members"`
}

type member struct {
	ID       string  `json:"id"`
	Weight   float64 `json:"weight"`
	Draining bool    `json:"draining,omitempty"`
}

// card is pool.json.
type card struct {
	Disk string `json:"disk"`
	Pool pool   `json:"pool"`
}

const poolFormat = 1

func readCard(f drive.FS, dir string) (*card, error) {
	name := path.Join(dir, "pool.json")
	file, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	b := make([]byte, size)
	if err == nil {
		_, err = file.ReadAt(b, 0)
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	c := &card{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", storage.ErrCorrupt, name, err)
	}
	if c.Pool.Format != poolFormat {
		return nil, fmt.Errorf("%w: %s has format %d, and this program reads %d", storage.ErrInvalid, name, c.Pool.Format, poolFormat)
	}
	return c, nil
}

// Holds says whether a directory holds a disk of a store, of whichever.
func Holds(dir string) (bool, error) {
	c, err := readCard(drive.OS{}, dir)
	return c != nil, err
}

// writeCard replaces a disk's pool.json, durably.
func writeCard(f drive.FS, dir string, c card) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	name := path.Join(dir, "pool.json")
	file, err := f.Create(name + ".new")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = file.WriteAt(append(b, '\n'), 0)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := f.Rename(name+".new", name); err != nil {
		return err
	}
	return f.SyncDir(dir)
}

// readCards returns the newest pool and the disk of each directory, or no pool if all
// directories are empty.
func readCards(f drive.FS, dirs []string) (*pool, []string, error) {
	var newest *pool
	ids := make([]string, len(dirs))
	blank := ""
	for i, dir := range dirs {
		if err := f.MkdirAll(dir); err != nil {
			return nil, nil, err
		}
		c, err := readCard(f, dir)
		if err != nil {
			return nil, nil, err
		}
		if c == nil {
			blank = dir
			continue
		}
		if newest != nil && c.Pool.Store != newest.Store {
			return nil, nil, fmt.Errorf("%w: %s is of another store than the directories before it", storage.ErrInvalid, dir)
		}
		ids[i] = c.Disk
		if newest == nil || c.Pool.Epoch > newest.Epoch {
			newest = &c.Pool
		}
	}
	if newest != nil && blank != "" {
		return nil, nil, fmt.Errorf("%w: %s holds no store, and others do; open without it and add it", storage.ErrInvalid, blank)
	}
	for i, id := range ids {
		if newest != nil && !slices.ContainsFunc(newest.Members, func(m member) bool { return m.ID == id }) {
			return nil, nil, fmt.Errorf("%w: the disk in %s was taken out of the store; empty it and add it anew", storage.ErrInvalid, dirs[i])
		}
	}
	return newest, ids, nil
}
