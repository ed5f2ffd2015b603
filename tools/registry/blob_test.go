package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

// shop is a house with a door to the network, for admin.
type shop struct {
	*httptest.Server
	answered chan string // methods of the requests that have ended
	t        *testing.T
}

func newShop(t *testing.T, h *house) *shop {
	t.Helper()
	s := &shop{answered: make(chan string, 100), t: t}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { s.answered <- r.Method }()
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: people["admin"]}}}}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// ask sends a request and returns the answer with its body.
func (s *shop) ask(method, target string, body io.Reader, want int, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+u.RequestURI(), body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		s.t.Fatalf("%s %s: %s, want %d: %.300s, %v", method, target, resp.Status, want, b, err)
	}
	return resp, b
}

// done is where an upload ends as digest.
func done(t *testing.T, at, digest string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("digest", digest)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestAnUploadThatBreaks is no blob, to a registry that is started then, either. It goes
// on where it broke, and what comes out is what was meant, whole and in parts.
func TestAnUploadThatBreaks(t *testing.T) {
	h := newHouse(t)
	s := newShop(t, h)
	text := make([]byte, 5<<20+7)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(text) // never fails
	resp, _ := s.ask("POST", "/v2/models/team-a/x/blobs/uploads/", nil, 202)
	at := resp.Header.Get("Location")
	breakOff(t, s, at, text[:3<<20])
	resp, _ = s.ask("GET", at, nil, 204)
	var from, to int
	if _, err := fmt.Sscanf(resp.Header.Get("Range"), "%d-%d", &from, &to); err != nil || from != 0 || to >= 3<<20 {
		t.Fatalf("of 3 MiB it has %q: %v", resp.Header.Get("Range"), err)
	}
	blob := "/v2/models/team-a/x/blobs/" + digestOf(string(text))
	newShop(t, houseAt(t, h.o)).ask("HEAD", blob, nil, 404)
	resp, _ = s.ask("PATCH", resp.Header.Get("Location"), bytes.NewReader(text[to+1:]), 202,
		"Content-Type", "application/octet-stream", "Content-Range", fmt.Sprintf("%d-%d", to+1, len(text)-1))
	s.ask("PUT", done(t, resp.Header.Get("Location"), digestOf(string(text))), nil, 201)
	if _, got := s.ask("GET", blob, nil, 200); !bytes.Equal(got, text) {
		t.Errorf("%d of %d bytes came back, or others", len(got), len(text))
	}
	for _, part := range [][2]int{{0, 0}, {1, 100_000}, {1 << 20, len(text) - 1}, {len(text) - 1, len(text) - 1}} {
		_, got := s.ask("GET", blob, nil, 206, "Range", fmt.Sprintf("bytes=%d-%d", part[0], part[1]))
		if !bytes.Equal(got, text[part[0]:part[1]+1]) {
			t.Errorf("of %v %d bytes came back, or others", part, len(got))
		}
	}
	if resp, got := s.ask("HEAD", blob, nil, 200); resp.ContentLength != int64(len(text)) || len(got) > 0 {
		t.Errorf("it is said to have %d bytes", resp.ContentLength)
	}
}

// breakOff sends part of the body of a request and goes away.
func breakOff(t *testing.T, s *shop, at string, part []byte) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nContent-Type: application/octet-stream\r\n\r\n", u.RequestURI(), 2*len(part))
	if err == nil {
		_, err = c.Write(part)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for <-s.answered != "PATCH" { // until the registry has seen it
	}
}

// TestAnUploadThatIsNotItsDigest is kept by nobody, however it came.
func TestAnUploadThatIsNotItsDigest(t *testing.T) {
	s := newShop(t, newHouse(t))
	text := strings.Repeat("a", 3<<20)
	for name, changed := range map[string]string{
		"changed": text[:1<<20] + "b" + text[1<<20+1:], "shorter": text[1:], "longer": text + "a",
	} {
		resp, _ := s.ask("POST", "/v2/models/team-a/x/blobs/uploads/", nil, 202)
		resp, _ = s.ask("PATCH", resp.Header.Get("Location"), iotest.HalfReader(strings.NewReader(changed)), 202, "Content-Type", "application/octet-stream")
		_, b := s.ask("PUT", done(t, resp.Header.Get("Location"), digestOf(text)), nil, 400)
		if !strings.Contains(string(b), "DIGEST_INVALID") {
			t.Errorf("%s: it says %s", name, b)
		}
		resp, _ = s.ask("POST", "/v2/models/team-a/x/blobs/uploads/", nil, 202)
		s.ask("PUT", done(t, resp.Header.Get("Location"), digestOf(text)), strings.NewReader(changed), 400, "Content-Type", "application/octet-stream")
		s.ask("HEAD", "/v2/models/team-a/x/blobs/"+digestOf(text), nil, 404)
	}
}
