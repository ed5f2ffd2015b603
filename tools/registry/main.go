// Command registry is the cloud's OCI registry: CNCF Distribution on a directory,
// behind mutual TLS. Only polder's supervisor runs it. Whoever has a certificate
// of the cloud's authority may pull; only certificates with one of the writers'
// organisations may push or delete. What nothing refers to any more is removed
// at every start, before the first request, when nobody can be half-way through
// a push.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"
)

const stopLimit = 5 * time.Second

type options struct {
	address, dir, ca, cert, key string
	writers                     []string
}

func main() {
	var o options
	var writers string
	flag.StringVar(&o.address, "address", "", "host:port to listen on")
	flag.StringVar(&o.dir, "dir", "", "directory of the registry's data")
	flag.StringVar(&o.ca, "ca", "", "certificates of the authority of clients, PEM")
	flag.StringVar(&o.cert, "cert", "", "certificate to show, PEM")
	flag.StringVar(&o.key, "key", "", "key of the certificate, PEM")
	flag.StringVar(&writers, "writers", "", "organisations whose certificates may push, separated by commas")
	flag.Parse()
	o.writers = strings.Split(writers, ",")
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logrus.SetLevel(logrus.WarnLevel)
	if err := sweep(ctx, o.dir); err != nil {
		return fmt.Errorf("removing what nothing refers to: %w", err)
	}
	transport, err := transport(o)
	if err != nil {
		return err
	}
	app := handlers.NewApp(ctx, config(o.dir))
	server := &http.Server{Addr: o.address, Handler: guard(app, o.writers), TLSConfig: transport, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServeTLS("", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := server.Shutdown(limit); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

func config(dir string) *configuration.Configuration {
	return &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Log:     configuration.Log{Level: "warn", AccessLog: configuration.AccessLog{Disabled: true}},
		Storage: configuration.Storage{
			"filesystem": {"rootdirectory": dir},
			"delete":     {"enabled": true},
			"cache":      {"blobdescriptor": "inmemory"},
		},
		Catalog: configuration.Catalog{MaxEntries: 1000},
	}
}

// sweep removes blobs that no manifest of the registry at dir refers to.
func sweep(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	driver, err := factory.Create(ctx, "filesystem", map[string]any{"rootdirectory": dir})
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		return err
	}
	registry, err := storage.NewRegistry(ctx, driver, storage.EnableDelete)
	if err != nil {
		return err
	}
	return storage.MarkAndSweep(ctx, driver, registry, storage.GCOpts{Quiet: true})
}

func transport(o options) (*tls.Config, error) {
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, fmt.Errorf("reading authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority %s has no certificate", o.ca)
	}
	return &tls.Config{
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		// Read anew for every connection, since pairs are renewed while we run.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.cert, o.key)
			return &pair, err
		},
	}, nil
}

// guard lets everybody read and writers write.
func guard(next http.Handler, writers []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !writer(r, writers) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, `{"errors":[{"code":"DENIED","message":"this certificate may pull, not push or delete"}]}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writer(r *http.Request, writers []string) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return false
	}
	return slices.ContainsFunc(r.TLS.VerifiedChains[0][0].Subject.Organization, func(o string) bool { return slices.Contains(writers, o) })
}
