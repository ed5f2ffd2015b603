package header

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
)

// pieces passes a stream through a scanner in pieces of n bytes, as a connection does.
func pieces(in string, n int) string {
	var s scanner
	var out []byte
	for len(in) > 0 {
		p := in[:min(n, len(in))]
		in = in[len(p):]
		if s.skip(len(p)) {
			out = append(out, p...)
			continue
		}
		out = s.rewrite(out, []byte(p))
	}
	return string(out)
}

func TestScanner(t *testing.T) {
	const ö = "\xc3\xb6"
	for name, c := range map[string]struct{ in, want string }{
		"a name": {"GET / HTTP/1.1\r\nX-" + ö + ": " + ö + "\r\n\r\n", "GET / HTTP/1.1\r\nX-%c3%b6: " + ö + "\r\n\r\n"},
		"a body": {
			"PUT /" + ö + " HTTP/1.1\r\ncontent-length: 8\r\nX-" + ö + ":\r\n\r\n" + ö + ":\r\n\r\n" + ö + "GET / HTTP/1.1\r\n" + ö + ": x\r\n\r\n",
			"PUT /" + ö + " HTTP/1.1\r\ncontent-length: 8\r\nX-%c3%b6:\r\n\r\n" + ö + ":\r\n\r\n" + ö + "GET / HTTP/1.1\r\n%c3%b6: x\r\n\r\n",
		},
		"chunks": {
			"PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\n" + ö + ö + "\r\n2\r\n" + ö + "\r\n0\r\nT" + ö + ": x\r\n\r\nGET / HTTP/1.1\r\n" + ö + ": x\r\n\r\n",
			"PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\n" + ö + ö + "\r\n2\r\n" + ö + "\r\n0\r\nT" + ö + ": x\r\n\r\nGET / HTTP/1.1\r\n%c3%b6: x\r\n\r\n",
		},
		"a value that goes on": {"GET / HTTP/1.1\r\nA: b\r\n " + ö + ": c\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n " + ö + ": c\r\n\r\n"},
		"two lengths":          {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + ö + ":", "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + ö + ":"},
		"both framings":        {"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + ö + ":", "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + ö + ":"},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= len(c.in); n++ {
				if got := pieces(c.in, n); got != c.want {
					t.Fatalf("in pieces of %d:\n%q\nwant\n%q", n, got, c.want)
				}
			}
		})
	}
}

func TestDecode(t *testing.T) {
	h := http.Header{"X-A-%c3%b6": {"1"}, "X-100%25": {"2"}, "X-%ff": {"3"}, "B": {"4"}}
	Decode(h)
	if h["X-A-ö"] == nil || h["X-100%25"] == nil || h["X-%ff"] == nil || len(h) != 4 {
		t.Errorf("decoded to %v", h)
	}
}

// TestServer: net/http takes a name that is not ASCII, and bodies arrive as they were sent.
func TestServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		head http.Header
		body []byte
	}
	got := make(chan seen, 2)
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		Decode(h)
		b, _ := io.ReadAll(r.Body)
		got <- seen{h, b}
	})}
	go func() { _ = s.Serve(Listener(l)) }()
	defer func() { _ = s.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	body := bytes.Repeat([]byte("ö: ü\r\n\r\n"), 20_000)
	for range 2 {
		head := "PUT / HTTP/1.1\r\nHost: h\r\nX-Meta-Größe: 1\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n"
		if _, err := c.Write(append([]byte(head), body...)); err != nil {
			t.Fatal(err)
		}
		g := <-got
		if g.head["X-Meta-Größe"] == nil || !bytes.Equal(g.body, body) {
			t.Errorf("headers %v, a body of %d bytes", g.head, len(g.body))
		}
	}
}

func itoa(n int) string {
	b := []byte{}
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// FuzzScanner: a stream without names that are not ASCII passes as it is, however it is
// cut, and what passes of any stream does not depend on the cuts.
func FuzzScanner(f *testing.F) {
	f.Add("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", 3)
	f.Add("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 5)
	f.Fuzz(func(t *testing.T, in string, n int) {
		if n < 1 {
			return
		}
		whole := pieces(in, len(in)+1)
		if got := pieces(in, n); got != whole {
			t.Errorf("in pieces of %d: %q, whole: %q", n, got, whole)
		}
		if Plain(in) && whole != in {
			t.Errorf("%q became %q", in, whole)
		}
		if len(whole) < len(in) {
			t.Errorf("%q lost bytes: %q", in, whole)
		}
	})
}
