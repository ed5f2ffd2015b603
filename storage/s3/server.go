package s3

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"polder.dev/polder/internal/linger"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3/sigv4"
	"polder.dev/polder/storage/seal"
)

// firstRegion is S3's oldest, which is the default everywhere and has customs of its own.
const firstRegion = "us-east-1"

// Config is what a Server needs. Space and Directory must be given.
type Config struct {
	Space     *naming.Space
	Directory iam.Directory
	// Region is the name that clients are told; "us-east-1" where it is "".
	Region string
	// Domains are the hosts below which a label is a bucket's name ("s3.example.org" for
	// bucket.s3.example.org), without ports.
	Domains []string
	// Sites are the hosts below which a label is a bucket whose web site is served.
	Sites []string
	// OwnNames gives each account names of its own: a name that another account's bucket
	// has can be had as well, as with Swift.
	OwnNames bool
	// Keys encrypt what clients or buckets ask to be, and have no key of their own for.
	Keys seal.Keyring
	// Access is told of requests to buckets that ask for logs; nil tells nobody.
	Access *accesslog.Log
	// Handovers is a directory of this machine whose files clients may have taken over
	// (storage.Handover), and not send. "" is none.
	Handovers string
	// ReadOnce says that clients seldom read an object again (storage.ReadOptions.Once).
	ReadOnce bool
	// Memory is what large buffers are of; nil is without a bound.
	Memory *budget.Budget
	Now    func() time.Time
	Log    *slog.Logger
}

// Server answers S3 requests. It implements http.Handler.
type Server struct {
	space   *naming.Space
	people  iam.Directory
	keyring seal.Keyring // may be nil

	handovers string
	once      bool

	own     bool
	region  string
	domains []string // each with a dot in front
	sites   []string // as domains
	access  *accesslog.Log
	now     func() time.Time
	log     *slog.Logger

	keys  sigv4.Keys
	rules ruleCache
	lives lifeCache
	first uint64   // of request ids
	host  []string // what names this process to clients and to those whom they ask for help
	count atomic.Uint64

	memory *budget.Budget // of large buffers
}

var _ http.Handler = (*Server)(nil)

// CheckHost says what is wrong with one of Domains or Sites.
func CheckHost(name string) error {
	if name == "" || strings.ContainsAny(name, ":/ ") {
		return fmt.Errorf("%q must be a host's name without a port", name)
	}
	return nil
}

// New makes a Server. It begins nothing that would have to be ended.
func New(c Config) (*Server, error) {
	if c.Space == nil || c.Directory == nil {
		return nil, errors.New("s3: Space and Directory are needed")
	}
	s := &Server{space: c.Space, own: c.OwnNames, handovers: c.Handovers, once: c.ReadOnce, people: c.Directory, keyring: c.Keys, region: c.Region, access: c.Access, now: c.Now, log: c.Log, memory: c.Memory}
	if s.region == "" {
		s.region = firstRegion
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, hosts := range []struct {
		field string
		from  []string
		to    *[]string
	}{{"Domains", c.Domains, &s.domains}, {"Sites", c.Sites, &s.sites}} {
		for _, d := range hosts.from {
			if err := CheckHost(d); err != nil {
				return nil, fmt.Errorf("s3: %s: %w", hosts.field, err)
			}
			*hosts.to = append(*hosts.to, "."+strings.ToLower(strings.Trim(d, ".")))
		}
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	s.first = binary.BigEndian.Uint64(seed[:])
	s.host = []string{rand.Text()}
	return s, nil
}

// Region is what clients are told that the server is in.
func (s *Server) Region() string { return s.region }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{s: s, w: w, r: r, ctx: r.Context()}
	q.id = requestID(s.first + s.count.Add(1)*golden)
	w.Header()["X-Amz-Request-Id"] = []string{q.id}
	w.Header()["X-Amz-Id-2"] = s.host
	defer q.record()
	if name, ok := below(s.sites, r.Host); ok {
		q.name, q.virtual, q.visiting = name, true, true
		q.visit()
		return
	}
	if err := q.serve(); err != nil {
		q.watchFailed(err)
		linger.Answer(w, r, q.auth != nil, func() { q.fail(err) })
	}
}

// golden spreads a counter over all numbers.
const golden = 0x9E3779B97F4A7C15

func requestID(n uint64) string {
	const hex = "0123456789ABCDEF"
	var b [16]byte
	for i := range b {
		b[i] = hex[n>>(60-4*i)&15]
	}
	return string(b[:])
}

// display is the name that is shown of an account; the account itself where nobody
// knows better.
func (s *Server) display(ctx context.Context, account string) string {
	if who, err := s.people.Account(ctx, account); err == nil && who.DisplayName != "" {
		return who.DisplayName
	}
	return account
}
