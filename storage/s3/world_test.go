package s3

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3/sigv4"
)

// world is a server with users, and the means to ask it things.
type world struct {
	t     testing.TB
	url   string
	store storage.Store
	space *naming.Space
	s3    *Server
	http  *httptest.Server
}

var people = []iam.User{
	{Account: "main", Name: "root", AccessKey: "MAIN", SecretKey: "main-secret", Roles: []string{"admin"}, DisplayName: "Main", Email: "main@example.org"},
	{Account: "main", Name: "plain", AccessKey: "PLAIN", SecretKey: "plain-secret"},
	{Account: "alt", Name: "root", AccessKey: "ALT", SecretKey: "alt-secret", Roles: []string{"admin"}, DisplayName: "Alt", Email: "alt@example.org"},
	{Account: "ops", Name: "root", AccessKey: "OPS", SecretKey: "ops-secret", Roles: []string{"operator"}},
}

// newWorld serves a store in memory.
func newWorld(t testing.TB) *world {
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	return serve(t, m, Config{})
}

// serve serves a store.
func serve(t testing.TB, store storage.Store, c Config) *world {
	t.Helper()
	users, err := iam.NewUsers(people)
	if err != nil {
		t.Fatal(err)
	}
	space, err := naming.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	c.Space, c.Directory = space, users
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	h.Client().Transport.(*http.Transport).DisableCompression = true
	return &world{t: t, url: h.URL, store: store, space: space, s3: s, http: h}
}

func secretOf(key string) string {
	for _, p := range people {
		if p.AccessKey == key {
			return p.SecretKey
		}
	}
	return "no-secret"
}

// head are headers of a request: names and values in turn.
type head []string

// reply is an answer, read whole.
type reply struct {
	*http.Response
	body []byte
}

// code is the error's code that an answer holds, or "".
func (r *reply) code() string {
	var e struct{ Code string }
	if xml.Unmarshal(r.body, &e) != nil {
		return ""
	}
	return e.Code
}

// request makes one that is not signed.
func (w *world) request(method, path string, body []byte, h head) *http.Request {
	w.t.Helper()
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	r, err := http.NewRequest(method, w.url+path, rd)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(h); i += 2 {
		r.Header.Add(h[i], h[i+1])
	}
	return r
}

// do sends a request as it is.
func (w *world) do(r *http.Request) *reply {
	w.t.Helper()
	res, err := w.http.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL, err)
	}
	return &reply{res, b}
}

// as sends a request that an access key signs; "" is nobody's.
func (w *world) as(key, method, path string, body []byte, h head) *reply {
	w.t.Helper()
	r := w.request(method, path, body, h)
	if key != "" {
		sum := sha256.Sum256(body)
		s := sigv4.Signer{AccessKey: key, Secret: secretOf(key), Region: "us-east-1"}
		if err := s.Sign(r, hex.EncodeToString(sum[:]), time.Now()); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.do(r)
}

// main is as for the usual user, with a body of text.
func (w *world) main(method, path, body string, h ...string) *reply {
	w.t.Helper()
	return w.as("MAIN", method, path, []byte(body), h)
}

// want fails the test unless an answer has a status and, for errors, a code.
func (w *world) want(r *reply, status int, code string) *reply {
	w.t.Helper()
	if r.StatusCode != status || code != "" && r.code() != code {
		w.t.Errorf("%s %s: status %d, want %d %s\n%s", r.Request.Method, r.Request.URL, r.StatusCode, status, code, r.body)
	}
	return r
}

// ok is want for an answer that says yes.
func (w *world) ok(r *reply) *reply {
	w.t.Helper()
	if r.StatusCode/100 != 2 {
		w.t.Fatalf("%s %s: status %d\n%s", r.Request.Method, r.Request.URL, r.StatusCode, r.body)
	}
	return r
}

var readNewest storage.ReadOptions

func (w *world) signer(key string) sigv4.Signer {
	return sigv4.Signer{AccessKey: key, Secret: secretOf(key), Region: "us-east-1"}
}

// raw sends bytes as they are, and reads an answer.
func (w *world) raw(text string) *reply {
	w.t.Helper()
	c, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	in := bufio.NewReader(c)
	method, _, _ := strings.Cut(text, " ")
	r, err := http.NewRequest(method, w.url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(in, r)
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, r)
	}
	if err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &reply{res, b}
}

// rawShort sends bytes that are less than was announced and no more, and waits until the
// server has given up.
func (w *world) rawShort(text string) *reply { return w.rawAll(text, true) }

// rawAll sends bytes and reads to the connection's end. A request that is whole must not
// be followed by the end of what is sent, for that means that nobody waits any more.
func (w *world) rawAll(text string, short bool) *reply {
	w.t.Helper()
	c, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	if short {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			w.t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		w.t.Fatalf("the server did not end: %v", err)
	}
	asked, err := http.NewRequest(http.MethodGet, w.url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), asked)
	if err != nil {
		return &reply{&http.Response{Request: asked}, b}
	}
	body, _ := io.ReadAll(res.Body)
	return &reply{res, body}
}

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// signedGet is a request that is not sent yet.
func (w *world) signedGet(path string) *http.Request {
	w.t.Helper()
	r := w.request("GET", path, nil, nil)
	if err := w.signer("MAIN").Sign(r, sigv4.Empty, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	return r
}
