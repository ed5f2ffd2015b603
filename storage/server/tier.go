package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/disk"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/tier"
)

// Tier is a lower tier, as a configuration says it.
type Tier struct {
	// Name is what the policies of buckets call it. It stays.
	Name string `json:"name"`
	// Class is capacity or remote.
	Class string `json:"class"`
	// Disks are directories, each on a disk of its own; S3 and Swift are stores of others,
	// which are of class remote. A tier is one of these.
	Disks []string `json:"disks,omitempty"`
	S3    *S3      `json:"s3,omitempty"`
	Swift *Swift   `json:"swift,omitempty"`
	// Jurisdiction that it is in; "" is unknown, which bound buckets refuse.
	Jurisdiction string `json:"jurisdiction,omitempty"`
	// Default says that data of buckets without a policy goes there when the home gets
	// full.
	Default bool `json:"default,omitempty"`
}

// S3 is a store that speaks S3.
type S3 struct {
	Endpoint string `json:"endpoint"`
	Region   string `json:"region"`
	// Bucket holds all, below Prefix; it is there.
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix,omitempty"`
	// AccessKey, and the file that holds its secret.
	AccessKey     string `json:"accessKey"`
	SecretKeyFile string `json:"secretKeyFile"`
	CAFile        string `json:"caFile,omitempty"`
	// NoConditions is for servers without conditional writes, such as Swift's s3api.
	NoConditions bool `json:"noConditions,omitempty"`
}

// Swift is an OpenStack Swift, with TempAuth (authVersion 1) or Keystone (3).
type Swift struct {
	AuthURL     string `json:"authURL"`
	AuthVersion int    `json:"authVersion"`
	// Container holds all, below Prefix; it is there.
	Container string `json:"container"`
	Prefix    string `json:"prefix,omitempty"`
	// User, and the file that holds the password.
	User         string `json:"user"`
	PasswordFile string `json:"passwordFile"`
	// Of Keystone.
	Domain        string `json:"domain,omitempty"`
	Project       string `json:"project,omitempty"`
	ProjectDomain string `json:"projectDomain,omitempty"`
	Region        string `json:"region,omitempty"`
	CAFile        string `json:"caFile,omitempty"`
}

// Stores are those that a store's disks are joined with.
type Stores struct {
	Tiers []Tier  `json:"tiers"`
	Shown []Shown `json:"shown"`
}

// ParseStores reads YAML. Unknown fields are errors.
func ParseStores(data []byte) (Stores, error) {
	var f Stores
	if err := yaml.UnmarshalStrict(data, &f); err != nil {
		return Stores{}, fmt.Errorf("reading tiers: %w", err)
	}
	return f, errors.Join(CheckTiers(f.Tiers), CheckShown(f.Shown))
}

// CheckTiers says what is wrong with a list of tiers.
func CheckTiers(list []Tier) error {
	names, defaults := map[string]bool{}, 0
	for i, t := range list {
		switch {
		case t.Name == "" || names[t.Name]:
			return fmt.Errorf("tiers[%d].name: %q is empty, or there twice", i, t.Name)
		case t.Class != "capacity" && t.Class != "remote":
			return fmt.Errorf("tiers[%d].class: %q is not known; write capacity or remote", i, t.Class)
		case t.kinds() != 1:
			return fmt.Errorf("tiers[%d]: give one of disks, s3 and swift", i)
		case len(t.Disks) == 0 && t.Class != "remote":
			return fmt.Errorf("tiers[%d].class: another store is remote", i)
		}
		for _, d := range t.Disks {
			if !filepath.IsAbs(d) {
				return fmt.Errorf("tiers[%d].disks: %q is not an absolute path", i, d)
			}
		}
		names[t.Name] = true
		if t.Default {
			defaults++
		}
	}
	if defaults > 1 {
		return errors.New("tiers: more than one is the default")
	}
	return nil
}

// kinds counts what a tier says it is.
func (t *Tier) kinds() int {
	n := 0
	for _, is := range []bool{len(t.Disks) > 0, t.S3 != nil, t.Swift != nil} {
		if is {
			n++
		}
	}
	return n
}

func classOf(name string) storage.Class {
	if name == "remote" {
		return storage.Remote
	}
	return storage.Capacity
}

