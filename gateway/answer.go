package gateway

import (
	"net/http"
	"net/http/httputil"
)

// Answer sends resp, which Services.Do has returned, to the client of r: piece by piece if
// it is a stream, with its trailers, without the headers of the connection it came over. It
// closes the answer's body. Like httputil.ReverseProxy, which does the work, it panics with
// http.ErrAbortHandler when the answer breaks off after its head was sent.
func Answer(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	p := httputil.ReverseProxy{
		Rewrite:   func(pr *httputil.ProxyRequest) { pr.Out.Body = http.NoBody },
		Transport: had{resp},
	}
	p.ServeHTTP(w, r)
}

// had is a transport that has the answer already.
type had struct{ resp *http.Response }

// RoundTrip implements http.RoundTripper.
func (h had) RoundTrip(r *http.Request) (*http.Response, error) {
	h.resp.Request = r
	return h.resp, nil
}
