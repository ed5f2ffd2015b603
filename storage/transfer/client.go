package transfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"polder.dev/polder/internal/pki"
)

// Client speaks to one store. Its methods may be called at once.
type Client struct {
	s3      *minio.Client
	core    minio.Core
	web     *http.Client
	base    *url.URL
	cfg     Config
	slots   chan struct{} // one for each request that carries data
	backoff time.Duration
	reached *atomic.Bool
	buffers sync.Pool

	// copyOneMax is how large an object may be to be copied by one request.
	copyOneMax, copyPart int64
}

const (
	bufferBytes = 256 << 10
	stallMax    = time.Minute
)

// New checks cfg and returns a client. It connects to nobody.
func New(cfg Config) (*Client, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	base, err := url.Parse(cfg.Endpoint)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" || base.Path != "" && base.Path != "/" {
		return nil, fmt.Errorf("%s is no endpoint; write https://HOST or https://HOST:PORT", Printable(cfg.Endpoint))
	}
	base.Path = ""
	if cfg.StateDir == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			cfg.StateDir = filepath.Join(dir, "polder", "upload")
		}
	}
	wire, reached, err := transport(&cfg)
	if err != nil {
		return nil, err
	}
	keys := credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)
	if cfg.AccessKey == "" {
		keys = credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	}
	const own = 4 // tries of the library; those of this package come on top
	s3, err := minio.New(base.Host, &minio.Options{Creds: keys, Secure: base.Scheme == "https", Region: cfg.Region, Transport: wire, MaxRetries: own})
	if err != nil {
		return nil, fmt.Errorf("making client of %s: %w", Printable(cfg.Endpoint), err)
	}
	return &Client{
		s3: s3, core: minio.Core{Client: s3}, web: &http.Client{Transport: wire}, base: base, cfg: cfg,
		slots: make(chan struct{}, cfg.Parallel), backoff: cfg.Backoff, reached: reached,
		buffers:    sync.Pool{New: func() any { b := make([]byte, bufferBytes); return &b }},
		copyOneMax: 5 << 30, copyPart: 512 << 20,
	}, nil
}

// transport speaks HTTP/1.1, since one connection for all would bound the rate, and
// notes whether the store has ever answered.
func transport(cfg *Config) (http.RoundTripper, *atomic.Bool, error) {
	pool, ok := pki.Beside(cfg.CA)
	if !ok {
		return nil, nil, errors.New("the file of certificates holds none in PEM")
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &steady{Conn: conn}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
		MaxIdleConns: 2 * cfg.Parallel, MaxIdleConnsPerHost: 2 * cfg.Parallel,
		ResponseHeaderTimeout: 5 * time.Minute, // a copy inside the store may take long
		WriteBufferSize:       64 << 10, ReadBufferSize: 64 << 10,
		DisableCompression: true, // bytes are those that were stored
	}
	reached := &atomic.Bool{}
	return answered{t, reached}, reached, nil
}

type answered struct {
	http.RoundTripper
	once *atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (a answered) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(r)
	if err == nil {
		a.once.Store(true)
	}
	return resp, err
}

// steady ends a connection to which nothing could be written for stallMax.
type steady struct{ net.Conn }

func (s *steady) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(stallMax)); err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

// slot waits until a request more may be made; the func ends it.
func (c *Client) slot(ctx context.Context) (func(), error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// watched reads a body and ends its request when nothing comes for stallMax.
type watched struct {
	body  io.Reader
	timer *time.Timer
}

func watch(body io.Reader, cancel context.CancelCauseFunc) *watched {
	return &watched{body, time.AfterFunc(stallMax, func() { cancel(errStalled) })}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.timer.Reset(stallMax)
	return n, err
}

func (w *watched) stop() { w.timer.Stop() }
