package swift

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/seal"
	"polder.dev/polder/storage/swift/tempauth"
)

// accountRef is an account that a URL names.
type accountRef struct {
	name     string // as naming knows it; "" is none
	own      string // the account of the identities that it belongs to
	reseller *Reseller
}

func (a accountRef) known() bool { return a.reseller != nil }

// account reads AUTH_test. Accounts of resellers after the first have a colon in naming's
// name, which no identity's account can hold.
func (h *Handler) account(shown string) accountRef {
	for i := range h.cfg.Resellers {
		r := &h.cfg.Resellers[i]
		rest, ok := strings.CutPrefix(shown, r.Prefix+"_")
		if !ok || rest == "" || strings.HasPrefix(rest, ".") || strings.Contains(rest, ":") {
			continue
		}
		a := accountRef{name: rest, own: rest, reseller: r}
		if i > 0 {
			a.name = r.Prefix + ":" + rest
		}
		return a
	}
	return accountRef{}
}

// shownAs is the URL's form of naming's name.
func (h *Handler) shownAs(name string) string {
	if prefix, rest, ok := strings.Cut(name, ":"); ok {
		return prefix + "_" + rest
	}
	return h.cfg.Resellers[0].Prefix + "_" + name
}

// identify finds out who asks.
func (c *call) identify() error {
	token := c.header("X-Auth-Token")
	if token == "" {
		token = c.header("X-Storage-Token")
	}
	var err error
	if c.who, err = c.bearer(token); errors.Is(err, iam.ErrNoIdentity) {
		c.badAuth = true
	} else if err != nil {
		return fmt.Errorf("reading a token: %w", err)
	}
	if c.service, err = c.bearer(c.header("X-Service-Token")); err != nil && !errors.Is(err, iam.ErrNoIdentity) {
		return fmt.Errorf("reading a service's token: %w", err)
	}
	return nil
}

func (c *call) bearer(token string) (iam.Identity, error) {
	if token == "" {
		return iam.Identity{}, nil
	}
	if who, err := c.h.sign.Read(token); err == nil || strings.HasPrefix(token, tempauth.Prefix) {
		return who, err
	}
	return c.h.cfg.Directory.Token(c.ctx, token)
}

// level is what somebody may do in a whole account.
type level uint8

const (
	none level = iota
	readOnly
	readWrite
	owner
)

// level judges by role and by the account's own ACL.
func (c *call) level(a accountRef) level {
	switch {
	case !a.known():
		return none
	case c.who.Operator:
		return owner
	case c.who.Admin && !c.who.Anonymous() && c.who.Account == a.own && (!a.reseller.Service || c.who.Service || c.service.Service):
		return owner
	case c.who.Anonymous():
		return none
	}
	acl, err := c.accountACL(a)
	if err != nil {
		return none
	}
	return acl.level(c.who)
}

// owns says whether who asks may see and change what is the owner's.
func (c *call) owns(a accountRef) bool { return c.level(a) == owner }

// denied is 401 for whom nobody knows, and 403 for others.
func (c *call) denied() error {
	if c.who.Anonymous() || c.badAuth {
		return refuse(401)
	}
	return refuse(403)
}

// box is a container that a call works in.
type box struct {
	storage.Bucket
	vault *seal.Bucket // the same
	info  storage.BucketInfo
	rules *iam.Rules
	acct  accountRef
	shown string // the account in URLs
	name  string
}

// box opens a container.
func (c *call) box(shown, name string) (*box, error) {
	a := c.h.account(shown)
	if !a.known() {
		return nil, c.denied()
	}
	b, err := c.h.cfg.Space.Container(c.ctx, a.name, name)
	if err != nil {
		if c.level(a) == none && (c.scope == nil || c.scope.account != a.name) {
			return nil, c.denied() // who may not ask is not told what is there
		}
		return nil, err
	}
	info, err := b.Info(c.ctx)
	if err != nil {
		return nil, err
	}
	if shown == c.shown && name == c.container {
		c.observe(&info)
	}
	rules, err := c.h.rulesOf(&info)
	if err != nil {
		return nil, err
	}
	vault := seal.Over(b, seal.Opener{Keys: c.h.cfg.Keys})
	return &box{Bucket: vault, vault: vault, info: info, rules: rules, acct: a, shown: shown, name: name}, nil
}

// label is what the container's settings say.
func (b *box) label(name string) string { return b.info.Settings.Labels[name] }

// ruled are rules with the labels they were read of.
type ruled struct {
	labels map[string]string
	rules  *iam.Rules
}

// rulesMax bounds how many containers' rules are remembered.
const rulesMax = 10_000

// rulesOf reads rules anew only when the labels changed.
func (h *Handler) rulesOf(b *storage.BucketInfo) (*iam.Rules, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.rules[b.Name]; ok && maps.Equal(r.labels, b.Settings.Labels) {
		return r.rules, nil
	}
	r, err := iam.ParseRules(b.Settings)
	if err != nil {
		return nil, fmt.Errorf("rules of container %s: %w", b.Name, err)
	}
	if len(h.rules) >= rulesMax {
		clear(h.rules)
	}
	h.rules[b.Name] = ruled{labels: b.Settings.Labels, rules: r}
	return r, nil
}

