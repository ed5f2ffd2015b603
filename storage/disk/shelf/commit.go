package shelf

import (
	"fmt"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/engine"
)

// record is a commit on its way.
type record struct {
	rev     uint64
	flags   uint16
	changes []change
	coded   []byte // the changes
	data    int64  // bytes
	sync    bool
	grows   bool // it takes room that nothing gives back
	stages  []*Stage
	expect  *expect // of a record that compaction wrote
	shared  bool    // other disks commit it as well
	beat    bool    // it is written although it changes nothing, for what its head says

	vol  *volume
	off  int64
	err  error
	turn chan bool // true: it is done; false: lead
}

// expect is what must still hold for a change that compaction writes again.
type expect struct {
	absent bool
	vol    uint32
	off    int64
}

// queue holds the records that wait for a leader.
type queue struct {
	mu      sync.Mutex
	waiting []*record
	led     bool
}

// pass has the next that waits lead, or nobody if none does.
func (q *queue) pass() {
	q.mu.Lock()
	var next *record
	if len(q.waiting) > 0 {
		next = q.waiting[0]
	} else {
		q.led = false
	}
	q.mu.Unlock()
	if next != nil {
		next.turn <- false
	}
}

// groupBytes of data are written before a sync, if so many wait.
const groupBytes = 8 << 20

// Commit makes changes durable, or with Written visible. Stages of changes must be this
// shelf's.
func (s *Shelf) Commit(rev uint64, d storage.Durability, changes []engine.Change) error {
	return s.make(&record{rev: rev, sync: d == storage.Synced, turn: make(chan bool, 1)}, changes)
}

// CommitShared is Commit of what other disks commit as well. After a crash Replayed is
// told of it, unless done was called, which is when all disks have it.
func (s *Shelf) CommitShared(rev uint64, d storage.Durability, changes []engine.Change) (done func(), err error) {
	r := &record{rev: rev, sync: d == storage.Synced, shared: true, turn: make(chan bool, 1)}
	err = s.make(r, changes)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.vol != nil {
			delete(s.shared, position{r.vol.id, r.off})
		}
	}, err
}

// make fills in a record, and commits it.
func (s *Shelf) make(r *record, changes []engine.Change) error {
	if !r.sync {
		r.flags |= flagWritten
	}
	if err := s.Hold(); err != nil {
		return err
	}
	defer s.Let()
	for i := range changes {
		if err := s.prepare(r, &changes[i]); err != nil {
			return err
		}
	}
	if err := s.submit(r); err != nil {
		return err
	}
	for _, g := range r.stages {
		g.done = true
		s.unstage(g.id)
		s.Let()
	}
	return nil
}

// prepare turns a change of the ledger into those of a record.
func (s *Shelf) prepare(r *record, c *engine.Change) error {
	out := change{kind: kindPlain, key: c.Key, value: c.Value, weight: c.Weight}
	switch {
	case c.Delete:
		r.changes = append(r.changes, change{kind: kindDelete, key: c.Key})
		return nil
	case c.Stage != nil:
		g := c.Stage.(*Stage)
		if err := g.end(r.sync); err != nil {
			return err
		}
		out.kind, out.size, out.file = kindFile, g.sums.Size, g.id
		r.stages = append(r.stages, g)
	case c.From != nil:
		if err := s.inherit(&out, c.From); err != nil {
			return err
		}
	case len(c.Data) > 0:
		out.inline(c.Data)
	}
	r.grows = r.grows || c.From == nil && !c.Spare
	r.changes = append(r.changes, out)
	if c.From != nil && string(c.From) != string(c.Key) {
		r.changes = append(r.changes, change{kind: kindDelete, key: c.From})
	}
	return nil
}

func (c *change) inline(data []byte) {
	c.kind, c.data, c.size, c.sum = kindInline, data, int64(len(data)), checksum(data)
}

