package s3

import (
	"errors"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/seal"
)

// errGone says that the client went away in the middle of an answer.
var errGone = errors.New("the client is gone")

// lentMin is from where on it is worth asking whether bytes lie in memory: less is
// copied as fast.
const lentMin = 256 << 10

// send answers with bytes of an object. They are copied through a buffer that all
// requests share (io.Copy's way by sendfile was no faster on one machine, and they are
// read for their checksums in any case), or come from memory as they are.
func (q *request) send(o storage.Object, s span) error { return q.sendAs(o, s, s.status()) }

// sendAs is send with a status of its own.
func (q *request) sendAs(o storage.Object, s span, status int) error {
	c := &toClient{q: q, status: status}
	sent, err := q.lend(c, o, s)
	if err == nil && sent < s.n {
		err = storage.Reader(o, s.off+sent, s.n-sent).SendTo(c, q.s.memory)
	}
	if c.failed {
		return errGone
	}
	if err == nil && s.n == 0 {
		return q.status(c.status)
	}
	return err
}

// lentBytes is what lend holds of the store's own memory, for as long as a client takes to
// read it.
const lentBytes = 1 << 20

// lend sends what the object has in memory, and returns how much that was. What is
// sealed would have to be opened into memory first.
func (q *request) lend(c *toClient, o storage.Object, s span) (sent int64, err error) {
	info := o.Info()
	if kind, _ := seal.Sealed(&info.Meta); s.n < lentMin || kind != "" || !q.s.memory.Spare(budget.Answers, lentBytes) {
		return 0, nil
	}
	defer q.s.memory.Give(budget.Answers, lentBytes)
	first, err := o.Extents(s.off, 1)
	if err != nil || first[0].File != nil {
		return 0, err
	}
	for sent < s.n {
		list, err := o.Extents(s.off+sent, s.n-sent)
		if err != nil {
			return sent, err
		}
		for i := range list {
			if list[i].File != nil {
				return sent, nil
			}
			if _, err := c.Write(list[i].Bytes); err != nil {
				return sent, err
			}
			sent += list[i].Length
		}
	}
	return sent, nil
}

// toClient sends the head with the first bytes, so that what cannot be read at all is
// still an error with a status. It remembers whose fault a later one is.
type toClient struct {
	q      *request
	status int
	failed bool
}

// Write implements io.Writer.
func (c *toClient) Write(p []byte) (int, error) {
	if !c.q.begun {
		_ = c.q.status(c.status) // only writes the head
	}
	n, err := c.q.w.Write(p)
	c.failed = c.failed || err != nil
	return n, err
}
