package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

// Layout says where in the remote store buckets of ours lie. The zero value makes a
// remote bucket (in Swift a container) of its own for each, with the same name.
type Layout struct {
	// Bucket is one remote bucket for all; it is there. Each bucket of ours has keys
	// below a prefix of its own in it. "" is a remote bucket for each.
	Bucket string
	// Prefix begins all keys in Bucket, or the remote buckets' names without it.
	Prefix string
	// Show names remote buckets that are there as buckets of ours. They are neither
	// made, deleted nor configured, and nothing is asked of them when they are opened.
	Show map[string]Shown
	// OnlyShown refuses to make buckets.
	OnlyShown bool
}

// Shown is where data lies that a bucket of ours shows in place.
type Shown struct {
	Bucket string
	// Prefix of the keys that are shown, without it.
	Prefix   string
	ReadOnly bool
}

// Common is what both protocols are told.
type Common struct {
	Layout Layout
	// Jurisdiction that the remote lies in, as package residency names it; "" is unknown.
	Jurisdiction string
	// CA holds certificates in PEM that are believed beside the system's.
	CA []byte
	// Socket is a Unix socket at which the remote answers, whatever host its URL names.
	Socket string
	// Handovers is a directory that is shared with a Polder that answers on this machine:
	// Put offers it files of there that are a storage.Handover. "" is none.
	Handovers string
	// NoMD5 sends large bodies of which no MD5 is given without hashing them, to a remote
	// that has no MD5 to compare with.
	NoMD5 bool
	// Timeout is how long a request may go without a byte; a minute.
	Timeout time.Duration
	// Tries of a request that fails for a while, 4; Backoff is the pause before the
	// second, 250 ms, and doubles.
	Tries   int
	Backoff time.Duration
	// BufferBytes bounds what one write holds of its body, 8 MiB, and is the size of
	// parts. S3 wants at least 5 MiB.
	BufferBytes int
	// WindowBytes is what is asked for when a reader begins; it doubles as the reader
	// goes on. 1 MiB.
	WindowBytes int64
	Log         *slog.Logger
	Now         func() time.Time
}

// S3 says where a store that speaks S3 is and who asks.
type S3 struct {
	Common
	// Endpoint is its URL, http or https.
	Endpoint string
	// Region that requests are signed for; it must be given, since nothing is guessed.
	Region string
	// Keys; without AccessKey requests are not signed.
	AccessKey, SecretKey, SessionToken string
	// VirtualHost puts the bucket's name before the host's, and not into the path.
	VirtualHost bool
	// NoConditions is for servers that have no conditional writes, or refuse their
	// headers: Swift's own s3api, or servers older than 2024.
	NoConditions bool
}

// Swift says where a Swift is and who asks.
type Swift struct {
	Common
	// AuthURL is that of TempAuth (.../auth/v1.0) or Keystone (.../v3).
	AuthURL string
	// AuthVersion is 1 or 3.
	AuthVersion    int
	User, Password string
	// Of Keystone: the domain of the user, the project and its domain, or an application
	// credential in place of User and Password.
	Domain, Project, ProjectDomain          string
	ApplicationCredential, ApplicationToken string
	Region                                  string
}

// Errors of this package.
var (
	// ErrCannot says that the remote's protocol has no way to do what was asked.
	ErrCannot = fmt.Errorf("%w: the remote store cannot do this", storage.ErrInvalid)
	// ErrReplaced says that an object was replaced or removed while it was read.
	ErrReplaced = fmt.Errorf("%w: the remote object was replaced while it was read", storage.ErrNoVersion)
)

const (
	bufferBytesDefault = 8 << 20
	windowBytesDefault = 1 << 20
)

func (c *Common) complete() error {
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.Tries <= 0 {
		c.Tries = 4
	}
	if c.Backoff <= 0 {
		c.Backoff = 250 * time.Millisecond
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = bufferBytesDefault
	}
	if c.WindowBytes <= 0 {
		c.WindowBytes = windowBytesDefault
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var errs []error
	if c.BufferBytes < storage.PartBytesMin {
		errs = append(errs, fmt.Errorf("%w: a buffer of %d bytes is smaller than a part may be, %d", storage.ErrInvalid, c.BufferBytes, storage.PartBytesMin))
	}
	if c.Jurisdiction != "" {
		errs = append(errs, residency.CheckJurisdiction(c.Jurisdiction))
	}
	for name, s := range c.Layout.Show {
		errs = append(errs, storage.CheckBucket(name))
		if s.Bucket == "" {
			errs = append(errs, fmt.Errorf("%w: bucket %s shows no remote bucket", storage.ErrInvalid, name))
		}
	}
	return errors.Join(errs...)
}