// inherit takes the blob of the entry at from: a file by its name, inline data by a copy.
func (s *Shelf) inherit(out *change, from []byte) error {
	for {
		t, err := s.item(from)
		if err != nil {
			return err
		}
		if t == nil {
			return fmt.Errorf("%w: the entry %q is not there to take a blob from", storage.ErrCorrupt, from)
		}
		switch t.kind {
		case kindFile:
			out.kind, out.size, out.file = kindFile, t.size, t.file
		case kindInline:
			v := s.pin(t.vol)
			if v == nil {
				continue // compaction has just moved it
			}
			// Damage travels along: the checksum stays that of what was stored.
			data := make([]byte, t.size)
			n, err := v.file.ReadAt(data, t.at)
			if e := s.unpin(v); e != nil {
				return e
			}
			if n < len(data) {
				return fmt.Errorf("%w: volume %d at %d: %w", storage.ErrCorrupt, t.vol, t.at, err)
			}
			out.inline(data)
			out.sum = t.sum
		}
		return nil
	}
}

// submit hands a record to the leader, or leads.
func (s *Shelf) submit(r *record) error {
	if err := s.usable(); err != nil {
		return err
	}
	for i := range r.changes {
		r.data += int64(len(r.changes[i].data))
	}
	r.coded = appendChanges(nil, r.changes)
	if len(r.coded) > changesBytesMax || r.data > dataBytesMax {
		return fmt.Errorf("%w: a commit with %d bytes of changes", storage.ErrInvalid, len(r.coded))
	}
	q := &s.queue
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	lead := !q.led
	q.led = true
	q.mu.Unlock()
	if !lead {
		if done := <-r.turn; done {
			return r.err
		}
	}
	s.lead(r)
	return r.err
}

// lead commits the group that waits, its own record first among them, and passes the
// lead on.
func (s *Shelf) lead(own *record) {
	q := &s.queue
	q.mu.Lock()
	n, sum := 0, int64(0)
	for n < len(q.waiting) && (n == 0 || sum < groupBytes) {
		sum += q.waiting[n].data + int64(len(q.waiting[n].coded))
		n++
	}
	group := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	q.mu.Unlock()
	s.commit(group)
	q.pass()
	for _, r := range group {
		if r != own {
			r.turn <- true
		}
	}
}

// commit writes a group, syncs it if one of it asks, and makes it visible.
func (s *Shelf) commit(group []*record) {
	keep, err := s.admit(group)
	if err == nil && len(keep) > 0 {
		err = s.write(keep)
	}
	sync := false
	for _, r := range group {
		sync = sync || r.sync
	}
	if err == nil && sync {
		err = s.sync()
	}
	if err == nil && len(keep) > 0 {
		err = s.apply(keep)
	}
	if err != nil {
		for _, r := range group {
			r.err = err
		}
		return
	}
	if sync {
		s.free(len(keep) > 0)
	}
	s.loose.Store(!sync)
	s.checkpointIfDue()
}

// admit leaves out what has become pointless and refuses what there is no room for.
func (s *Shelf) admit(group []*record) ([]*record, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	roomErr := s.room(0)
	touched := map[string]bool{}
	for _, r := range group {
		for i := range r.changes {
			if r.expect == nil {
				touched[string(r.changes[i].key)] = true
			}
		}
	}
	var keep []*record
	for _, r := range group {
		switch {
		case len(r.changes) == 0 && !r.beat: // it only wants a sync
		case r.expect != nil:
			holds, err := s.holds(r)
			if err != nil {
				return nil, s.fail(err)
			}
			if holds && !touched[string(r.changes[0].key)] {
				keep = append(keep, r)
			}
		case r.grows && roomErr != nil:
			r.err = roomErr
		default:
			keep = append(keep, r)
		}
	}
	return keep, nil
}

// holds reports whether an entry is as compaction found it.
func (s *Shelf) holds(r *record) (bool, error) {
	t, err := s.item(r.changes[0].key)
	if err != nil || r.expect.absent {
		return t == nil, err
	}
	return t != nil && t.vol == r.expect.vol && t.off == r.expect.off, nil
}

