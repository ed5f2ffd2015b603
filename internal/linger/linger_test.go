package linger_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/internal/linger"
)

// refuses answers every request without a look at its body.
func refuses(t *testing.T, known bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		linger.Answer(w, r, known, func() { http.Error(w, "too large", http.StatusRequestEntityTooLarge) })
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// send writes a whole request before it reads anything.
func send(t *testing.T, addr, request string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a network connection has them
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatalf("the connection ended before all was sent: %v", err)
	}
	return c, read(t, bufio.NewReader(c))
}

func read(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if b, err := io.ReadAll(a.Body); err != nil || string(b) != "too large\n" || a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("%d %q, %v", a.StatusCode, b, err)
	}
	return a
}

const large = 16 << 20 // more than the buffers of both sides

func TestClientsHearTheAnswer(t *testing.T) {
	addr := refuses(t, true)
	for _, head := range []string{"", "Connection: close\r\n"} {
		send(t, addr, "PUT / HTTP/1.1\r\nHost: h\r\n"+head+"Content-Length: 16777216\r\n\r\n"+strings.Repeat("x", large))
	}
}

func TestTheConnectionGoesOn(t *testing.T) {
	addr := refuses(t, true)
	one := "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
	c, _ := send(t, addr, one)
	if _, err := io.WriteString(c, one); err != nil {
		t.Fatal(err)
	}
	read(t, bufio.NewReader(c))
}

func TestAnEndIsMadeOfIt(t *testing.T) {
	addr := refuses(t, false)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()               // nobody needs it any more
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // as above
	_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	for {
		if _, err := io.WriteString(c, "10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n"); err != nil {
			if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
				t.Fatal("nobody reads, and the connection is still there")
			}
			return
		}
	}
}

// TestNothingIsAwaited of a client that waits for leave to send, or for the end.
func TestNothingIsAwaited(t *testing.T) {
	for _, head := range []string{"Expect: 100-continue\r\n", "Connection: close\r\n"} {
		c, _ := send(t, refuses(t, false), "PUT / HTTP/1.1\r\nHost: h\r\n"+head+"Content-Length: 5\r\n\r\n")
		_ = c.SetDeadline(time.Now().Add(patience)) // as above
		if n, err := io.Copy(io.Discard, c); n > 0 || err != nil {
			t.Errorf("%q: %d bytes more, and %v", head, n, err)
		}
	}
}

const patience = 5 * time.Second // less than a sender is given
