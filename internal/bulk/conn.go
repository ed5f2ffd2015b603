package bulk

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Conn is a connection with TLS that takes large bodies. crypto/tls asks the kernel to
// send every 16 KiB, which wakes up the other side each time; a Conn sends what is
// written at once together.
type Conn struct {
	*tls.Conn
	raw     *batch
	writing atomic.Int32
}

// Client is the client's side of TLS on c.
func Client(c net.Conn, config *tls.Config) *Conn {
	raw := &batch{Conn: c}
	return &Conn{Conn: tls.Client(raw, config), raw: raw}
}

// Server is the server's side of TLS on c.
func Server(c net.Conn, config *tls.Config) *Conn {
	raw := &batch{Conn: c}
	return &Conn{Conn: tls.Server(raw, config), raw: raw}
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	if err := c.Handshake(); err != nil { // the other side has to hear of that at once
		return 0, err
	}
	for {
		part := b[n:min(len(b), n+partBytes)]
		c.raw.hold()
		m, err := c.Conn.Write(part)
		n += m
		if failed := c.raw.release(); err == nil {
			err = failed
		}
		if err != nil || n >= len(b) {
			return n, err
		}
	}
}

// ReadFrom implements io.ReaderFrom: r is read while what was read before is sent.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) { return Copy(r, c) }

// Close implements net.Conn. Like that of tls.Conn it interrupts Write.
func (c *Conn) Close() error {
	if c.writing.Load() > 0 {
		return c.raw.Conn.Close()
	}
	return c.Conn.Close()
}

// batch keeps what is written to a connection while somebody holds it.
type batch struct {
	net.Conn

	mu      sync.Mutex // guards the following, and the order of what is sent
	holders int
	kept    []byte
	err     error // after it nothing is sent: something is missing
}

func (b *batch) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders++
}

// Write implements net.Conn.
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.holders > 0 {
		b.kept = append(b.kept, p...)
		return len(p), nil
	}
	return b.Conn.Write(p)
}

// release sends what was kept, unless others still hold it.
func (b *batch) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holders--; b.holders > 0 || b.err != nil || len(b.kept) == 0 {
		return b.err
	}
	_, b.err = b.Conn.Write(b.kept)
	b.kept = b.kept[:0]
	return b.err
}
