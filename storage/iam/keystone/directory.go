// Package keystone is an iam.Directory of OpenStack's identities: it asks Keystone (v3)
// whose a token is. A project is an account, by its id, so that Swift's URLs are what the
// service catalogue of an OpenStack says (AUTH_PROJECT). The system makes one and hands
// it to the doors.
//
// It knows tokens only: the secrets of S3 keys stay in Keystone, and passwords are for
// Keystone alone. Answers are believed for a minute, and no longer than a token is good.
// Source: OpenStack Identity API v3, "Authentication and token management".
package keystone

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"polder.dev/polder/storage/iam"
)

const (
	believeFor     = time.Minute
	tokensMax      = 10_000 // that are remembered
	answerBytesMax = 1 << 20
	timeout        = 10 * time.Second
)

// Config says where Keystone is, and who asks it.
type Config struct {
	// URL of version 3: https://HOST:5000/v3.
	URL string
	// User of the store, who may validate tokens, with its domain and project.
	User, Password, UserDomain string
	Project, ProjectDomain     string
	// AdminRoles may do everything in their project (Swift: operator_roles); admin and
	// swiftoperator. OperatorRole may do everything in all; ResellerAdmin. ServiceRole
	// speaks for a service; service.
	AdminRoles                []string
	OperatorRole, ServiceRole string
	Client                    *http.Client
	Now                       func() time.Time
}

// Directory asks one Keystone.
type Directory struct {
	cfg Config
	url string

	mu     sync.Mutex
	known  map[[sha256.Size]byte]answer
	asking sync.Mutex // one signs in at a time
	own    string     // the store's token
}

type answer struct {
	who   iam.Identity
	err   error
	until time.Time
}

var _ iam.Directory = (*Directory)(nil)

// New checks a configuration. It asks nobody.
func New(c Config) (*Directory, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || !strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v3") {
		return nil, fmt.Errorf("keystone: URL %q must be http(s)://HOST[:PORT]/v3", c.URL)
	}
	if c.User == "" || c.Password == "" {
		return nil, errors.New("keystone: a user and a password are needed")
	}
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.UserDomain, "Default")
	set(&c.ProjectDomain, "Default")
	set(&c.Project, "service")
	set(&c.OperatorRole, "ResellerAdmin")
	set(&c.ServiceRole, "service")
	if len(c.AdminRoles) == 0 {
		c.AdminRoles = []string{"admin", "swiftoperator"}
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: timeout}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Directory{cfg: c, url: strings.TrimSuffix(c.URL, "/") + "/auth/tokens", known: map[[sha256.Size]byte]answer{}}, nil
}

// Key implements iam.Directory: it knows no secrets.
func (d *Directory) Key(context.Context, string) (iam.Identity, string, error) {
	return iam.Identity{}, "", iam.ErrNoIdentity
}

// Password implements iam.Directory: who has one signs in at Keystone.
func (d *Directory) Password(context.Context, string, string) (iam.Identity, error) {
	return iam.Identity{}, iam.ErrNoIdentity
}

// Account implements iam.Directory. Projects are known by their tokens alone.
func (d *Directory) Account(context.Context, string) (iam.Identity, error) {
	return iam.Identity{}, iam.ErrNoIdentity
}

