package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lifecycle"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/seal"
	"polder.dev/polder/storage/show"
	"polder.dev/polder/storage/tier"
)

// Config of a Server. Dir is needed.
type Config struct {
	// Dir is the data directory. It holds the lock, the socket, the key of tokens and, if
	// Disks is empty, the disk itself.
	Dir string
	// Disks are directories, each on a disk of its own, when the store is made. Later
	// ones are added through the socket, and are known from then on.
	Disks []string
	// Missing allows disks to be away.
	Missing bool
	// Tiers are below the disks, which hold every object's entry; HotBytes of what is read
	// stay in memory. Jurisdiction is that of the disks and the memory; "" is unknown.
	Tiers        []Tier
	HotBytes     int64
	Jurisdiction string
	// Shown are buckets with data of other stores.
	Shown []Shown
	// Region is told to S3 clients; "us-east-1" where it is "".
	Region string
	// Domains are hosts below which a label is a bucket's name.
	Domains []string
	// Sites are hosts below which a label is a bucket whose web site is served.
	Sites []string
	// MemoryBytesMax is what the process may have in memory, apart from pages of files; 704
	// MiB, and 224 MiB more for each disk but the first. HotBytes are within it, and yield
	// to requests. BoundHeap makes it the whole process's bound.
	MemoryBytesMax int64
	// RequestsMax is how many requests are served at once; 2048.
	RequestsMax int
	// KeysFile has the keys that objects are encrypted with, as seal.ParseKeys reads them;
	// without it there is one for each jurisdiction, made when it is first needed.
	KeysFile string
	// OwnNames gives each account names of its own in S3, too.
	OwnNames bool
	// LifecycleDay is what a day of lifecycle rules is; 24 hours where it is 0. Shorter
	// ones are for tests of clients.
	LifecycleDay time.Duration
	// URL is what Swift clients are told to reach the store by; "" is what their requests
	// say.
	URL string
	// Metrics is where they are registered; a registry of its own if it is nil.
	Metrics interface {
		prometheus.Registerer
		prometheus.Gatherer
	}
	Log *slog.Logger
	Now func() time.Time

	patience time.Duration // with clients that are slow
}

// Server is an open store.
type Server struct {
	cfg     Config
	lock    *os.File
	admin   net.Listener
	disks   *disk.Store
	lower   []*disk.Store
	tiers   *tier.Store
	cache   *cache.Cache // nil where nothing stays in memory
	shown   *show.Store
	store   storage.Store
	space   *naming.Space
	tokens  []byte
	keys    seal.Keyring
	lives   *lifecycle.Runner
	logs    *accesslog.Log
	traffic *traffic
	slots   chan struct{} // one for each request that is served
	parts   parts
	memory  *budget.Budget
	away    []string // directories that are known and held no disk at the start

	mu      sync.Mutex
	balance *balance
	work    sync.WaitGroup
	ctx     context.Context // of what the socket began
	stop    context.CancelFunc
}