// openTiers puts the tiers around the disks.
func (s *Server) openTiers() (*tier.Store, error) {
	cfg := tier.Config{
		Home: s.disks, HomeJurisdiction: s.cfg.Jurisdiction, CacheJurisdiction: s.cfg.Jurisdiction,
		Log: s.cfg.Log, Now: s.cfg.Now, Metrics: s.cfg.Metrics,
	}
	var err error
	if s.cfg.HotBytes > 0 {
		if s.cache, err = cache.New(cache.Config{BytesMax: s.cfg.HotBytes, Memory: s.memory, Metrics: s.cfg.Metrics}); err != nil {
			return nil, err
		}
		cfg.Cache = s.cache
	}
	for _, t := range s.cfg.Tiers {
		l, err := s.openLevel(t)
		if err != nil {
			return nil, fmt.Errorf("opening tier %s: %w", t.Name, err)
		}
		if t.Default {
			cfg.Default.Lower = t.Name
		}
		cfg.Lower = append(cfg.Lower, l)
	}
	if err := s.rememberTiers(); err != nil {
		return nil, err
	}
	return tier.New(cfg)
}

func (s *Server) openLevel(t Tier) (tier.Level, error) {
	l := tier.Level{Name: t.Name, Class: classOf(t.Class), Jurisdiction: t.Jurisdiction}
	if len(t.Disks) == 0 {
		far, err := s.openRemote(t.S3, t.Swift, remote.Common{Jurisdiction: t.Jurisdiction, Layout: t.layout()})
		l.Store = far
		return l, err
	}
	if err := s.knownTier(t); err != nil {
		return tier.Level{}, err
	}
	d, err := disk.Open(disk.Config{
		Dirs: t.Disks, Class: classOf(t.Class), Log: s.cfg.Log, Now: s.cfg.Now, Memory: s.memory, CacheBytes: s.parts.indexBytes,
	})
	if err != nil {
		return tier.Level{}, err
	}
	s.lower = append(s.lower, d)
	l.Store = d
	return l, nil
}

// openRemote makes a client of another store, in the layout that common says. It connects
// to nobody yet.
func (s *Server) openRemote(one *S3, other *Swift, common remote.Common) (_ storage.Store, err error) {
	common.Log, common.Now = s.cfg.Log, s.cfg.Now
	ca, secret := "", ""
	if one != nil {
		ca, secret = one.CAFile, one.SecretKeyFile
	} else {
		ca, secret = other.CAFile, other.PasswordFile
	}
	if ca != "" {
		if common.CA, err = os.ReadFile(ca); err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
	}
	if one == nil || one.AccessKey != "" || secret != "" {
		if secret, err = pki.ReadSecret(secret); err != nil {
			return nil, err
		}
	}
	if c := one; c != nil {
		return remote.NewS3(remote.S3{
			Common: common, Endpoint: c.Endpoint, Region: c.Region, AccessKey: c.AccessKey, SecretKey: secret, NoConditions: c.NoConditions,
		})
	}
	c := other
	return remote.NewSwift(remote.Swift{
		Common: common, AuthURL: c.AuthURL, AuthVersion: c.AuthVersion, User: c.User, Password: secret,
		Domain: c.Domain, Project: c.Project, ProjectDomain: c.ProjectDomain, Region: c.Region,
	})
}

// layout of a remote that is a tier.
func (t *Tier) layout() remote.Layout {
	if t.S3 != nil {
		return remote.Layout{Bucket: t.S3.Bucket, Prefix: t.S3.Prefix}
	}
	return remote.Layout{Bucket: t.Swift.Container, Prefix: t.Swift.Prefix}
}

// classes of S3 below the standard one, by how far away the data may be.
var classes = map[string]storage.Class{
	"STANDARD": storage.Fast, "REDUCED_REDUNDANCY": storage.Fast, "EXPRESS_ONEZONE": storage.Fast,
	"STANDARD_IA": storage.Capacity, "ONEZONE_IA": storage.Capacity, "INTELLIGENT_TIERING": storage.Capacity,
	"GLACIER_IR": storage.Remote, "GLACIER": storage.Remote, "DEEP_ARCHIVE": storage.Remote,
}

// transition carries out a lifecycle rule: it moves the data as far down as there are
// tiers for the class, and tells clients of the class.
func (s *Server) transition(ctx context.Context, b storage.Bucket, v storage.Info, class string) (bool, error) {
	want, ok := classes[class]
	if !ok {
		return false, fmt.Errorf("%w: storage class %q", storage.ErrInvalid, class)
	}
	moved := false
	if to, ok := s.nearest(want); ok {
		var err error
		if moved, err = s.tiers.Transition(ctx, b, v, to); err != nil {
			return false, err
		}
	}
	changed, err := s3.Reclass(ctx, b, v, class)
	return moved || changed, err
}

// nearest is the class of the tiers that is as low as is wanted, or as there is.
func (s *Server) nearest(want storage.Class) (storage.Class, bool) {
	best, found := storage.Hot, false
	for _, t := range s.cfg.Tiers {
		if c := classOf(t.Class); c <= want && (!found || c > best) {
			best, found = c, true
		}
	}
	return best, found
}
