package shelf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/index"
	"polder.dev/polder/storage/wire"
)

// position is a place in the log.
type position struct {
	vol uint32
	off int64
}

func (p position) before(q position) bool { return p.vol < q.vol || p.vol == q.vol && p.off < q.off }

func (p position) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, p.vol), uint64(p.off))
}

func decodePosition(b []byte) position {
	return position{binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))}
}

// recover opens volumes and index, and replays what is not in the index.
func (s *Shelf) recover() error {
	if err := s.openVolumes(); err != nil {
		return err
	}
	m, err := s.openIndex()
	if err != nil {
		if s.index != nil {
			_ = s.index.Close()
			s.index = nil
		}
		s.log.Warn("the index cannot be used and is made anew", "path", s.dir, "err", err)
		if m, err = s.rebuild(); err != nil {
			return err
		}
	}
	if err := s.replay(m); err != nil {
		return err
	}
	return s.dropEmpty()
}

// openVolumes finds the volumes. One whose head was never written in full is removed.
func (s *Shelf) openVolumes() error {
	names, err := s.fs.List(path.Join(s.dir, "volumes"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		id, ok := volumeID(name)
		if !ok {
			return fmt.Errorf("%w: %s is no volume", storage.ErrInvalid, path.Join(s.dir, "volumes", name))
		}
		v, err := s.openVolume(id)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		s.volumes[id] = v
		s.tail = v
	}
	return nil
}

func (s *Shelf) openVolume(id uint32) (*volume, error) {
	f, err := s.fs.Open(s.volumePath(id))
	if err != nil {
		return nil, err
	}
	b := make([]byte, volumeHeadBytes)
	_, err = f.ReadAt(b, 0)
	head, bad := decodeVolumeHead(b)
	size, sizeErr := f.Size()
	if sizeErr != nil {
		return nil, sizeErr
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("reading volume %d: %w", id, err)
	case bad != nil && size > volumeHeadBytes:
		return nil, fmt.Errorf("volume %d: %w; its records cannot be told from others", id, bad)
	case bad != nil:
		return nil, errors.Join(f.Close(), s.fs.Remove(s.volumePath(id)))
	case head.id != id:
		return nil, fmt.Errorf("%w: volume %d says that it is %d", storage.ErrCorrupt, id, head.id)
	}
	return &volume{volumeHead: head, file: f, end: size, synced: volumeHeadBytes}, nil
}

// openIndex opens the index and reads the books and the mark.
func (s *Shelf) openIndex() (m position, err error) {
	if s.index, err = index.Open(s.log, s.fs, path.Join(s.dir, "index"), s.CacheBytes); err != nil {
		return m, err
	}
	b, ok, err := s.index.Get(keyMark)
	if err != nil {
		return m, err
	}
	if ok && len(b) == 20 {
		m = decodePosition(b)
		s.revMax.Store(binary.BigEndian.Uint64(b[12:]))
	}
	if v := s.volumes[m.vol]; v != nil && v.end < m.off {
		return m, fmt.Errorf("%w: it knows %d bytes of volume %d, which has %d", storage.ErrCorrupt, m.off, m.vol, v.end)
	}
	return m, s.readBooks()
}

func (s *Shelf) readBooks() error {
	c := s.index.Scan([]byte{0}, firstEntry, false)
	for c.Next() {
		r := &wire.Reader{Left: slices.Clone(c.Value())}
		switch k := c.Key(); {
		case k[1] == 'u':
			s.usage[string(k[2:])] = storage.Count{Number: r.Varint(), Bytes: r.Varint()}
		case k[1] == 'l' && len(k) == 6:
			if v := s.volumes[binary.BigEndian.Uint32(k[2:])]; v != nil {
				v.live = r.Varint()
			}
		case k[1] == 'f':
			c.Seek([]byte{0, 'f' + 1}) // there may be many of them
		}
		if r.Bad {
			_ = c.Close()
			return fmt.Errorf("%w: the books of the index cannot be read", storage.ErrCorrupt)
		}
	}
	return c.Close()
}

// rebuild begins an empty index; all volumes are replayed then.
func (s *Shelf) rebuild() (m position, err error) {
	s.Recovered.Rebuilt = true
	s.usage = map[string]storage.Count{}
	for _, v := range s.volumes {
		v.live = 0
	}
	s.revMax.Store(0)
	dir := path.Join(s.dir, "index")
	names, err := s.fs.List(dir)
	if err != nil {
		return m, err
	}
	for _, n := range names {
		if err := s.fs.Remove(path.Join(dir, n)); err != nil {
			return m, fmt.Errorf("removing the index: %w", err)
		}
	}
	return s.openIndex()
}

// replay reads the log from the mark on.
func (s *Shelf) replay(m position) error {
	ids := slices.Sorted(maps.Keys(s.volumes))
	if err := s.tellShared(ids, m); err != nil {
		return err
	}
	for i, id := range ids {
		if id < m.vol {
			continue
		}
		from := int64(0)
		if id == m.vol {
			from = m.off
		}
		last := i == len(ids)-1
		if err := s.replayVolume(s.volumes[id], from, last); err != nil {
			return fmt.Errorf("replaying volume %d: %w", id, err)
		}
	}
	return nil
}

// tellShared tells of records below the mark that other disks may not have.
func (s *Shelf) tellShared(ids []uint32, m position) error {
	b, ok, err := s.index.Get(keyShared)
	if err != nil || !ok || len(b) != 12 {
		return err
	}
	s.sharing = true
	from := decodePosition(b)
	for _, id := range ids {
		v := s.volumes[id]
		at, end := int64(0), v.end
		if id == from.vol {
			at = from.off
		}
		if id == m.vol {
			end = m.off
		}
		if id < from.vol || id > m.vol {
			continue
		}
		sc := newScanner(v.file, v.volumeHead, at, end, false)
		for {
			r, err := sc.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			s.tell(r)
		}
	}
	return nil
}

func (s *Shelf) tell(r *scanned) {
	for i := range r.list {
		if s.Replayed != nil && r.flags&flagMoved == 0 {
			s.Replayed(r.list[i].key, r.rev)
		}
	}
}

// replayVolume applies a volume's records from an offset on. All but the last volume
// were made durable before the next began; of the last, each record says how much was.
func (s *Shelf) replayVolume(v *volume, from int64, last bool) error {
	sc := newScanner(v.file, v.volumeHead, from, v.end, true)
	durable := v.end
	if last {
		durable = max(from, volumeHeadBytes)
	}
	var found []*scanned
	for {
		r, err := sc.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		found = append(found, r)
		if last {
			durable = max(durable, int64(r.synced))
		}
	}
	end := max(from, volumeHeadBytes)
	found, err := s.believe(found, end, durable)
	if err != nil {
		return err
	}
	b := s.begin()
	for _, r := range found {
		if r.off > end {
			s.Recovered.Damaged++
		}
		end = r.off + r.bytes()
		v.seq = max(v.seq, r.seq)
		s.Recovered.Records++
		if b, err = s.replayRecord(b, v, r); err != nil {
			return err
		}
	}
	s.Recovered.Bytes += v.end - from
	if s.Recovered.Damaged > 0 {
		s.log.Error("durable records are damaged, and what they held may be lost", "path", s.volumePath(v.id), "stretches", s.Recovered.Damaged)
	}
	if last {
		if err := s.trim(v, end); err != nil {
			return err
		}
	}
	return s.settle(b, v)
}

// replayRecord adds a record to a batch, or to the next.
func (s *Shelf) replayRecord(b *batch, v *volume, r *scanned) (*batch, error) {
	if r.rev > s.revMax.Load() {
		s.revMax.Store(r.rev)
	}
	if err := b.add(v.id, r.off, recordHeadBytes+int64(r.changes), r.rev, r.list); err != nil {
		return b, err
	}
	s.tell(r)
	if b.b.Len() < 4<<20 {
		return b, nil
	}
	if err := b.commit(v.id, r.off+r.bytes()); err != nil {
		return b, err
	}
	s.checkpointIfDue()
	return s.begin(), s.Err()
}

func (s *Shelf) settle(b *batch, v *volume) error {
	return b.commit(v.id, v.end)
}

// whole reports whether all of a record is there, with the files it names.
func (s *Shelf) whole(r *scanned) (bool, error) {
	if r.dataBad || r.flags&flagWritten == 0 {
		return !r.dataBad, nil
	}
	for _, c := range r.list {
		if c.kind != kindFile {
			continue
		}
		whole, err := s.wholeFile(c.file, c.size)
		if err != nil || !whole {
			return false, err
		}
	}
	return true, nil
}

// wholeFile reports whether a file is there, and undamaged.
func (s *Shelf) wholeFile(id uint64, size int64) (bool, error) {
	f, err := s.fs.Open(s.filePath(id))
	if err != nil {
		return false, nil // it was not written, or its name was not
	}
	defer func() { _ = f.Close() }()
	sums, err := readSums(f, id, size)
	if errors.Is(err, storage.ErrCorrupt) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b := &fileBlob{s: s, id: id, size: size, file: f, sums: sums}
	buf := make([]byte, blockBytes)
	for off := int64(0); off < size; off += blockBytes {
		if _, err := b.blocksAt(f, sums, buf[:min(blockBytes, size-off)], off); err != nil {
			return false, nil
		}
	}
	return true, nil
}

// believe returns the records that count: all that were durable, and of the others
// those before the first that is not whole. So what is lost is always the newest, and no
// record counts without those that it builds on.
func (s *Shelf) believe(found []*scanned, end, durable int64) ([]*scanned, error) {
	for i, r := range found {
		if r.off >= durable {
			keep := r.off == end
			if keep {
				var err error
				if keep, err = s.whole(r); err != nil {
					return nil, err
				}
			}
			if !keep {
				s.Recovered.Torn += len(found) - i
				return found[:i], nil
			}
		}
		end = r.off + r.bytes()
	}
	return found, nil
}

// trim ends the newest volume behind its last record, and syncs it: what was replayed
// has been seen, and must stay.
func (s *Shelf) trim(v *volume, end int64) error {
	if end < v.end {
		if err := v.file.Truncate(end); err != nil {
			return fmt.Errorf("cutting off what is behind the last record: %w", err)
		}
	}
	v.end = end
	if err := v.file.Sync(); err != nil {
		return fmt.Errorf("syncing volume %d: %w", v.id, err)
	}
	v.synced = end
	return nil
}

// dropEmpty removes volumes that hold nothing; the newest stays.
func (s *Shelf) dropEmpty() error {
	for _, v := range s.volumes {
		if v != s.tail && v.end <= volumeHeadBytes {
			if err := s.doom(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Orphans removes files that no record names: of uploads that a crash cut off, and of
// removals that it kept from being done. It may run beside everything else.
func (s *Shelf) Orphans() (int, error) {
	n := 0
	for i := range 256 {
		dir := path.Join(s.dir, "blobs", fmt.Sprintf("%02x", i))
		names, err := s.fs.List(dir)
		if err != nil {
			return n, err
		}
		for _, name := range names {
			id, orphan, err := s.orphan(name)
			if err != nil {
				return n, err
			}
			if !orphan {
				continue
			}
			if err := s.remove(id); err != nil {
				return n, fmt.Errorf("removing an orphan: %w", err)
			}
			n++
		}
	}
	return n, nil
}

// orphan reports whether a name is of a file that nobody needs, and keeps everybody from
// opening it.
func (s *Shelf) orphan(name string) (id uint64, is bool, err error) {
	if _, err := fmt.Sscanf(name, "%016x", &id); err != nil || len(name) != 16 {
		return 0, false, nil // not ours
	}
	used := func() bool {
		return s.staged[id] || s.pins[id] > 0 || s.doomed[id] || s.dying[id] || slices.Contains(s.frees, id) || slices.Contains(s.parted, id)
	}
	s.mu.Lock()
	if used() {
		s.mu.Unlock()
		return id, false, nil
	}
	s.mu.Unlock()
	if _, known, err := s.index.Get(keyFile(id)); err != nil || known {
		return id, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if used() {
		return id, false, nil
	}
	s.dying[id] = true
	return id, true, nil
}
