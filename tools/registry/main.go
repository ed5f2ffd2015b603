// Command registry is the cloud's OCI registry: CNCF Distribution on a directory, or on a
// bucket of the cloud's object store, behind TLS, for those who have a certificate of the cloud's authority or a token of the
// cluster. Only polder's supervisor runs it. Code, data, images and
// models of a namespace are for those whom the API server lets get, create and
// delete the objects that stand for them there; what belongs to no namespace may
// be pulled by everybody who is known. Writers' organisations
// may do everything. The registry starts without the API server, and needs it for
// tenants' requests and tokens only. What nothing refers to any more is removed at every
// start, before the first request, when nobody can be half-way through a push.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"

	"polder.dev/polder/internal/bulk"
)

const stopLimit = 5 * time.Second

type options struct {
	address, dir, ca, cert, key, api string
	writers, readers, audiences      []string

	// Of the object store, if blobs are objects: its socket, the access key and the file of
	// its secret, and the bucket.
	storeSocket, storeKey, storeSecret, bucket string
}

func main() {
	var o options
	var writers, readers, audiences string
	flag.StringVar(&o.address, "address", "", "host:port to listen on")
	flag.StringVar(&o.dir, "dir", "", "directory of the registry's data")
	flag.StringVar(&o.ca, "ca", "", "certificates of the authority of clients and of the API server, PEM")
	flag.StringVar(&o.cert, "cert", "", "certificate to show to both, PEM")
	flag.StringVar(&o.key, "key", "", "key of the certificate, PEM")
	flag.StringVar(&o.api, "api", "", "URL of the API server, which says what tenants may do")
	flag.StringVar(&writers, "writers", "", "organisations whose certificates may do everything, separated by commas")
	flag.StringVar(&readers, "readers", "", "users whose certificates may pull everything, separated by commas")
	flag.StringVar(&audiences, "audiences", "", "audiences that tokens may be for, separated by commas")
	flag.StringVar(&o.storeSocket, "store-socket", "", "socket of the object store that keeps what is pushed; without it files in --dir do")
	flag.StringVar(&o.storeKey, "store-key", "", "access key of --store-socket")
	flag.StringVar(&o.storeSecret, "store-secret-file", "", "file that holds the secret of --store-key")
	flag.StringVar(&o.bucket, "bucket", "", "bucket of the store")
	flag.Parse()
	o.writers, o.readers, o.audiences = names(writers), names(readers), names(audiences)
	registerDisk()
	registerObject()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

// names are those in a list with commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logrus.SetLevel(logrus.WarnLevel)
	kept, objects, err := keep(ctx, o)
	if err != nil {
		return err
	}
	if err := sweep(ctx, kept.driver); err != nil {
		return fmt.Errorf("removing what nothing refers to: %w", err)
	}
	server, client, err := transport(o)
	if err != nil {
		return err
	}
	store, err := open(ctx, kept.driver)
	if err != nil {
		return err
	}
	if objects != nil {
		var moves sync.WaitGroup
		moves.Go(func() { objects.move(ctx) })
		defer moves.Wait()
	}
	g := newGuard(handlers.NewApp(ctx, config(kept)), store, newReviewer(o.api, client, o.audiences, time.Now), o.writers, o.readers)
	return serve(ctx, &http.Server{Addr: o.address, Handler: g, TLSConfig: server, ReadHeaderTimeout: 10 * time.Second})
}

// keeping is where the registry keeps what is pushed: a driver, and how Distribution's
// configuration says it.
type keeping struct {
	driver     driver.StorageDriver
	name       string
	parameters configuration.Parameters
}

// keep opens the files or the bucket. Of a bucket the driver comes too.
func keep(ctx context.Context, o options) (keeping, *objects, error) {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return keeping{}, nil, fmt.Errorf("making %s: %w", o.dir, err)
	}
	if o.storeSocket == "" {
		d, err := factory.Create(ctx, "filesystem", map[string]any{"rootdirectory": o.dir})
		if err != nil {
			return keeping{}, nil, fmt.Errorf("opening %s: %w", o.dir, err)
		}
		return keeping{d, diskDriver, configuration.Parameters{"rootdirectory": o.dir}}, nil, nil
	}
	b, err := openObjects(ctx, o)
	if err != nil {
		return keeping{}, nil, err
	}
	if err := b.ready(ctx); err != nil {
		return keeping{}, nil, fmt.Errorf("asking the object store: %w", err)
	}
	d := b.checked()
	return keeping{d, objectDriver, configuration.Parameters{"driver": d}}, b, nil
}

// serve returns when ctx ends, or when the server fails.
func serve(ctx context.Context, server *http.Server) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	l = bulk.NewListener(l, server.TLSConfig, func(client net.Addr, err error) { logrus.Warnf("no TLS with %s: %v", client, err) })
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
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

func config(k keeping) *configuration.Configuration {
	return &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Log:     configuration.Log{Level: "warn", AccessLog: configuration.AccessLog{Disabled: true}},
		Storage: configuration.Storage{
			k.name:   k.parameters,
			"delete": {"enabled": true},
			"cache":  {"blobdescriptor": "inmemory"},
		},
		Catalog: configuration.Catalog{MaxEntries: catalogEntriesMax},
	}
}

// catalogEntriesMax is how many repositories are listed in one answer.
const catalogEntriesMax = 1000

// sweep removes blobs that no manifest refers to.
func sweep(ctx context.Context, d driver.StorageDriver) error {
	if _, err := d.Stat(ctx, top); isMissing(err) {
		return nil // nothing was pushed yet
	} else if err != nil {
		return err
	}
	registry, err := storage.NewRegistry(ctx, d, storage.EnableDelete)
	if err != nil {
		return err
	}
	return storage.MarkAndSweep(ctx, d, registry, storage.GCOpts{Quiet: true})
}

// top is where Distribution keeps everything.
const top = "/docker/registry/v2"

// open returns the repositories that d keeps, for looking.
func open(ctx context.Context, d driver.StorageDriver) (repositories, error) {
	registry, err := storage.NewRegistry(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("opening the repositories: %w", err)
	}
	store, ok := registry.(repositories)
	if !ok {
		return nil, errors.New("opening the repositories: they cannot be listed")
	}
	return store, nil
}

// transport is TLS as a server, to which clients may show a certificate, and mutual TLS as
// a client of the API server. The pair
// is read anew for every connection, since pairs are renewed while we run.
func transport(o options) (server, client *tls.Config, err error) {
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, nil, fmt.Errorf("reading authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("authority %s has no certificate", o.ca)
	}
	pair := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		return &pair, err
	}
	server = &tls.Config{
		ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair() },
	}
	client = &tls.Config{
		RootCAs: pool, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair() },
	}
	return server, client, nil
}
