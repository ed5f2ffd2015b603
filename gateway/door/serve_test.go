package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/internal/pki"
)

// open serves d over TLS, and returns a client, its address, and what stops it.
func open(t *testing.T, d *Door) (client func(http2 bool) *http.Client, addr string, roots *x509.CertPool, stop func() error) {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.OpenAuthority(dir, "ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{Name: "gateway", User: "gateway", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- d.Serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	client = func(http2 bool) *http.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	return client, l.Addr().String(), roots, stop
}

func post(c *http.Client, addr, path, body string) (int, string, error) {
	r, err := http.NewRequest(http.MethodPost, "https://"+addr+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, fmt.Sprint(resp.Proto, " ", string(b)), err
}

func TestBothVersions(t *testing.T) {
	_, d, _ := newWorld(t, nil)
	client, addr, _, _ := open(t, d)
	for http2, want := range map[bool]string{false: "HTTP/1.1 ", true: "HTTP/2.0 "} {
		c := client(http2)
		for range 3 {
			code, got, err := post(c, addr, "/team/v2/models/digits/infer", "{}")
			if err != nil || code != 200 || got != want+`POST /v2/models/digits/infer "{}"` {
				t.Errorf("%d %s %v", code, got, err)
			}
		}
	}
}

// TestHangers: a thousand clients that open connections and say nothing, or half of what
// they have to, keep nobody from being served.
func TestHangers(t *testing.T) {
	_, d, _ := newWorld(t, nil)
	client, addr, roots, _ := open(t, d)
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for i := range 1000 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if i%10 != 0 { // most do not even begin the handshake
			continue
		}
		s := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
		if err := s.Handshake(); err != nil {
			t.Fatal(err)
		}
		text := "POST /team/v2/models/digits/infer HTTP/1.1\r\nHost: x\r\n"
		if i%20 == 0 {
			text += "Authorization: Bearer good\r\nContent-Length: 1000000\r\n\r\n{"
		}
		if _, err := io.WriteString(s, text); err != nil {
			t.Fatal(err)
		}
	}
	c := client(false)
	for range 20 {
		if code, got, err := post(c, addr, "/team/v2/models/digits/infer", "{}"); err != nil || code != 200 {
			t.Fatalf("%d %s %v", code, got, err)
		}
	}
	// Who hangs before the head is complete is let go.
	_ = all[1].SetReadDeadline(time.Now().Add(headFor + time.Minute))
	if _, err := all[1].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("one that says nothing is still there: %v", err)
	}
}

// TestDrain: requests that are served end well when the gateway stops, and new ones find
// nobody.
func TestDrain(t *testing.T) {
	began, finish := make(chan bool), make(chan bool)
	_, d, _ := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		began <- true
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	client, addr, _, stop := open(t, d)
	got := make(chan string, 1)
	go func() {
		code, b, err := post(client(true), addr, "/team/v2/models/digits/infer", "{}")
		got <- fmt.Sprint(code, " ", b, " ", err)
	}()
	<-began
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatal("it still takes connections")
		}
	}
	close(finish)
	if s := <-got; s != "200 HTTP/2.0 done <nil>" {
		t.Errorf("the request ended with %s", s)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestDeadlinesDoNotStay: a deadline of an earlier answer does not meet a later one, on a
// connection that was idle for longer than an answer's piece may take.
func TestDeadlinesDoNotStay(t *testing.T) {
	var set []time.Time
	w := &reader{ResponseWriter: &timed{set: &set}}
	w.control = http.NewResponseController(w.ResponseWriter)
	for _, do := range []func(){func() { w.WriteHeader(204) }, func() { _, _ = w.Write(nil) }, w.Flush, w.end} {
		n := len(set)
		w.set = w.set.Add(-patience) // as if it were idle for long
		do()
		if len(set) == n || time.Until(set[len(set)-1]) < patience/2 {
			t.Errorf("deadlines are %v", set[n:])
		}
	}
	w.streams = true
	set = nil
	_, _ = w.Write(nil)
	if len(set) != 2 || !set[1].IsZero() {
		t.Errorf("of a stream they are %v", set)
	}
}

// timed is a connection that remembers deadlines.
type timed struct {
	http.ResponseWriter
	set *[]time.Time
}

func (t *timed) WriteHeader(int)             {}
func (t *timed) Write(b []byte) (int, error) { return len(b), nil }
func (t *timed) Flush()                      {}
func (t *timed) SetWriteDeadline(at time.Time) error {
	*t.set = append(*t.set, at)
	return nil
}
