package server

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"time"

	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/residency"
	"polder.dev/polder/storage/show"
)

// Shown is a bucket that shows what lies in another store, as a configuration says it.
type Shown struct {
	// Bucket is its name here, and Account owns it: in a cloud a tenant.
	Bucket  string `json:"bucket"`
	Account string `json:"account"`
	// S3 or Swift is where the data lies: what is in its bucket or container, below Prefix.
	// An S3 that lets everybody read needs no accessKey.
	S3    *S3    `json:"s3,omitempty"`
	Swift *Swift `json:"swift,omitempty"`
	// Jurisdiction that it is in; "" is unknown, which bound buckets refuse.
	Jurisdiction string `json:"jurisdiction,omitempty"`
	// Writable lets in writes, which go to the other store.
	Writable bool `json:"writable,omitempty"`
	// TimeoutSeconds is how long the other store may be silent; 15.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

// A client waits while another store is asked, so it is asked twice at most.
const (
	shownTimeout    = 15
	shownTimeoutMax = 600
	shownTries      = 2
)

// CheckShown says what is wrong with a list of buckets that are shown.
func CheckShown(list []Shown) error {
	names := map[string]bool{}
	for i, c := range list {
		bad := func(field, format string, args ...any) error {
			return fmt.Errorf("shown[%d].%s: %s", i, field, fmt.Sprintf(format, args...))
		}
		if err := naming.CheckS3(c.Bucket); err != nil {
			return bad("bucket", "%v", err)
		}
		if err := naming.CheckSwift(c.Account, c.Bucket); err != nil {
			return bad("account", "name the account that owns the bucket: %v", err)
		}
		switch {
		case names[c.Bucket]:
			return bad("bucket", "%q is there twice", c.Bucket)
		case (c.S3 == nil) == (c.Swift == nil):
			return bad("s3", "give one of s3 and swift")
		case c.S3 != nil && c.S3.Bucket == "":
			return bad("s3.bucket", "name the bucket there")
		case c.Swift != nil && c.Swift.Container == "":
			return bad("swift.container", "name the container there")
		case c.S3 != nil && (c.S3.AccessKey == "") != (c.S3.SecretKeyFile == ""):
			return bad("s3.accessKey", "give it with secretKeyFile, or neither where everybody may read")
		case c.TimeoutSeconds < 0 || c.TimeoutSeconds > shownTimeoutMax:
			return bad("timeoutSeconds", "it is 1 to %d", shownTimeoutMax)
		}
		if c.Jurisdiction != "" {
			if err := residency.CheckJurisdiction(c.Jurisdiction); err != nil {
				return bad("jurisdiction", "%v", err)
			}
		}
		names[c.Bucket] = true
	}
	return nil
}

// from tells people where the data lies.
func (c *Shown) from() string {
	if c.S3 != nil {
		return "s3 " + place(c.S3.Endpoint, c.S3.Bucket, c.S3.Prefix)
	}
	return "swift " + place(c.Swift.AuthURL, c.Swift.Container, c.Swift.Prefix)
}

// place is an address without what is nobody's to know.
func place(base, bucket, prefix string) string {
	u, err := url.Parse(base)
	if err != nil {
		return bucket + "/" + prefix // the client of the store refuses it
	}
	u.User, u.RawQuery = nil, ""
	u.Path = path.Join("/", u.Path, bucket) + "/" + prefix
	return u.String()
}

// openShown puts buckets of other stores beside those of the tiers.
func (s *Server) openShown(ctx context.Context) (*show.Store, error) {
	cfg := show.Config{Below: s.tiers, Cache: s.cache, CacheJurisdiction: s.cfg.Jurisdiction, Log: s.cfg.Log, Metrics: s.cfg.Metrics}
	for i, c := range s.cfg.Shown {
		in := remote.Shown{ReadOnly: !c.Writable}
		if c.S3 != nil {
			in.Bucket, in.Prefix = c.S3.Bucket, c.S3.Prefix
		} else {
			in.Bucket, in.Prefix = c.Swift.Container, c.Swift.Prefix
		}
		seconds := c.TimeoutSeconds
		if seconds == 0 {
			seconds = shownTimeout
		}
		far, err := s.openRemote(c.S3, c.Swift, remote.Common{
			Jurisdiction: c.Jurisdiction, Layout: remote.Layout{OnlyShown: true, Show: map[string]remote.Shown{c.Bucket: in}},
			Timeout: time.Duration(seconds) * time.Second, Tries: shownTries,
		})
		if err != nil {
			return nil, fmt.Errorf("shown[%d]: %w", i, err)
		}
		cfg.Sources = append(cfg.Sources, show.Source{
			Bucket: c.Bucket, Account: c.Account, Store: far, From: c.from(), Jurisdiction: c.Jurisdiction, Writable: c.Writable,
		})
	}
	return show.New(ctx, cfg)
}
