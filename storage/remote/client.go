package remote

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage"
)

// transport speaks HTTP/1.1, since one connection for all would bound the rate.
func transport(c *Common) (*http.Transport, error) {
	timeout := c.Timeout
	pool, ok := pki.Beside(c.CA)
	if !ok {
		return nil, fmt.Errorf("%w: the file of certificates holds none in PEM", storage.ErrInvalid)
	}
	dialer := &net.Dialer{Timeout: min(timeout, 30*time.Second), KeepAlive: 30 * time.Second}
	dial, proxy := dialer.DialContext, http.ProxyFromEnvironment
	if c.Socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", c.Socket)
		}
		proxy = nil
	}
	return &http.Transport{
		Proxy: proxy, DialContext: dial,
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: min(timeout, 10*time.Second), IdleConnTimeout: time.Minute,
		MaxIdleConns: 64, MaxIdleConnsPerHost: 64,
		WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		DisableCompression: true, // bytes are those that were stored
	}, nil
}

// web sends requests, and ends those in which nothing moves. A client who is slow does
// not count: the time stops while a body waits for its source or its reader.
type web struct {
	http    *http.Client
	timeout time.Duration
}

func newWeb(t *http.Transport, timeout time.Duration) *web {
	return &web{timeout: timeout, http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// send sends a request with a body of size bytes, or without one if body is nil. When
// it returns nobody reads body any more.
func (w *web) send(r *http.Request, body io.Reader, size int64) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	watch := &watch{every: w.timeout, timer: time.AfterFunc(w.timeout, func() { cancel(errStalled) })}
	r = r.WithContext(ctx)
	var src *source
	if body != nil {
		src = &source{r: body, watch: watch}
		r.Body, r.ContentLength = src, size
		if size == 0 {
			r.Body = http.NoBody
		}
		defer src.end()
	}
	res, err := w.http.Do(r)
	if src != nil {
		src.end()
		if src.err != nil {
			if res != nil {
				_ = res.Body.Close() // the body's error is what counts
			}
			cancel(nil)
			watch.stop()
			return nil, src.err
		}
	}
	if err != nil {
		err = unavailable(ctx, err)
		cancel(nil)
		watch.stop()
		return nil, err
	}
	watch.stop()
	res.Body = &answer{body: res.Body, watch: watch, ctx: ctx, cancel: cancel}
	return res, nil
}

// watch is a clock of what the remote takes.
type watch struct {
	every time.Duration
	timer *time.Timer
}

func (w *watch) run()  { w.timer.Reset(w.every) }
func (w *watch) stop() { w.timer.Stop() }

// source is the body of a request. The transport may read it after the answer came.
type source struct {
	watch *watch
	mu    sync.Mutex
	r     io.Reader
	err   error
	over  bool
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, io.ErrClosedPipe
	}
	s.watch.stop()
	n, err := s.r.Read(p)
	s.watch.run()
	if err != nil && err != io.EOF {
		s.err = fmt.Errorf("%w: %w", errSource, err)
	}
	return n, err
}

// Close leaves the body to its owner.
func (s *source) Close() error { return nil }

func (s *source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// answer is the body of an answer.
type answer struct {
	body   io.ReadCloser
	watch  *watch
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (a *answer) Read(p []byte) (int, error) {
	a.watch.run()
	n, err := a.body.Read(p)
	a.watch.stop()
	if err != nil && err != io.EOF {
		err = unavailable(a.ctx, err)
	}
	return n, err
}

func (a *answer) Close() error {
	a.watch.stop()
	err := a.body.Close()
	a.cancel(nil)
	return err
}

// drain ends an answer whose rest nobody wants, so that its connection serves again.
func drain(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // what is longer costs its connection
	_ = res.Body.Close()
}
