package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/swift"
	"polder.dev/polder/storage/swift/header"
)

// headBytesMax bounds a request's head: 8 KiB of S3's metadata or 90 of Swift's, and a
// policy's signature beside it.
const headBytesMax = 64 << 10

// policies are what a container may be made with (X-Storage-Policy): the first is that of
// containers that name none.
var policies = []swift.Policy{
	{Name: "synced", Aliases: []string{"default"}, Durability: storage.Synced},
	{Name: "written", Durability: storage.Written},
}

// Doors is both protocols on one address.
func (s *Server) Doors(ctx context.Context, people iam.Directory) (http.Handler, error) {
	bucket, err := s3.New(s3.Config{
		Space: s.space, Directory: people, Region: s.cfg.Region, Domains: s.cfg.Domains, Sites: s.cfg.Sites, OwnNames: s.cfg.OwnNames, Keys: s.keys, Access: s.logs, Memory: s.memory, Now: s.cfg.Now, Log: s.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	container, err := swift.New(ctx, swift.Config{
		Space: s.space, Directory: people, Log: s.cfg.Log, Now: s.cfg.Now, TokenKey: s.tokens, Keys: s.keys, Access: s.logs, URL: s.cfg.URL,
		Policies: policies, Domains: s.cfg.Domains, Memory: s.memory,
	})
	if err != nil {
		return nil, err
	}
	one, other := s.guard("s3", bucket), s.guard("swift", container)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !bucket.Site(r) && container.Handles(r) {
			other.ServeHTTP(w, r)
			return
		}
		one.ServeHTTP(w, r)
	}), nil
}

// Serve answers clients on l and administrators on the data directory's socket until ctx
// ends; then it lets requests end that are served. trust is nil for plain HTTP.
func (s *Server) Serve(ctx context.Context, l net.Listener, h http.Handler, trust *tls.Config) error {
	logger := slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug)
	doors := &http.Server{
		Handler: h, ErrorLog: logger, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: headBytesMax,
		// One stream for each connection is faster than HTTP/2's many in one, and is what
		// S3's and Swift's clients speak.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if trust == nil {
		l = header.Listener(l) // what Swift's clients may say, and net/http would refuse
	}
	if trust != nil {
		trust = trust.Clone()
		trust.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, trust)
	}
	side := &http.Server{Handler: s.Admin(), ErrorLog: logger, ReadHeaderTimeout: 10 * time.Second}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return doors.Serve(l) })
	g.Go(func() error { return side.Serve(s.admin) })
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := doors.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = doors.Close()
		}
		return errors.Join(err, side.Close())
	})
	if err := g.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the store: %w", err)
	}
	return nil
}

// listenSocket opens a socket, which is root's, or the user's who runs the store.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the socket of an earlier run: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
