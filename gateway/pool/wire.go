package pool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// wire carries small requests to replicas over connections that it keeps, and all others by
// way of rest. net/http's Transport hands each request to two goroutines and back, which
// takes longer than all else that the gateway does; here the caller writes and reads. What
// is written is small enough for the connection's buffers, so that writing before reading
// cannot stop a replica that answers early. Only requests that may be sent twice go this way:
// that a kept connection was closed is seen when it is used.
type wire struct {
	rest *http.Transport

	mu   sync.Mutex
	idle map[string][]*line // by address, the latest used last
	kept int                // of all addresses
}

const (
	// smallBytesMax of a body that goes over a wire.
	smallBytesMax = 64 << 10
	// keptMax connections are idle at once.
	keptMax = 4096
	// earlyMax answers of class 1xx may come before the real one.
	earlyMax = 5
)

func newWire(rest *http.Transport) *wire {
	return &wire{rest: rest, idle: map[string][]*line{}}
}

// fits tells whether a request may go over a wire.
func fits(r *http.Request) bool {
	none := r.Body == nil || r.Body == http.NoBody
	small := r.GetBody != nil && (none || 0 < r.ContentLength && r.ContentLength <= smallBytesMax)
	return (small || none && idempotent(r)) && r.URL.Scheme == "http" && r.Header.Get("Upgrade") == "" && r.Header.Get("Expect") == "" && len(r.Trailer) == 0
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !fits(r) {
		return w.rest.RoundTrip(r)
	}
	if r.GetBody != nil {
		r = r.WithContext(r.Context()) // the caller's stays as it is
	}
	for {
		l, err := w.line(r.Context(), r.URL.Host)
		if err != nil {
			return nil, err
		}
		if r.GetBody != nil { // what net/http knows to be in memory goes out with the head
			if r.Body, err = r.GetBody(); err != nil {
				l.Conn.Close()
				return nil, err
			}
		}
		resp, err := l.ask(r)
		if err == nil {
			return resp, nil
		}
		stale := l.used && !l.heard
		if !stale || r.Context().Err() != nil {
			return nil, err
		}
	}
}

// line returns a connection to addr: one that is kept, or a new one.
func (w *wire) line(ctx context.Context, addr string) (*line, error) {
	if l := w.take(addr); l != nil {
		return l, nil
	}
	c, err := w.rest.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: c, wire: w, addr: addr, w: bufio.NewWriter(c)}
	l.r = bufio.NewReader(l)
	return l, nil
}

// take returns a connection that is kept, or nil.
func (w *wire) take(addr string) *line {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.idle[addr]
	if len(all) == 0 {
		return nil
	}
	l := all[len(all)-1]
	w.set(addr, all[:len(all)-1])
	return l
}

// keep puts a connection by for the next request.
func (w *wire) keep(l *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.idle[l.addr]
	if len(all) >= idleMax || w.kept >= keptMax {
		l.Conn.Close()
		return
	}
	l.since, l.used = time.Now(), true
	w.set(l.addr, append(all, l))
}

// set changes which connections of an address are kept. The caller holds the lock.
func (w *wire) set(addr string, all []*line) {
	w.kept += len(all) - len(w.idle[addr])
	if len(all) == 0 {
		delete(w.idle, addr)
		return
	}
	w.idle[addr] = all
}

// sweep closes connections that have been idle since before, of all addresses.
func (w *wire) sweep(before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr, all := range w.idle {
		n := 0
		for n < len(all) && all[n].since.Before(before) {
			all[n].Conn.Close()
			n++
		}
		w.set(addr, slices.Clone(all[n:]))
	}
}

// line is one connection. Only who has taken it uses it.
type line struct {
	net.Conn
	wire  *wire
	addr  string
	r     *bufio.Reader
	w     *bufio.Writer
	may   int       // bytes that may still be read for an answer's head
	head  bool      // an answer's head is being read
	heard bool      // something was, of this answer
	used  bool      // it has answered before
	since time.Time // when it was put by
}

var errHead = errors.New("the head of the answer is too large")

// Read implements io.Reader, for l.r.
func (l *line) Read(b []byte) (int, error) {
	if l.head {
		if l.may <= 0 {
			return 0, errHead
		}
		b = b[:min(len(b), l.may)]
	}
	n, err := l.Conn.Read(b)
	l.may -= n
	l.heard = l.heard || n > 0
	return n, err
}

// ask sends a request and reads the head of its answer. After an error the connection is
// closed.
func (l *line) ask(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	l.heard, l.head, l.may = false, true, headBytesMax
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) }) // what is closed needs none
	resp, err := l.exchange(r)
	if err != nil {
		stop()
		l.Conn.Close()
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return nil, err
	}
	l.head = false
	a := &said{ReadCloser: resp.Body, line: l, stop: stop, last: resp.Close || r.Close}
	if resp.Body == http.NoBody || resp.ContentLength == 0 || r.Method == http.MethodHead {
		a.done(true)
	} else {
		resp.Body = a
	}
	return resp, nil
}

func (l *line) exchange(r *http.Request) (*http.Response, error) {
	err := r.Write(l.w)
	if err == nil {
		err = l.w.Flush()
	}
	if err != nil {
		return nil, err
	}
	for range earlyMax {
		resp, err := http.ReadResponse(l.r, r)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= http.StatusOK {
			return resp, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	return nil, errors.New("the replica answers what it was not asked")
}

// said is the body of an answer. When it was read to its end its connection is kept.
type said struct {
	io.ReadCloser
	line *line
	stop func() bool
	last bool // the connection ends with it
	over bool
}

// Read implements io.Reader.
func (a *said) Read(b []byte) (int, error) {
	if a.over {
		return 0, io.EOF
	}
	n, err := a.ReadCloser.Read(b)
	if err == io.EOF { //nolint:errorlint // readers return it bare
		a.done(true)
	}
	return n, err
}

// Close implements io.Closer. What was not read is not waited for.
func (a *said) Close() error {
	a.done(false)
	return nil
}

func (a *said) done(whole bool) {
	if a.over {
		return
	}
	a.over = true
	unbroken := a.stop()
	if whole && unbroken && !a.last && a.line.r.Buffered() == 0 {
		a.line.wire.keep(a.line)
		return
	}
	a.line.Conn.Close()
}
