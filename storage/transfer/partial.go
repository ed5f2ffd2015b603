package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
)

// A download of many ranges is kept in the file .NAME.polder-part beside its place. The
// file holds, in this order:
//
//	the object's bytes, Size of them, with holes
//	how many bytes of each range of Range bytes have come: 8 bytes each, little endian
//	a head in JSON: which object this is
//	the length of the head: 8 bytes, little endian
//	"poldprt1"
//
// What was interrupted goes on if the head names the object as it is now. The whole is
// verified at the end, so a count that got to the disk before its bytes does no harm.

const (
	partialMagic   = "poldprt1"
	partialTail    = 16
	partialHeadMax = 8 << 10
	// partialNote is how many bytes may come before the count on the disk follows.
	partialNote = 4 << 20
)

type partialHead struct {
	Endpoint, Bucket, Key, Version, ETag string
	Size, Range                          int64
}

func (h partialHead) ranges() int { return partCount(h.Size, h.Range) }

// partialName is the name beside name; a long one is shortened to a hash.
func partialName(name string) string {
	dir, base := path.Split(name)
	const nameBytesMax = 255
	if len(base)+1+len(partialEnd) > nameBytesMax {
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:16])
	}
	return dir + "." + base + partialEnd
}

// partial is such a file, open and locked.
type partial struct {
	f    *os.File
	head partialHead
	done []int64 // of each range; a range has one writer
}

// openPartial opens or makes the file for what head names.
func openPartial(t *tree, name string, head partialHead) (*partial, error) {
	f, err := t.root.OpenFile(partialName(name), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, plainError(err)
	}
	p := &partial{f: f, head: head}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s is in use; does another download run?", t.path(partialName(name)))
	}
	if have, done, err := readPartial(f); err == nil {
		if have.Range > 0 && head == withRange(have, head.Range) { // parts may have another size now
			p.head, p.done = have, done
			return p, nil
		}
	}
	if err := p.begin(); err != nil {
		_ = f.Close()
		return nil, plainError(err)
	}
	return p, nil
}

func withRange(h partialHead, n int64) partialHead {
	h.Range = n
	return h
}

// begin makes the file empty and writes its end.
func (p *partial) begin() error {
	text, err := json.Marshal(p.head)
	if err != nil {
		return err
	}
	if len(text) > partialHeadMax {
		return errors.New("its names are too long")
	}
	p.done = make([]int64, p.head.ranges())
	at := p.head.Size + int64(8*len(p.done))
	tail := binary.LittleEndian.AppendUint64(text, uint64(len(text)))
	tail = append(tail, partialMagic...)
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	if err := p.f.Truncate(at); err != nil {
		return err
	}
	_, err = p.f.WriteAt(tail, at)
	return err
}

// note writes down how much of range i has come.
func (p *partial) note(i int) error {
	_, err := p.f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(p.done[i])), p.head.Size+int64(8*i))
	return err
}

// readPartial reads the end of a file that may be anything.
func readPartial(f *os.File) (partialHead, []int64, error) {
	info, err := f.Stat()
	if err != nil {
		return partialHead{}, nil, err
	}
	total := info.Size()
	if total < partialTail {
		return partialHead{}, nil, errNoPartial
	}
	n := min(total, partialHeadMax+partialTail)
	tail := make([]byte, n)
	if _, err := f.ReadAt(tail, total-n); err != nil {
		return partialHead{}, nil, err
	}
	head, headBytes, err := parsePartial(tail, total)
	if err != nil {
		return partialHead{}, nil, err
	}
	counts := make([]byte, 8*head.ranges())
	if _, err := f.ReadAt(counts, total-partialTail-headBytes-int64(len(counts))); err != nil {
		return partialHead{}, nil, err
	}
	done := make([]int64, head.ranges())
	for i := range done {
		done[i] = int64(binary.LittleEndian.Uint64(counts[8*i:]))
		if done[i] < 0 || done[i] > head.length(i) {
			return partialHead{}, nil, errNoPartial
		}
	}
	return head, done, nil
}

var errNoPartial = errors.New("it is no unfinished download")

// parsePartial reads the head from the last bytes of a file of total bytes.
func parsePartial(tail []byte, total int64) (head partialHead, headBytes int64, err error) {
	if len(tail) < partialTail || string(tail[len(tail)-8:]) != partialMagic {
		return partialHead{}, 0, errNoPartial
	}
	rest := tail[:len(tail)-partialTail]
	length := binary.LittleEndian.Uint64(tail[len(tail)-partialTail:])
	if length > uint64(len(rest)) || length > partialHeadMax {
		return partialHead{}, 0, errNoPartial
	}
	if json.Unmarshal(rest[uint64(len(rest))-length:], &head) != nil {
		return partialHead{}, 0, errNoPartial
	}
	headBytes = int64(length)
	if head.Size < 1 || head.Range < 1<<20 || head.Range > 1<<40 || head.Size > total || (head.Size-1)/head.Range >= partsMax {
		return partialHead{}, 0, errNoPartial
	}
	if head.Size+int64(8*head.ranges())+headBytes+partialTail != total {
		return partialHead{}, 0, errNoPartial
	}
	return head, headBytes, nil
}

// length is how many bytes range i has.
func (h partialHead) length(i int) int64 { return min(h.Range, h.Size-int64(i)*h.Range) }
