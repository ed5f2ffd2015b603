package swift

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/seal"
)

// Config is what a Handler needs. Space, Directory, Log and Now must be set.
type Config struct {
	Space     *naming.Space
	Directory iam.Directory
	// Access is told of requests to containers that ask for logs; nil tells nobody.
	Access *accesslog.Log
	Log    *slog.Logger
	Now    func() time.Time

	// Resellers are prefixes of accounts in URLs. The first is that of identities' own
	// accounts; without any they are AUTH, and SERVICE for services.
	Resellers []Reseller
	// TokenKey signs tokens; without one the store keeps its own.
	TokenKey []byte
	// TokenLife is how long a token is good; 0 is a day.
	TokenLife time.Duration
	// Policies that containers may have, the first of which is the default; without any
	// there is one, "default".
	Policies []Policy
	// Domains below which a host's name is a container and an account (domain_remap).
	Domains []string
	// URL is what clients reach the store by (https://store.example); "" is what their
	// requests say.
	URL string
	// ObjectBytesMax bounds what one PUT may hold; 0 is Swift's 5 GiB and 2.
	ObjectBytesMax int64
	// Forbidden are characters that no name may hold (name_check); "" is none.
	Forbidden string
	// ReadOnly refuses all changes.
	ReadOnly bool
	// Keys open what S3's door has sealed, and seal what comes to containers that ask for
	// it; nil has none.
	Keys seal.Keyring
	// Memory is what large buffers are of; nil is without a bound.
	Memory *budget.Budget
}

// Reseller is a prefix of accounts' names.
type Reseller struct {
	// Prefix without its underscore.
	Prefix string
	// Service says that a service must ask, beside a user of the account.
	Service bool
}

// Policy is a storage policy: settings that a container may be made with.
type Policy struct {
	Name    string
	Aliases []string
	// Deprecated policies stay for the containers that have them.
	Deprecated bool
	Durability storage.Durability
	Copies     int
}

// LabelPolicy is the name of a bucket's storage policy, where it is not the default.
const LabelPolicy = "swift.policy"

const objectBytesMaxDefault = 5<<30 + 2

var policyName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// complete checks a configuration and fills in what is not said.
func (c Config) complete() (Config, error) {
	switch {
	case c.Space == nil, c.Directory == nil, c.Log == nil, c.Now == nil:
		return c, errors.New("swift: a space, a directory, a log and a clock are needed")
	}
	if len(c.Resellers) == 0 {
		c.Resellers = []Reseller{{Prefix: "AUTH"}, {Prefix: "SERVICE", Service: true}}
	}
	if len(c.Policies) == 0 {
		c.Policies = []Policy{{Name: "default"}}
	}
	var names []string
	for i, p := range c.Policies {
		for _, n := range append([]string{p.Name}, p.Aliases...) {
			if !policyName.MatchString(n) || slices.Contains(names, strings.ToLower(n)) {
				return c, fmt.Errorf("swift: policies[%d]: name %q is not of letters, digits and dashes, or is there twice", i, n)
			}
			names = append(names, strings.ToLower(n))
		}
	}
	for i, r := range c.Resellers {
		if r.Prefix == "" || strings.ContainsAny(r.Prefix, "/_:") {
			return c, fmt.Errorf("swift: resellers[%d]: prefix %q is empty, or holds a slash, colon or underscore", i, r.Prefix)
		}
	}
	if c.TokenLife <= 0 {
		c.TokenLife = 24 * time.Hour
	}
	if c.ObjectBytesMax <= 0 {
		c.ObjectBytesMax = objectBytesMaxDefault
	}
	for i, d := range c.Domains {
		c.Domains[i] = "." + strings.ToLower(strings.Trim(d, "."))
	}
	return c, nil
}

// policy finds a policy by name or alias.
func (c *Config) policy(name string) *Policy {
	for i := range c.Policies {
		p := &c.Policies[i]
		if strings.EqualFold(p.Name, name) || slices.ContainsFunc(p.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			return p
		}
	}
	return nil
}

// policyOf is the policy of a bucket; of one that is configured no more only the name.
func (c *Config) policyOf(s *storage.Settings) *Policy {
	name := s.Labels[LabelPolicy]
	if name == "" {
		return &c.Policies[0]
	}
	if p := c.policy(name); p != nil {
		return p
	}
	return &Policy{Name: name, Deprecated: true}
}
