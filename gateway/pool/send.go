package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/internal/logs"
	"polder.dev/polder/model/infer"
)

// errLate is the cause of a context whose answer took too long.
var errLate = errors.New("the answer took too long")

// Do implements gateway.Services.
func (p *Pool) Do(key types.NamespacedName, r *http.Request) (*http.Response, error) {
	arrived, draw := p.cfg.Now(), p.cfg.Draw()
	b := &body{ReadCloser: r.Body}
	for try := 1; ; try++ {
		rep, s, err := p.acquire(r.Context(), key, draw, arrived)
		if err != nil {
			return nil, err
		}
		resp, err := p.send(rep, s, r, b)
		if err == nil {
			return resp, nil
		}
		if cause := context.Cause(r.Context()); cause != nil {
			return nil, cause
		}
		refused := isRefused(err)
		if refused { // the time that requests may wait bounds how often
			try--
		}
		next := p.again(s, r, b, refused)
		if next == nil || try >= triesMax || errors.Is(err, errLate) {
			return nil, p.failed(s, rep, err)
		}
		b = next
		p.gauges.retries.WithLabelValues(key.Namespace, key.Name).Inc()
	}
}

// again returns the body for sending r once more, or nil if that may not be.
func (p *Pool) again(s *service, r *http.Request, b *body, refused bool) *body {
	if !refused && p.protocol(s) == v1alpha1.ProtocolHTTP && !idempotent(r) {
		return nil
	}
	switch {
	case r.Body == nil || r.Body == http.NoBody, refused && !b.read.Load():
		return &body{ReadCloser: r.Body}
	case r.GetBody == nil:
		return nil
	}
	fresh, err := r.GetBody()
	if err != nil {
		return nil
	}
	return &body{ReadCloser: fresh}
}

func (p *Pool) protocol(s *service) v1alpha1.Protocol {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.protocol
}

// idempotent tells whether a request does the same when it is sent twice.
func idempotent(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != ""
}

// isRefused tells that a replica has not seen the request.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// send asks one replica, which rep's place is given back of when the answer is closed.
func (p *Pool) send(rep *replica, s *service, r *http.Request, b *body) (*http.Response, error) {
	p.mu.Lock()
	timeout := s.timeout
	p.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(r.Context(), timeout, errLate)
	leave := sync.OnceFunc(func() {
		cancel()
		p.mu.Lock()
		s.release(rep)
		p.mu.Unlock()
	})
	out := r.WithContext(ctx)
	u := *r.URL
	u.Scheme, u.Host = "http", rep.addr
	out.URL, out.Host, out.RequestURI = &u, "", ""
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = b
	}
	resp, err := p.asks.RoundTrip(out)
	if err == nil {
		resp.Body = answerOf(resp.Body, ctx, leave)
		resp.Header.Set(infer.HeaderRevision, rep.revision.name)
		return resp, nil
	}
	if isRefused(err) && r.Context().Err() == nil {
		p.mu.Lock()
		p.fall(rep)
		p.mu.Unlock()
		p.cfg.Log.Info("a replica refuses connections", logs.Namespace, rep.pod.Namespace, logs.Name, rep.pod.Name, logs.Addr, rep.addr, logs.Err, err)
	}
	if errors.Is(context.Cause(ctx), errLate) {
		err = errors.Join(errLate, err)
	}
	leave()
	return nil, err
}

// failed is what a client is told when no replica has answered.
func (p *Pool) failed(s *service, rep *replica, err error) error {
	if errors.Is(err, errLate) {
		f := gateway.Faultf(http.StatusGatewayTimeout, "timeout", "service %s has not answered within %s (its timeoutSeconds)", s.key.Name, p.timeout(s))
		f.Cause = err
		return f
	}
	f := gateway.Faultf(http.StatusBadGateway, "broken_off", "a replica of service %s broke the connection off before it answered", s.key.Name)
	f.Cause = fmt.Errorf("asking %s: %w", rep.pod, err)
	return f
}

func (p *Pool) timeout(s *service) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.timeout
}

// body is a request's, for one time that it is sent. The transport closes it even if
// nothing was read and it is to be sent again; the server closes what lies below.
type body struct {
	io.ReadCloser
	read atomic.Bool
}

func (b *body) Read(buf []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(buf)
}

// Close does nothing.
func (b *body) Close() error { return nil }

// answer is the body of an answer: its end gives the replica's place back.
type answer struct {
	io.ReadCloser
	ctx   context.Context
	leave func()
}

// duplex is one of a connection that was upgraded.
type duplex struct {
	answer
	io.Writer
}

func answerOf(from io.ReadCloser, ctx context.Context, leave func()) io.ReadCloser {
	a := answer{from, ctx, leave}
	if w, ok := from.(io.Writer); ok {
		return &duplex{a, w}
	}
	return &a
}

func (a *answer) Read(buf []byte) (int, error) {
	n, err := a.ReadCloser.Read(buf)
	if err == io.EOF { //nolint:errorlint // readers return it bare
		a.leave()
	} else if err != nil && errors.Is(context.Cause(a.ctx), errLate) {
		err = errLate
	}
	return n, err
}

// Close implements io.Closer.
func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.leave()
	return err
}
