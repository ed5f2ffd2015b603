package header

import (
	"io"
	"net"
)

// Listener wraps l, which must be of plain TCP: net/http has to see a TLS connection
// itself.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn rewrites heads of requests as they are read. Bodies pass untouched.
type conn struct {
	net.Conn
	s    scanner
	rest []byte // what did not fit into the last Read's buffer
	work []byte
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n == 0 || c.s.skip(n) {
		return n, err
	}
	c.work = c.s.rewrite(c.work[:0], p[:n])
	m := copy(p, c.work)
	c.rest = c.work[m:]
	if len(c.rest) > 0 {
		err = nil // it comes again
	}
	return m, err
}

// ReadFrom leaves sending files to the kernel, if the connection can.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if f, ok := c.Conn.(io.ReaderFrom); ok {
		return f.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite is for net/http, which ends a connection half by half.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}
