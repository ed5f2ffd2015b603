package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	headFor      = 10 * time.Second // a request's head, and the handshake before it
	idleFor      = 2 * time.Minute
	headBytesMax = 64 << 10
	// streamsMax are the requests of one connection of HTTP/2.
	streamsMax = 250
	// graceFor is how long requests have that are served when the gateway stops.
	graceFor = 8 * time.Second
)

// Serve answers clients on l, over TLS, until ctx ends; then it lets requests end that are
// served.
func (d *Door) Serve(ctx context.Context, l net.Listener, trust *tls.Config) error {
	s := &http.Server{
		Handler: d, ReadHeaderTimeout: headFor, IdleTimeout: idleFor, MaxHeaderBytes: headBytesMax,
		ErrorLog: slog.NewLogLogger(d.cfg.Log.Handler(), slog.LevelDebug), TLSConfig: trust.Clone(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streamsMax, SendPingTimeout: patience, PingTimeout: headFor, WriteByteTimeout: patience,
		},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.ServeTLS(l, "", "") })
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceFor)
		defer cancel()
		err := s.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close()
		}
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the gateway: %w", err)
	}
	return nil
}