// Open opens the store in a data directory, or makes one.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.patience == 0 {
		cfg.patience = patience
	}
	if cfg.RequestsMax == 0 {
		cfg.RequestsMax = 2048
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	s := &Server{cfg: cfg, slots: make(chan struct{}, cfg.RequestsMax)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.lock, err = hold(filepath.Join(s.cfg.Dir, "lock")); err != nil {
		return err
	}
	if s.tokens, err = secretFile(filepath.Join(s.cfg.Dir, "token.key")); err != nil {
		return err
	}
	class := storage.Capacity
	if len(s.cfg.Tiers) > 0 {
		class = storage.Fast
	}
	if err := s.openDisks(disk.Config{Class: class, Missing: s.cfg.Missing, Log: s.cfg.Log, Now: s.cfg.Now}); err != nil {
		return err
	}
	s.store = s.disks
	if s.tiers, err = s.openTiers(); err != nil {
		return err
	}
	s.store = s.tiers
	if s.shown, err = s.openShown(ctx); err != nil {
		return err
	}
	s.store = s.shown
	if s.space, err = naming.Open(ctx, s.store); err != nil {
		return err
	}
	if s.keys, err = openKeys(s.cfg); err != nil {
		return err
	}
	if s.lives, err = lifecycle.New(lifecycle.Options{
		Store: s.tiers, Log: s.cfg.Log, Now: s.cfg.Now, Move: s.transition, Day: s.cfg.LifecycleDay, Interval: min(s.cfg.LifecycleDay/10, time.Hour),
	}); err != nil {
		return err
	}
	if s.logs, err = s.openLogs(); err != nil {
		return err
	}
	if s.admin, err = listenSocket(Socket(s.cfg.Dir)); err != nil {
		return err
	}
	s.traffic = newTraffic(s.cfg.Metrics)
	s.cfg.Metrics.MustRegister(gauges{s.disks, s.lives, s.memory, s.parts.bytesMax}) // it panics for a name that is there twice, which is ours to see
	return nil
}

// logsGrace is how long the last access logs may take at the end.
const logsGrace = 10 * time.Second

// openLogs makes what keeps access logs. They are put by a door of its own, through which
// nobody else comes.
func (s *Server) openLogs() (*accesslog.Log, error) {
	nobody, err := iam.NewUsers(nil)
	if err != nil {
		return nil, err
	}
	door, err := s3.New(s3.Config{Space: s.space, Directory: nobody, Region: s.cfg.Region, Keys: s.keys, Now: s.cfg.Now, Log: s.cfg.Log})
	if err != nil {
		return nil, err
	}
	return accesslog.New(accesslog.Options{Put: door.PutLog, Region: door.Region(), Log: s.cfg.Log, Now: s.cfg.Now, Metrics: s.cfg.Metrics})
}

// hold takes the lock of a data directory.
func hold(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process serves the store in %s; stop it, or name another directory", filepath.Dir(path))
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// secretFile reads 32 random bytes, which it makes at the first time.
func secretFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) >= 32 {
		return b, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the key of tokens: %w", err)
	}
	b = make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b, pki.WriteFile(path, b)
}

// Warm brings what is below a prefix of a bucket to the disks, and keeps it there until
// release is called.
func (s *Server) Warm(ctx context.Context, bucket, prefix string, tell func(done int64)) (release func(), err error) {
	if s.shown.Shown(bucket) {
		return nil, fmt.Errorf("%w: bucket %s is shown from another store, and does not come to the disks; copy it into a bucket that may", storage.ErrInvalid, bucket)
	}
	p, err := s.tiers.Warm(ctx, bucket, tier.Warm{Prefix: prefix, Pin: true}, func(p tier.Progress) { tell(p.Bytes) })
	if err != nil {
		return nil, err
	}
	return p.Release, nil
}

// Space is the names of the store's buckets.
func (s *Server) Space() *naming.Space { return s.space }

// Recovered says, in a sentence, what was found when the store was opened.
func (s *Server) Recovered() string {
	var records, damaged, disks int
	for _, r := range s.disks.Recovered() {
		disks++
		records += r.Records
		damaged += r.Damaged
	}
	if damaged > 0 {
		return fmt.Sprintf("%d disks, %d records of their logs read again, %d stretches damaged", disks, records, damaged)
	}
	return fmt.Sprintf("%d disks, %d records of their logs read again", disks, records)
}

// Run does what goes on behind until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if !s.disks.Settled() {
		s.beginBalance()
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.disks.Run(ctx) })
	for _, d := range s.lower {
		g.Go(func() error { return d.Run(ctx) })
	}
	g.Go(func() error { return s.tiers.Run(ctx) })
	g.Go(func() error { s.logs.Run(ctx); return nil })
	g.Go(func() error { return untilOver(ctx, s.lives.Run(ctx)) })
	return g.Wait()
}

// untilOver is nil for an error that only says that ctx has ended.
func untilOver(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Close ends what goes on, makes all durable and lets the directory go.
func (s *Server) Close() error {
	s.stop()
	s.work.Wait()
	if s.logs != nil {
		grace, cancel := context.WithTimeout(context.Background(), logsGrace)
		s.logs.Close(grace)
		cancel()
	}
	var err error
	if s.store != nil {
		err = s.store.Close()
	}
	if s.admin != nil {
		if e := s.admin.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
