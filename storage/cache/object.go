package cache

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
)

// flight is a block that is being read; who wants it as well waits for done.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// blocks is how many an object of size has.
func blocks(size int64) int64 { return (size + BlockBytes - 1) / BlockBytes }

// Whole returns an object that lies in memory in one block, or nil. It needs no store,
// holds no file, and hands out memory without copying.
func (c *Cache) Whole(i storage.Info) storage.Object {
	if i.Size == 0 || i.Size > BlockBytes {
		return nil
	}
	e := c.get(key{revision: i.Revision}, true)
	if e == nil || int64(len(e.data)) != i.Size {
		return nil
	}
	c.meters.hits.Inc()
	return &whole{info: i, data: e.data}
}

// whole implements storage.Object over one block.
type whole struct {
	info storage.Info
	data []byte
	one  [1]storage.Extent
}

func (o *whole) Info() storage.Info { return o.info }

func (o *whole) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", storage.ErrRange, off)
	}
	n := copy(p, o.data[min(off, int64(len(o.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *whole) Extents(off, n int64) ([]storage.Extent, error) {
	if err := within(off, n, int64(len(o.data))); err != nil || n == 0 {
		return nil, err
	}
	o.one[0] = storage.Extent{Length: n, Bytes: o.data[off : off+n : off+n]}
	return o.one[:], nil
}

func within(off, n, size int64) error {
	if off < 0 || n < 0 || off+n > size {
		return fmt.Errorf("%w: bytes %d to %d of %d", storage.ErrRange, off, off+n, size)
	}
	return nil
}

func (o *whole) Close() error { return nil }

// Object reads another one through the cache.
type Object struct {
	c     *Cache
	src   storage.Object
	info  storage.Info
	owner *Owner

	last atomic.Int64 // block that was read, and 1
	run  atomic.Int32 // of blocks that were read one after the other

	users  atomic.Int32 // of src: the object itself, and who reads ahead
	closed atomic.Bool
}

// Wrap reads src, whose revision and size i tells, through the cache; i is what the
// object says of itself. It closes src.
func (c *Cache) Wrap(src storage.Object, i storage.Info, owner *Owner) *Object {
	o := &Object{c: c, src: src, info: i, owner: owner}
	o.users.Store(1)
	return o
}

// Info is what Wrap was told.
func (o *Object) Info() storage.Info { return o.info }

// length of a block.
func (o *Object) length(n int64) int64 { return min(o.info.Size-n*BlockBytes, BlockBytes) }

// block returns one, from memory or read into it. Those who want the same at once share
// one read.
func (o *Object) block(n int64, ahead bool) ([]byte, error) {
	k := key{o.info.Revision, uint32(n)}
	c := o.c
	again := o.last.Load() == n+1 // the same reader goes on within the block
	if e := c.get(k, !ahead && !again); e != nil {
		if int64(len(e.data)) != o.length(n) {
			return nil, fmt.Errorf("%w: two objects have revision %d", storage.ErrCorrupt, k.revision)
		}
		if !again {
			c.meters.hits.Inc()
		}
		return e.data, nil
	}
	c.flightMu.Lock()
	if f := c.flights[k]; f != nil {
		c.flightMu.Unlock()
		<-f.done
		return f.data, f.err
	}
	if e := c.get(k, false); e != nil { // it has just landed
		c.flightMu.Unlock()
		return e.data, nil
	}
	f := &flight{done: make(chan struct{})}
	c.flights[k] = f
	c.flightMu.Unlock()
	defer func() {
		c.flightMu.Lock()
		delete(c.flights, k)
		c.flightMu.Unlock()
		close(f.done)
	}()
	if ahead {
		c.meters.ahead.Inc()
	} else {
		c.meters.misses.Inc()
	}
	f.data, f.err = o.load(k)
	return f.data, f.err
}

// load reads a block, and has the cache hold it if it can. There must be room for it even
// while it is read; where there is none, whoever wants it reads past the cache.
func (o *Object) load(k key) ([]byte, error) {
	c := o.c
	size := o.length(int64(k.number))
	if !c.cfg.Memory.Take(budget.Cache, size+overhead) {
		return nil, fmt.Errorf("%w: memory has no room for a block", storage.ErrFull)
	}
	e := &entry{key: k, data: make([]byte, size), owner: o.owner}
	if n, err := o.src.ReadAt(e.data, int64(k.number)*BlockBytes); n < len(e.data) {
		c.cfg.Memory.Give(budget.Cache, e.cost())
		return nil, err
	}
	if !c.fifo.add(e) {
		c.cfg.Memory.Give(budget.Cache, e.cost())
	}
	return e.data, nil
}

// ReadAt implements storage.Object.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", storage.ErrRange, off)
	}
	n := 0
	for n < len(p) && off < o.info.Size {
		i := off / BlockBytes
		b, err := o.block(i, false)
		if err != nil { // not all of the block is damaged
			m, err := o.src.ReadAt(p[n:], off)
			return n + m, err
		}
		o.follow(i)
		k := copy(p[n:], b[off-i*BlockBytes:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Extents implements storage.Object: memory that is handed out, not copied.
func (o *Object) Extents(off, n int64) ([]storage.Extent, error) {
	if err := within(off, n, o.info.Size); err != nil || n == 0 {
		return nil, err
	}
	i := off / BlockBytes
	b, err := o.block(i, false)
	if err != nil {
		return o.src.Extents(off, n)
	}
	o.follow(i)
	b = b[off-i*BlockBytes:]
	k := min(n, int64(len(b)))
	return []storage.Extent{{Length: k, Bytes: b[:k:k]}}, nil
}

// follow reads ahead where blocks are read one after the other: the longer that goes on,
// the further.
func (o *Object) follow(n int64) {
	switch last := o.last.Swap(n+1) - 1; {
	case n == last:
		return
	case n != last+1 || n == 0:
		o.run.Store(0)
		return
	}
	far := min(int64(1)<<min(o.run.Add(1), 16), int64(o.c.cfg.Ahead))
	for i := n + 1; i <= n+far && i < blocks(o.info.Size); i++ {
		if o.c.shard(key{o.info.Revision, uint32(i)}).holds(key{o.info.Revision, uint32(i)}) {
			continue
		}
		select {
		case o.c.ahead <- struct{}{}:
		default:
			return // enough is read ahead already
		}
		o.users.Add(1)
		go func() {
			defer func() { <-o.c.ahead; _ = o.leave() }() // it was only read
			if !o.closed.Load() {
				_, _ = o.block(i, true) // who asks for the block gets the error
			}
		}()
	}
}

func (o *Object) leave() error {
	if o.users.Add(-1) == 0 {
		return o.src.Close()
	}
	return nil
}

// Close implements storage.Object. What is read ahead just now ends first.
func (o *Object) Close() error {
	if o.closed.Swap(true) {
		return nil
	}
	return o.leave()
}

// Warm reads all of the object into memory; done is told of bytes as they are there.
// With pin they stay until Unpin. It returns storage.ErrFull if the cache may not pin so
// much; after an error nothing is pinned by it.
func (o *Object) Warm(ctx context.Context, pin bool, done func(bytes int64)) (err error) {
	n := int64(0)
	defer func() {
		for ; err != nil && pin && n > 0; n-- {
			o.c.fifo.unpin(key{o.info.Revision, uint32(n - 1)})
		}
	}()
	for ; n < blocks(o.info.Size); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := key{o.info.Revision, uint32(n)}
		pinned := pin && o.c.fifo.pin(k)
		if !pinned {
			if _, err := o.block(n, true); err != nil {
				return fmt.Errorf("warming %s: %w", o.info.Key, err)
			}
			if pin && !o.c.fifo.pin(k) {
				return fmt.Errorf("warming %s: %w: the cache of %d bytes can pin no more", o.info.Key, storage.ErrFull, o.c.cfg.BytesMax)
			}
		}
		if done != nil {
			done(o.length(n))
		}
	}
	return nil
}

// Unpin lets go of what Warm has pinned of an object.
func (c *Cache) Unpin(i storage.Info) {
	for n := range blocks(i.Size) {
		c.fifo.unpin(key{i.Revision, uint32(n)})
	}
}

var _ storage.Object = (*Object)(nil)
