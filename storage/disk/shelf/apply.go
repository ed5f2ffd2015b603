package shelf

import (
	"encoding/binary"
	"fmt"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk/index"
)

// batch gathers what records change in the index, in order.
type batch struct {
	s     *Shelf
	b     index.Batch
	fresh map[string]*item // nil is deleted
	usage map[string]storage.Count
	live  map[uint32]int64
	freed []uint64
}

func (s *Shelf) begin() *batch {
	return &batch{s: s, b: s.index.NewBatch(), fresh: map[string]*item{}, usage: map[string]storage.Count{}, live: map[uint32]int64{}}
}

func (b *batch) item(key []byte) (*item, error) {
	if t, ok := b.fresh[string(key)]; ok {
		return t, nil
	}
	return b.s.item(key)
}

// add adds a record that lies at off in a volume.
func (b *batch) add(vol uint32, off, head int64, rev uint64, changes []change) error {
	at := off + head
	kept := map[uint64]bool{}
	for i := range changes {
		if changes[i].kind == kindFile {
			kept[changes[i].file] = true
		}
	}
	for i := range changes {
		c := &changes[i]
		old, err := b.item(c.key)
		if err != nil {
			return err
		}
		if old != nil {
			b.drop(c.key, old, kept)
		}
		if c.kind == kindDelete {
			b.fresh[string(c.key)] = nil
			// It is needed as long as older volumes are there, so it counts as in use.
			b.live[vol] += int64(recordHeadBytes + len(c.key))
			if err := b.b.Delete(c.key); err != nil {
				return err
			}
			continue
		}
		t := &item{rev: rev, weight: c.weight, vol: vol, off: off, kind: c.kind, size: c.size, sum: c.sum, file: c.file, value: c.value}
		if c.kind == kindInline {
			t.at = at
			at += c.size
		}
		if err := b.put(c.key, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) put(key []byte, t *item) error {
	b.fresh[string(key)] = t
	b.count(key, t, 1)
	b.live[t.vol] += t.share(key)
	if t.kind == kindFile {
		if err := b.b.Set(keyFile(t.file), key); err != nil {
			return err
		}
	}
	return b.b.Set(key, t.encode())
}

// drop takes an entry out of the books; its file goes, unless the record keeps it.
func (b *batch) drop(key []byte, t *item, kept map[uint64]bool) {
	b.count(key, t, -1)
	b.live[t.vol] -= t.share(key)
	if t.kind == kindFile && !kept[t.file] {
		b.freed = append(b.freed, t.file)
		_ = b.b.Delete(keyFile(t.file)) // a batch in memory does not fail
	}
}

func (b *batch) count(key []byte, t *item, sign int64) {
	const prefix = 9 // engine.UsageBytes
	if t.weight < 0 || len(key) < prefix {
		return
	}
	k := string(key[:prefix])
	u := b.usage[k]
	u.Number += sign
	u.Bytes += sign * t.weight
	b.usage[k] = u
}

// commit adds the books and the mark up to which the log is in, and makes all visible.
func (b *batch) commit(vol uint32, end int64) error {
	s := b.s
	s.mu.Lock()
	s.frees = append(s.frees, b.freed...)
	for k, d := range b.usage {
		u := s.usage[k]
		u.Number += d.Number
		u.Bytes += d.Bytes
		s.usage[k] = u
		v := binary.AppendVarint(binary.AppendVarint(nil, u.Number), u.Bytes)
		_ = b.b.Set(keyUsage(k), v)
	}
	for id, d := range b.live {
		if v := s.volumes[id]; v != nil {
			v.live += d
			_ = b.b.Set(keyLive(id), binary.AppendVarint(nil, v.live))
		}
	}
	shared := s.firstShared(position{vol, end})
	s.mu.Unlock()
	mark := binary.BigEndian.AppendUint64(position{vol, end}.encode(), s.revMax.Load())
	if s.sharing {
		_ = b.b.Set(keyShared, shared.encode())
	}
	_ = b.b.Set(keyMark, mark)
	s.sinceMem += int64(b.b.Len())
	return s.index.Apply(b.b)
}

// firstShared is where the first record lies that other disks may not have, or end. s.mu
// is held.
func (s *Shelf) firstShared(end position) position {
	for p := range s.shared {
		if p.before(end) {
			end = p
		}
	}
	return end
}

// apply makes a group that was written visible.
func (s *Shelf) apply(group []*record) error {
	b := s.begin()
	for _, r := range group {
		if err := b.add(r.vol.id, r.off, recordHeadBytes+int64(len(r.coded)), r.rev, r.changes); err != nil {
			return s.fail(fmt.Errorf("applying a record: %w", err))
		}
		if r.rev > s.revMax.Load() {
			s.revMax.Store(r.rev)
		}
	}
	if err := b.commit(s.tail.id, s.tail.end); err != nil {
		return s.fail(err)
	}
	return nil
}

// free is called after a sync, and lets go of files that records have replaced. Not at
// once: recovery must know that these records were durable, or it would miss the files
// that earlier records name. It knows when the head of a later record, which says so, is
// durable itself: proved says that this sync made one.
func (s *Shelf) free(proved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if proved {
		s.discard(s.parted)
		s.parted = nil
	}
	s.parted = append(s.parted, s.frees...)
	s.frees = nil
}

// discard removes files, or leaves that to the last who reads them. s.mu is held.
func (s *Shelf) discard(files []uint64) {
	for _, id := range files {
		if s.pins[id] > 0 {
			s.doomed[id] = true
		} else {
			s.bury(id)
		}
	}
	if len(files) > 0 {
		s.wake()
	}
}

// bury has a file removed that nobody reads. Who found its entry before that was replaced
// may not begin to: the file would go under their hands. s.mu is held.
func (s *Shelf) bury(id uint64) {
	s.dying[id] = true
	s.reap = append(s.reap, id)
}

// remove removes a file that was buried.
func (s *Shelf) remove(id uint64) error {
	err := s.fs.Remove(s.filePath(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dying, id)
	return err
}

func (s *Shelf) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// Wakeup tells that Reap has something to do.
func (s *Shelf) Wakeup() <-chan struct{} { return s.wakeup }

// Reap removes the files that nobody needs.
func (s *Shelf) Reap() error {
	s.mu.Lock()
	ids := s.reap
	s.reap = nil
	s.mu.Unlock()
	for _, id := range ids {
		if err := s.remove(id); err != nil {
			s.log.Warn("a file could not be removed; the next start tries again", "path", s.filePath(id), "err", err)
		}
	}
	return nil
}

// checkpointIfDue bounds what has to be replayed.
func (s *Shelf) checkpointIfDue() {
	if s.sinceLog < s.FlushBytes && s.sinceMem < s.FlushBytes/memtableShare {
		return
	}
	if s.flushing != nil {
		select {
		case <-s.flushing:
		default:
			if s.sinceMem < s.FlushBytes/memtableShare*3/2 {
				return // it is under way
			}
		}
	}
	if err := s.flush(); err != nil {
		_ = s.fail(err)
	}
}

// flush has the index written, after the log that it may not get ahead of.
func (s *Shelf) flush() error {
	if s.tail != nil && s.tail.synced < s.tail.end || len(s.unsynced) > 0 {
		if err := s.sync(); err != nil {
			return err
		}
		s.free(false)
	}
	done, err := s.index.Flush()
	if err != nil {
		return fmt.Errorf("flushing the index: %w", err)
	}
	s.flushing = done
	s.sinceLog, s.sinceMem = 0, 0
	return nil
}

// Checkpoint makes log and index durable. Afterwards nothing needs to be replayed.
func (s *Shelf) Checkpoint() error {
	var proved []uint64
	done, err := s.exclusive(func() error {
		err := s.flush()
		s.mu.Lock()
		proved, s.parted = s.parted, nil
		s.mu.Unlock()
		return err
	})
	if err != nil {
		return err
	}
	<-done
	s.mu.Lock()
	s.discard(proved)
	s.mu.Unlock()
	return nil
}

// exclusive runs f as the leader.
func (s *Shelf) exclusive(f func() error) (<-chan struct{}, error) {
	r := &record{turn: make(chan bool, 1)}
	q := &s.queue
	q.mu.Lock()
	lead := !q.led
	q.led = true
	if !lead {
		q.waiting = append(q.waiting, r)
	}
	q.mu.Unlock()
	if !lead {
		if done := <-r.turn; done {
			// Somebody led it past; it had nothing to write, so try again.
			return s.exclusive(f)
		}
		q.mu.Lock()
		q.waiting = q.waiting[1:] // it was the first
		q.mu.Unlock()
	}
	err := s.usable()
	if err == nil {
		err = f()
	}
	done := s.flushing
	q.pass()
	return done, err
}
