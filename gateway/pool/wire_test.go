package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counted is a server that counts connections.
func counted(t *testing.T, h http.HandlerFunc) (addr string, conns *atomic.Int64) {
	conns = &atomic.Int64{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), conns
}

func request(t *testing.T, ctx context.Context, method, addr, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *wire) idleLines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept
}

func TestWire(t *testing.T) {
	addr, conns := counted(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/chunks":
			w.Header().Set("Trailer", "X-End")
			for i := range 3 {
				fmt.Fprint(w, i)
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set("X-End", "yes")
			return
		case "/none":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/early":
			w.Header().Set("Link", "x")
			w.WriteHeader(http.StatusEarlyHints)
		case "/large":
			w.Header().Set("X", strings.Repeat("x", headBytesMax))
		case "/last":
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "%s %s %q", r.Method, r.URL, b)
	})
	w := newWire(Transport())
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/a?b=c", "hello", `POST /a?b=c "hello"`},
		{"POST", "/a", "", `POST /a ""`},
		{"GET", "/chunks", "", "012"},
		{"HEAD", "/a", "", ""},
		{"GET", "/none", "", ""},
		{"GET", "/early", "", `GET /early ""`},
		{"POST", "/a", strings.Repeat("x", smallBytesMax), fmt.Sprintf("POST /a %q", strings.Repeat("x", smallBytesMax))},
	} {
		resp, err := w.RoundTrip(request(t, t.Context(), c.method, addr, c.path, c.body))
		if err != nil {
			t.Fatalf("%s %s: %v", c.method, c.path, err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != c.want {
			t.Errorf("%s %s: %.100q, %v", c.method, c.path, b, err)
		}
		if c.path == "/chunks" && resp.Trailer.Get("X-End") != "yes" {
			t.Errorf("trailers: %v", resp.Trailer)
		}
		resp.Body.Close()
	}
	if conns.Load() != 1 || w.idleLines() != 1 {
		t.Errorf("%d connections for requests one after the other, %d kept", conns.Load(), w.idleLines())
	}
	if _, err := w.RoundTrip(request(t, t.Context(), "GET", addr, "/large", "")); !errors.Is(err, errHead) {
		t.Errorf("a head that does not end: %v", err)
	}
	// What may not be sent twice, or is large, goes another way.
	for _, r := range []*http.Request{
		request(t, t.Context(), "POST", addr, "/a", strings.Repeat("x", smallBytesMax+1)),
		func() *http.Request { r := request(t, t.Context(), "POST", addr, "/a", "x"); r.GetBody = nil; return r }(),
		func() *http.Request { r := request(t, t.Context(), "POST", addr, "/a", ""); r.GetBody = nil; return r }(),
		func() *http.Request {
			r := request(t, t.Context(), "GET", addr, "/a", "")
			r.Header.Set("Upgrade", "websocket")
			return r
		}(),
	} {
		if fits(r) {
			t.Errorf("%s with %d bytes goes over a wire", r.Method, r.ContentLength)
		}
	}
	resp, err := w.RoundTrip(request(t, t.Context(), "GET", addr, "/last", ""))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if n := w.idleLines(); n != 0 {
		t.Errorf("%d connections are kept after the last answer on one", n)
	}
}

// TestWireStale: a connection that the replica has closed meanwhile costs no request.
func TestWireStale(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // answers once on each connection
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				b, _ := io.ReadAll(r.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
			}
			c.Close()
		}
	}()
	w := newWire(Transport())
	for i := range 20 {
		body := fmt.Sprint("body ", i)
		resp, err := w.RoundTrip(request(t, t.Context(), "POST", l.Addr().String(), "/", body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != body {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// TestWireLeaves: a client that goes away ends the request, and its connection is not used
// for another.
func TestWireLeaves(t *testing.T) {
	ended := make(chan bool, 1)
	addr, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		ended <- true
	})
	w := newWire(Transport())
	for _, path := range []string{"/stream", "/silent"} {
		ctx, leave := context.WithCancelCause(t.Context())
		why := errors.New("gone")
		if path == "/silent" {
			time.AfterFunc(20*time.Millisecond, func() { leave(why) })
		}
		resp, err := w.RoundTrip(request(t, ctx, "GET", addr, path, ""))
		if path == "/stream" {
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(resp.Body, make([]byte, len("begun")))
			leave(why)
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the answer ended well")
			}
			resp.Body.Close()
		} else if !errors.Is(err, why) {
			t.Errorf("%s: %v", path, err)
		}
		leave(nil)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("%s: the replica goes on", path)
		}
	}
	if n := w.idleLines(); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

func TestWireSweeps(t *testing.T) {
	addr, _ := counted(t, func(http.ResponseWriter, *http.Request) {})
	w := newWire(Transport())
	for range 3 {
		if _, err := w.RoundTrip(request(t, t.Context(), "GET", addr, "/", "")); err != nil {
			t.Fatal(err)
		}
	}
	w.sweep(time.Now().Add(-time.Minute))
	if n := w.idleLines(); n != 1 {
		t.Errorf("%d are kept", n)
	}
	w.sweep(time.Now().Add(time.Minute))
	if n := w.idleLines(); n != 0 || len(w.idle) != 0 {
		t.Errorf("%d are kept", n)
	}
}
