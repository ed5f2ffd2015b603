package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
)

// Answer sends resp, which Services.Do has returned, to the client of r: piece by piece if
// it is a stream, with its trailers, without the headers of the connection it came over. It
// closes the answer's body. Like httputil.ReverseProxy, which does the work, it panics with
// http.ErrAbortHandler when the answer breaks off after its head was sent.
func Answer(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	p := httputil.ReverseProxy{
		Rewrite:   func(pr *httputil.ProxyRequest) { pr.Out.Body = http.NoBody },
		Transport: had{resp}, BufferPool: &pieces,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // a broken answer is told by the panic
	}
	p.ServeHTTP(w, r)
}

// pieces are what answers are copied through.
var pieces = buffers{sync.Pool{New: func() any { b := make([]byte, pieceBytes); return &b }}}

// pieceBytes of an answer are sent at a time.
const pieceBytes = 32 << 10

type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *buffers) Get() []byte {
	b, _ := p.pool.Get().(*[]byte)
	return *b
}

// Put implements httputil.BufferPool.
func (p *buffers) Put(b []byte) { p.pool.Put(&b) }

// had is a transport that has the answer already.
type had struct{ resp *http.Response }

// RoundTrip implements http.RoundTripper.
func (h had) RoundTrip(r *http.Request) (*http.Response, error) {
	h.resp.Request = r
	return h.resp, nil
}