// may judges an action on a container or an object in it.
func (c *call) may(b *box, action iam.Action, key string) bool {
	who := c.who
	if b.acct.name != b.acct.own { // an account of services: its users have no rights by name
		who.Admin = c.level(b.acct) == owner
		if who.Admin && who.Account == b.acct.own {
			who.Account = b.acct.name
		}
	}
	q := &iam.Request{Who: who, Action: action, Bucket: b.name, Key: key, Referer: c.header("Referer"), Context: c.context()}
	if b.rules.Policy != nil || len(b.rules.Access) > 0 {
		c.addObject(b, q)
	}
	if c.scope.covers(b) {
		q.Who = iam.Identity{}
		return !b.rules.Denies(q)
	}
	if b.rules.Allows(q) {
		return true
	}
	if action == iam.GetObject && q.Object == nil && c.addObject(b, q) && b.rules.Allows(q) {
		return true
	}
	l := c.level(b.acct)
	enough := l >= readWrite || l == readOnly && (action == iam.GetObject || action == iam.ListBucket)
	return enough && !b.rules.Denies(q)
}

// context is what a policy's conditions may ask for.
func (c *call) context() map[string][]string {
	out := map[string][]string{
		"aws:sourceip": {c.address()}, "aws:currenttime": {c.h.cfg.Now().UTC().Format(time.RFC3339)}, "aws:securetransport": {"false"},
	}
	if c.r.TLS != nil {
		out["aws:securetransport"] = []string{"true"}
	}
	for key, header := range map[string]string{"aws:referer": "Referer", "aws:useragent": "User-Agent"} {
		if v := c.header(header); v != "" {
			out[key] = []string{v}
		}
	}
	for key, param := range map[string]string{"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "limit", "s3:versionid": "version-id"} {
		if v, ok := c.q[param]; ok {
			out[key] = []string{v}
		}
	}
	return out
}

// addObject adds what the object itself says: its ACL and tags.
func (c *call) addObject(b *box, q *iam.Request) bool {
	if q.Key == "" {
		return false
	}
	i, err := b.Stat(c.ctx, q.Key, storage.ReadOptions{})
	if err != nil {
		return false
	}
	for k, v := range i.Meta.Tags {
		q.Context["s3:existingobjecttag/"+k] = []string{v}
	}
	q.Object, err = iam.ParseACL(i.Meta.System[iam.ObjectACL])
	return err == nil && q.Object != nil
}

// spared is whether a policy leaves alone what permit allows under another name: a version
// of an object, a bucket that is deleted.
func (c *call) spared(b *box, action iam.Action, key string) error {
	if b.rules.Policy == nil {
		return nil
	}
	q := &iam.Request{Who: c.who, Action: action, Bucket: b.name, Key: key, Context: c.context()}
	c.addObject(b, q)
	if b.rules.Denies(q) {
		return c.denied()
	}
	return nil
}

// permit is may as an error.
func (c *call) permit(b *box, action iam.Action, key string) error {
	if !c.may(b, action, key) {
		return c.denied()
	}
	return nil
}

// address is the client's.
func (c *call) address() string {
	if host, _, err := net.SplitHostPort(c.r.RemoteAddr); err == nil {
		return host
	}
	return c.r.RemoteAddr
}

// authRequest gives a token for a password: GET /auth/v1.0, or /auth/v1/ACCOUNT/auth.
func (c *call) authRequest(path string) error {
	if c.method() != http.MethodGet {
		return refuse(405)
	}
	s := strings.Split(strings.Trim(strings.TrimPrefix(path, "/auth"), "/"), "/")
	first := func(names ...string) string {
		for _, n := range names {
			if v := c.header(n); v != "" {
				return v
			}
		}
		return ""
	}
	var name, password string
	switch {
	case len(s) == 3 && s[0] == "v1" && s[2] == "auth":
		name, password = first("X-Storage-User", "X-Auth-User"), first("X-Storage-Pass", "X-Auth-Key")
		if name != "" {
			name = s[1] + ":" + name
		}
	case len(s) == 1 && s[0] == "":
		return refuse(404)
	case len(s) == 1 && s[0] == "v1.0":
		name, password = first("X-Auth-User", "X-Storage-User"), first("X-Auth-Key", "X-Storage-Pass")
	default:
		return refuse(400)
	}
	acct, user, ok := strings.Cut(name, ":")
	if !ok || acct == "" || user == "" || password == "" {
		return unauthorized("unknown")
	}
	who, err := c.h.cfg.Directory.Password(c.ctx, name, password)
	switch {
	case errors.Is(err, iam.ErrNoIdentity):
		return unauthorized(acct)
	case errors.Is(err, iam.ErrSecret):
		return unauthorized("unknown")
	case err != nil:
		return fmt.Errorf("checking a password: %w", err)
	}
	token, life := c.h.sign.Issue(who)
	h := c.w.Header()
	h.Set("X-Auth-Token", token)
	h.Set("X-Storage-Token", token)
	h.Set("X-Auth-Token-Expires", strconv.Itoa(int(life.Seconds())))
	h.Set("X-Storage-Url", c.origin()+"/v1/"+c.h.shownAs(who.Account))
	c.answer(200, "")
	return nil
}

func unauthorized(realm string) error {
	return refuse(401).with("Www-Authenticate", fmt.Sprintf("Swift realm=%q", realm))
}

// origin is how the client reaches the store.
func (c *call) origin() string {
	if c.h.cfg.URL != "" {
		return strings.TrimRight(c.h.cfg.URL, "/")
	}
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + c.r.Host
}