// write appends records to the newest volume.
func (s *Shelf) write(group []*record) error {
	if s.tail == nil || s.tail.end >= s.VolumeBytes {
		if s.tail != nil {
			if err := s.sync(); err != nil { // all but the newest volume are durable
				return err
			}
		}
		if err := s.newVolume(); err != nil {
			return full(err)
		}
	}
	v := s.tail
	begin, seq := v.end, v.seq
	w := &writer{v: v, buf: s.buf[:0], at: v.end}
	for _, r := range group {
		r.vol, r.off = v, w.at+int64(len(w.buf))
		v.seq++
		w.record(r)
	}
	w.flush()
	s.buf = w.buf[:0]
	if w.err != nil {
		return s.takeBack(v, begin, seq, w.err)
	}
	v.end = w.at
	s.sinceLog += v.end - begin
	s.mu.Lock()
	for _, r := range group {
		if r.shared {
			s.shared[position{v.id, r.off}] = true
			s.sharing = true
		}
	}
	s.mu.Unlock()
	for _, r := range group {
		for _, g := range r.stages {
			if r.sync {
				_ = g.file.Close() // it is synced
			} else {
				s.unsynced = append(s.unsynced, g) // before the log is, which names it
			}
		}
	}
	return nil
}

// takeBack removes what was written of a group that failed, for good.
func (s *Shelf) takeBack(v *volume, end int64, seq uint64, cause error) error {
	cause = fmt.Errorf("writing volume %d: %w", v.id, cause)
	v.seq = seq
	if err := v.file.Truncate(end); err != nil {
		return s.fail(cause)
	}
	if err := s.sync(); err != nil {
		return err
	}
	return full(cause)
}

// writer gathers small pieces, and passes large ones on as they are.
type writer struct {
	v   *volume
	buf []byte
	at  int64 // where buf goes
	err error
}

const (
	gatherBytes = 1 << 20
	largeBytes  = 32 << 10
)

func (w *writer) record(r *record) {
	h := recordHead{
		salt: w.v.salt, seq: w.v.seq, synced: uint64(w.v.synced), rev: r.rev, offset: uint64(r.off),
		changes: uint32(len(r.coded)), data: uint32(r.data), flags: r.flags,
	}
	at := len(w.buf)
	w.buf = append(w.buf, make([]byte, recordHeadBytes)...)
	h.encode(w.buf[at:], r.coded)
	w.buf = append(w.buf, r.coded...)
	for i := range r.changes {
		if d := r.changes[i].data; len(d) < largeBytes {
			w.buf = append(w.buf, d...)
		} else {
			w.flush()
			w.put(d)
		}
	}
	end := r.off + h.bytes()
	w.buf = append(w.buf, make([]byte, end-w.at-int64(len(w.buf)))...)
	if len(w.buf) >= gatherBytes {
		w.flush()
	}
}

func (w *writer) flush() {
	w.put(w.buf)
	w.buf = w.buf[:0]
}

func (w *writer) put(b []byte) {
	if w.err == nil && len(b) > 0 {
		_, w.err = w.v.file.WriteAt(b, w.at)
	}
	w.at += int64(len(b))
}

// sync makes the log durable, with the files it names.
func (s *Shelf) sync() error {
	for _, g := range s.unsynced {
		if err := g.sync(); err != nil {
			return s.fail(err)
		}
		_ = g.file.Close() // it is synced
	}
	s.unsynced = nil
	if s.tail == nil {
		return nil
	}
	if err := s.tail.file.Sync(); err != nil {
		return s.fail(fmt.Errorf("syncing volume %d: %w", s.tail.id, err))
	}
	s.tail.synced = s.tail.end
	return nil
}

// Sync makes durable what was committed before.
func (s *Shelf) Sync() error {
	return s.submit(&record{sync: true, turn: make(chan bool, 1)})
}

// Flush makes durable what was committed before, if it is not, and lets go of files that
// are not needed any more.
func (s *Shelf) Flush() error {
	if s.loose.Load() {
		if err := s.Sync(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	waiting := len(s.parted) > 0
	s.mu.Unlock()
	if !waiting {
		return nil
	}
	return s.submit(&record{sync: true, beat: true, turn: make(chan bool, 1)})
}
