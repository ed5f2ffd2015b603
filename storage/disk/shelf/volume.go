package shelf

import (
	"fmt"
	"path"
	"strings"

	"polder.dev/polder/storage/disk/drive"
)

// volume is a file of the log. Files stay open; s.mu guards pins and doomed.
type volume struct {
	volumeHead
	file   drive.File
	end    int64 // behind the last record; of the newest volume, the leader's
	seq    uint64
	synced int64 // durable up to here; the leader's
	live   int64 // bytes of entries that are still in use; s.mu
	pins   int
	doomed bool
}

func volumeName(id uint32) string { return fmt.Sprintf("%08x.vol", id) }

func volumeID(name string) (id uint32, ok bool) {
	base, isVolume := strings.CutSuffix(name, ".vol")
	if !isVolume || len(base) != 8 {
		return 0, false
	}
	_, err := fmt.Sscanf(base, "%08x", &id)
	return id, err == nil
}

func (s *Shelf) volumePath(id uint32) string { return path.Join(s.dir, "volumes", volumeName(id)) }

// newVolume makes the next volume, durably, and begins to write there.
func (s *Shelf) newVolume() error {
	id := uint32(1)
	if s.tail != nil {
		id = s.tail.id + 1
	}
	f, err := s.fs.Create(s.volumePath(id))
	if err != nil {
		return fmt.Errorf("making a volume: %w", err)
	}
	v := &volume{volumeHead: volumeHead{id: id, salt: s.rng.Uint64()}, file: f, end: volumeHeadBytes, synced: volumeHeadBytes}
	if _, err = f.WriteAt(v.encode(), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.fs.SyncDir(path.Join(s.dir, "volumes"))
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("making volume %d: %w", id, err)
	}
	s.mu.Lock()
	s.volumes[id] = v
	s.tail = v
	s.mu.Unlock()
	return nil
}

// pin keeps a volume's file from being removed; nil says that it is gone.
func (s *Shelf) pin(id uint32) *volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.volumes[id]
	if v == nil || v.doomed {
		return nil
	}
	v.pins++
	return v
}

func (s *Shelf) unpin(v *volume) error {
	s.mu.Lock()
	v.pins--
	last := v.doomed && v.pins == 0
	s.mu.Unlock()
	if last {
		return s.removeVolume(v)
	}
	return nil
}

// doom removes a volume as soon as nobody reads it.
func (s *Shelf) doom(v *volume) error {
	s.mu.Lock()
	v.doomed = true
	idle := v.pins == 0
	s.mu.Unlock()
	if idle {
		return s.removeVolume(v)
	}
	return nil
}

func (s *Shelf) removeVolume(v *volume) error {
	s.mu.Lock()
	delete(s.volumes, v.id)
	s.mu.Unlock()
	err := v.file.Close()
	if e := s.fs.Remove(s.volumePath(v.id)); err == nil {
		err = e
	}
	return err
}
