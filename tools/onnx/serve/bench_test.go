package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
	"polder.dev/polder/tools/onnx/session"
)

// BenchmarkInfer asks over a connection of its own, a row at a time.
func BenchmarkInfer(b *testing.B) {
	if err := session.Start(); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, infer.ModelFile), infertest.Random(1, 64, 32, 10).Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	m, err := session.Open(dir, session.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	c, err := read(func(string) string { return "" })
	if err != nil {
		b.Fatal(err)
	}
	s := newServer(nil, c)
	if err := s.use(m, 2, time.Microsecond); err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	h := &http.Server{Handler: s.handler(), ReadTimeout: readLimit, IdleTimeout: idleLimit}
	go func() { _ = h.Serve(l) }()
	defer h.Close()
	for _, binary := range []bool{true, false} {
		b.Run(map[bool]string{true: "binary", false: "json"}[binary], func(b *testing.B) {
			x := infer.New("x", make([]float32, 64), 1, 64)
			x.Binary = binary
			q := infer.Request{Inputs: []infer.Tensor{x}}
			if binary {
				q.AskBinary()
			}
			body, header, err := q.Append(nil)
			if err != nil {
				b.Fatal(err)
			}
			length := ""
			if binary {
				length = fmt.Sprintf("%s: %d\r\n", infer.HeaderLength, header)
			}
			request := fmt.Appendf(nil, "POST /v2/models/model/infer HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", length, len(body), body)
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			r := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				res, err := http.ReadResponse(r, nil)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res, err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					b.Fatal(err)
				}
				if strings.HasPrefix(res.Header.Get("Content-Type"), "text") {
					b.Fatal("no answer of the protocol")
				}
			}
		})
	}
}