// Token implements iam.Directory.
func (d *Directory) Token(ctx context.Context, token string) (iam.Identity, error) {
	if strings.ContainsAny(token, "\r\n\x00") || token == "" {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	sum := sha256.Sum256([]byte(token))
	d.mu.Lock()
	a, ok := d.known[sum]
	d.mu.Unlock()
	if ok && d.cfg.Now().Before(a.until) {
		return a.who, a.err
	}
	a, err := d.validate(ctx, token)
	if err != nil {
		return iam.Identity{}, fmt.Errorf("asking Keystone whose a token is: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= tokensMax {
		clear(d.known)
	}
	d.known[sum] = a
	return a.who, a.err
}

// validate asks once, and again with a new token of the store's own if that was refused.
func (d *Directory) validate(ctx context.Context, token string) (answer, error) {
	for again := false; ; again = true {
		own, err := d.signIn(ctx, again)
		if err != nil {
			return answer{}, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
		if err != nil {
			return answer{}, err
		}
		req.Header.Set("X-Auth-Token", own)
		req.Header.Set("X-Subject-Token", token)
		status, body, _, err := d.do(req)
		switch {
		case err != nil:
			return answer{}, err
		case status == http.StatusOK:
			return d.read(body)
		case status == http.StatusNotFound:
			return answer{err: iam.ErrNoIdentity, until: d.cfg.Now().Add(believeFor)}, nil
		case status == http.StatusUnauthorized && !again:
		default:
			return answer{}, fmt.Errorf("it answers %d", status)
		}
	}
}

// signIn returns the store's own token, which it gets anew if it has none or must.
func (d *Directory) signIn(ctx context.Context, anew bool) (string, error) {
	d.asking.Lock()
	defer d.asking.Unlock()
	if d.own != "" && !anew {
		return d.own, nil
	}
	type named struct {
		Name   string `json:"name"`
		Domain *named `json:"domain,omitempty"`
	}
	var in struct {
		Auth struct {
			Identity struct {
				Methods  []string `json:"methods"`
				Password struct {
					User struct {
						Name     string `json:"name"`
						Domain   named  `json:"domain"`
						Password string `json:"password"`
					} `json:"user"`
				} `json:"password"`
			} `json:"identity"`
			Scope struct {
				Project named `json:"project"`
			} `json:"scope"`
		} `json:"auth"`
	}
	in.Auth.Identity.Methods = []string{"password"}
	u := &in.Auth.Identity.Password.User
	u.Name, u.Domain.Name, u.Password = d.cfg.User, d.cfg.UserDomain, d.cfg.Password
	in.Auth.Scope.Project = named{Name: d.cfg.Project, Domain: &named{Name: d.cfg.ProjectDomain}}
	text, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	status, _, head, err := d.do(req)
	if err != nil {
		return "", fmt.Errorf("signing in: %w", err)
	}
	if d.own = head.Get("X-Subject-Token"); status != http.StatusCreated || d.own == "" {
		d.own = ""
		return "", fmt.Errorf("signing in as %s: it answers %d", d.cfg.User, status)
	}
	return d.own, nil
}

func (d *Directory) do(req *http.Request) (status int, body []byte, head http.Header, err error) {
	resp, err := d.cfg.Client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	return resp.StatusCode, body, resp.Header, err
}

// read takes an answer apart. A token without a project opens no account.
func (d *Directory) read(body []byte) (answer, error) {
	var in struct {
		Token struct {
			Expires time.Time `json:"expires_at"`
			User    struct {
				ID, Name string
			} `json:"user"`
			Project struct {
				ID, Name string
			} `json:"project"`
			Roles []struct{ Name string } `json:"roles"`
		} `json:"token"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return answer{}, fmt.Errorf("reading its answer: %w", err)
	}
	t := &in.Token
	now := d.cfg.Now()
	a := answer{until: now.Add(believeFor)}
	if t.Expires.Before(a.until) {
		a.until = t.Expires
	}
	if t.Project.ID == "" || strings.ContainsAny(t.Project.ID, "/:\x00") || !t.Expires.After(now) {
		a.err = iam.ErrNoIdentity
		return a, nil
	}
	a.who = iam.Identity{Account: t.Project.ID, User: t.User.ID, DisplayName: t.Project.Name, Groups: []string{t.User.Name}}
	for _, r := range t.Roles {
		same := func(name string) bool { return strings.EqualFold(name, r.Name) }
		switch {
		case slices.ContainsFunc(d.cfg.AdminRoles, same):
			a.who.Admin = true
		case same(d.cfg.OperatorRole):
			a.who.Operator = true
		case same(d.cfg.ServiceRole):
			a.who.Service = true
		}
		a.who.Groups = append(a.who.Groups, r.Name)
	}
	return a, nil
}
