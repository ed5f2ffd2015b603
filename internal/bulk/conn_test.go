package bulk

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/internal/pki"
)

// trust is mutual TLS of a server called here and a client called me.
func trust(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca, err := pki.OpenAuthority(t.TempDir(), "ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	pair := func(l pki.Leaf) []tls.Certificate {
		p, err := ca.Issue(l, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{c}
	}
	server = &tls.Config{MinVersion: tls.VersionTLS13, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, Certificates: pair(pki.Leaf{Name: "server", User: "server", DNS: []string{"here"}})}
	client = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "here", Certificates: pair(pki.Leaf{Name: "client", User: "me"})}
	return server, client
}

// counted counts the calls that send, as they begin.
type counted struct {
	net.Conn
	calls atomic.Int64
	begun chan struct{}
}

func (c *counted) Write(b []byte) (int, error) {
	c.calls.Add(1)
	select {
	case c.begun <- struct{}{}:
	default:
	}
	return c.Conn.Write(b)
}

// joined is a client and a server that know each other. Between them nothing is kept.
func joined(t *testing.T) (client, server *Conn, sent *counted) {
	t.Helper()
	near, far := net.Pipe()
	s, c := trust(t)
	s.SessionTicketsDisabled = true // nobody would read them
	sent = &counted{Conn: near, begun: make(chan struct{})}
	client, server = Client(sent, c), Server(far, s)
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return client, server, sent
}

// TestConnSendsTogether what is written, all of it and at once.
func TestConnSendsTogether(t *testing.T) {
	client, server, sent := joined(t)
	want := bytesOf(8*partBytes + 5)
	got := make([]byte, len(want))
	sent.calls.Store(0)
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(server, got); read <- err }()
	for _, b := range [][]byte{want[:0], want[:5], want[5:]} {
		if n, err := client.Write(b); n != len(b) || err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if err := <-read; err != nil || !bytes.Equal(got, want) {
		t.Errorf("it came as something else: %v", err)
	}
	if n := sent.calls.Load(); n > 10 {
		t.Errorf("8 parts and a piece were sent by %d calls", n)
	}
	go func() { _, err := io.ReadFull(client, got); read <- err }()
	if n, err := server.ReadFrom(bytes.NewReader(want)); n != int64(len(want)) || err != nil {
		t.Errorf("%d of %d bytes: %v", n, len(want), err)
	}
	if err := <-read; err != nil || !bytes.Equal(got, want) {
		t.Errorf("it went back as something else: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- client.Close() }()
	if n, err := server.Read(got); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end there are %d bytes: %v", n, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestCloseInterruptsWrite to a server that does not listen.
func TestCloseInterruptsWrite(t *testing.T) {
	client, _, sent := joined(t)
	wrote := make(chan error, 1)
	go func() { _, err := client.ReadFrom(endless{}); wrote <- err }()
	<-sent.begun
	began := time.Now()
	_ = client.Close() // cannot say so to the server
	if err := <-wrote; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("it ended by %v", err)
	}
	if took := time.Since(began); took > 4*time.Second { // TLS waits for five to say farewell
		t.Errorf("it took %v", took)
	}
	if _, err := client.Write([]byte{1}); err == nil {
		t.Error("it goes on after it was closed")
	}
}

// TestNothingFollowsWhatWasLost: what was sent in part ends the connection.
func TestNothingFollowsWhatWasLost(t *testing.T) {
	client, server, _ := joined(t)
	wrote := make(chan error, 1)
	go func() { _, err := client.ReadFrom(endless{}); wrote <- err }()
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := client.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it ended by %v", err)
	}
	if err := client.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	came := make(chan []byte, 1)
	go func() { b, _ := io.ReadAll(server); came <- b }() // may end between records
	if _, err := client.Write([]byte("more")); err == nil {
		t.Error("more is sent after some was lost")
	}
	_ = client.Close() // cannot say so to the server
	if b := <-came; bytes.Contains(b, []byte("more")) {
		t.Error("more came after some was lost")
	}
}

// TestListener: an http.Server knows who asks, and hears of those with whom there is no
// TLS; one that says nothing is in nobody's way.
func TestListener(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serverTrust, clientTrust := trust(t)
	failed := make(chan error, 1)
	body := bytesOf(3 * partBytes)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) || r.Proto != "HTTP/1.1" {
			http.Error(w, "that is something else", http.StatusBadRequest)
			return
		}
		w.Header().Set("Who", r.TLS.VerifiedChains[0][0].Subject.CommonName)
		_, _ = w.Write(got)
	})}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(NewListener(inside, serverTrust, func(_ net.Addr, err error) { failed <- err }))
	}()
	silent, err := net.Dial("tcp", inside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		raw, err := net.Dial("tcp", inside.Addr().String())
		return Client(raw, clientTrust), err
	}}}
	for range 3 {
		resp, err := c.Post("https://here/", "text/plain", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, body) || resp.Header.Get("Who") != "me" {
			t.Errorf("status %d, %d bytes for %q: %v", resp.StatusCode, len(got), resp.Header.Get("Who"), err)
		}
	}
	stranger := Client(dialed(t, inside), &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: clientTrust.RootCAs, ServerName: "here"})
	_, _ = stranger.Write([]byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n"))
	if answer, err := io.ReadAll(stranger); len(answer) > 0 || err == nil {
		t.Errorf("a stranger is told %q", answer)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("of a stranger is said: %v", err)
	}
	if err := errors.Join(silent.Close(), <-failed); !errors.Is(err, io.EOF) {
		t.Errorf("of one who said nothing is said: %v", err)
	}
	c.CloseIdleConnections()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func dialed(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
