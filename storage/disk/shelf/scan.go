package shelf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// scanned is a record that was found in a volume.
type scanned struct {
	recordHead
	off     int64
	body    []byte // head and changes
	list    []change
	dataBad bool // its data is damaged, or was not written in full
}

// scanner reads a volume's records one after the other. Where it finds none it looks
// for the next, so a damaged record costs no other.
type scanner struct {
	file    io.ReaderAt
	head    volumeHead
	at      int64
	end     int64
	data    bool // verify the data as well
	damaged int  // stretches without a record
	buf     []byte
	from    int64 // of buf
}

const scanBytes = 1 << 20

func newScanner(file io.ReaderAt, head volumeHead, from, end int64, data bool) *scanner {
	return &scanner{file: file, head: head, at: max(from, volumeHeadBytes), end: end, data: data}
}

// peek returns n bytes at off, or io.EOF where the volume ends before.
func (c *scanner) peek(off, n int64) ([]byte, error) {
	if off+n > c.end {
		return nil, io.EOF
	}
	if off < c.from || off+n > c.from+int64(len(c.buf)) {
		want := min(max(n, scanBytes), c.end-off)
		if int64(cap(c.buf)) < want {
			c.buf = make([]byte, want)
		}
		c.buf = c.buf[:want]
		c.from = off
		if m, err := c.file.ReadAt(c.buf, off); int64(m) < want {
			c.buf = c.buf[:0]
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("reading a volume at %d: %w", off, err)
		}
	}
	return c.buf[off-c.from : off-c.from+n], nil
}

// next returns a record, or io.EOF.
func (c *scanner) next() (*scanned, error) {
	lost := false
	for c.at+recordHeadBytes <= c.end {
		r, err := c.record(c.at)
		if err != nil {
			return nil, err
		}
		if r != nil {
			c.at += r.bytes()
			return r, nil
		}
		if !lost {
			lost = true
			c.damaged++
		}
		if err := c.skip(); err != nil {
			return nil, err
		}
	}
	return nil, io.EOF
}

// record reads the one at off, or nil if there is none.
func (c *scanner) record(off int64) (*scanned, error) {
	b, err := c.peek(off, recordHeadBytes)
	if err != nil {
		return nil, none(err)
	}
	h, ok := decodeRecordHead(b)
	if !ok || h.salt != c.head.salt || h.offset != uint64(off) {
		return nil, nil
	}
	if b, err = c.peek(off, recordHeadBytes+int64(h.changes)); err != nil {
		return nil, none(err)
	}
	if !wholeHead(b[:recordHeadBytes], b[recordHeadBytes:]) {
		return nil, nil
	}
	r := &scanned{recordHead: h, off: off, body: bytes.Clone(b)}
	if r.list, err = decodeChanges(r.body[recordHeadBytes:]); err != nil {
		return nil, nil // the checksum is right, so it was written by another version
	}
	r.dataBad = off+h.bytes() > c.end
	if c.data && !r.dataBad {
		return r, c.verify(r)
	}
	return r, nil
}

// none makes of the end of the volume that there is no record.
func none(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (c *scanner) verify(r *scanned) error {
	at := r.off + recordHeadBytes + int64(r.changes)
	for i := range r.list {
		if r.list[i].kind != kindInline {
			continue
		}
		b, err := c.peek(at, r.list[i].size)
		if none(err) != nil {
			return err
		}
		r.dataBad = r.dataBad || err != nil || checksum(b) != r.list[i].sum
		at += r.list[i].size
	}
	return nil
}

// skip moves to what may be the next head.
func (c *scanner) skip() error {
	var mark [12]byte
	binary.LittleEndian.PutUint32(mark[:], recordMagic)
	for c.at += align; c.at+recordHeadBytes <= c.end; c.at += align {
		n := min(int64(scanBytes/2), c.end-c.at)
		b, err := c.peek(c.at, n)
		if err != nil {
			return none(err)
		}
		i := bytes.Index(b, mark[:4])
		if i < 0 {
			c.at += (n - 3) &^ (align - 1) // a mark may lie across the border
			c.at -= align
			continue
		}
		if c.at+int64(i) == aligned(c.at+int64(i)) {
			c.at += int64(i)
			return nil
		}
		c.at += int64(i) &^ (align - 1)
	}
	return nil
}
