package swift

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"polder.dev/polder/internal/linger"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/swift/account"
	"polder.dev/polder/storage/swift/header"
	"polder.dev/polder/storage/swift/tempauth"
)

// Handler answers Swift's clients.
type Handler struct {
	cfg  Config
	book *book
	sign *tempauth.Signer

	mu    sync.Mutex
	rules map[string]ruled // by bucket
}

type book = account.Book

// New makes a Handler. It reads, or makes, the private buckets for accounts and the key
// of tokens.
func New(ctx context.Context, cfg Config) (*Handler, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, rules: map[string]ruled{}}
	if h.book, err = account.Open(ctx, cfg.Space.Store()); err != nil {
		return nil, fmt.Errorf("swift: %w", err)
	}
	key := cfg.TokenKey
	if len(key) == 0 {
		if key, err = tempauth.Key(ctx, cfg.Space.Store()); err != nil {
			return nil, fmt.Errorf("swift: %w", err)
		}
	}
	if h.sign, err = tempauth.New(key, cfg.TokenLife, cfg.Now); err != nil {
		return nil, fmt.Errorf("swift: %w", err)
	}
	return h, nil
}

// Handles says whether a request is Swift's. One that bears S3's signs is not, so that
// buckets with names such as "v1" or "auth" can be reached.
func (h *Handler) Handles(r *http.Request) bool {
	if signedS3(r) {
		return false
	}
	if p, ok := h.remap(r); ok && strings.HasPrefix(p, "/v1/") {
		return true
	}
	p := r.URL.Path
	switch p {
	case "/info", "/healthcheck", "/crossdomain.xml", "/v1", "/v1/", "/v1.0", "/v1.0/", "/auth", "/auth/":
		return true
	}
	if strings.HasPrefix(p, "/auth/v1") {
		return true
	}
	for _, v := range []string{"/v1/", "/v1.0/"} {
		if rest, ok := strings.CutPrefix(p, v); ok {
			return h.swiftPath(r, rest)
		}
	}
	return false
}

// swiftPath tells accounts from keys in a bucket named v1.
func (h *Handler) swiftPath(r *http.Request, rest string) bool {
	for i := range h.cfg.Resellers {
		if strings.HasPrefix(rest, h.cfg.Resellers[i].Prefix+"_") { // known or not
			return true
		}
	}
	return r.Header.Get("X-Auth-Token") != "" || r.Header.Get("X-Storage-Token") != ""
}

// signedS3 says that a request is signed, or speaks, as S3's clients do.
func signedS3(r *http.Request) bool {
	if strings.HasPrefix(r.Header.Get("Authorization"), "AWS") {
		return true
	}
	for n := range r.Header {
		if strings.HasPrefix(n, "X-Amz-") {
			return true
		}
	}
	for _, p := range []string{"X-Amz-Signature=", "AWSAccessKeyId=", "X-Amz-Algorithm="} {
		if strings.Contains(r.URL.RawQuery, p) {
			return true
		}
	}
	return false
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own := *r
	own.Header = r.Header.Clone()
	header.Decode(own.Header)
	strip(own.Header)
	c := &call{
		h: h, ctx: r.Context(), w: &writer{ResponseWriter: w}, r: &own, q: parseQuery(r.URL.RawQuery),
		trans: newTrans(h.cfg.Now(), r.Header.Get("X-Trans-Id-Extra")),
	}
	w.Header().Set("X-Trans-Id", c.trans)
	w.Header().Set("X-Openstack-Request-Id", c.trans)
	defer c.record()
	defer c.w.end()
	if err := c.serve(); err != nil {
		c.watchFailed()
		linger.Answer(c.w, r, !c.who.Anonymous(), func() { c.fail(err) })
	}
}

// serve finds out what is asked for, and who asks.
func (c *call) serve() error {
	path := c.r.URL.Path
	if p, ok := c.h.remap(c.r); ok {
		if p == "" {
			return refusef(400, "Bad domain in host header")
		}
		path = p
	}
	switch {
	case path == "/healthcheck":
		c.w.Header().Set("Content-Type", kindPlain)
		c.answer(200, "OK")
		return nil
	case path == "/crossdomain.xml" && c.method() == http.MethodGet:
		return c.crossdomain()
	case path == "/info":
		return c.infoRequest()
	case strings.HasPrefix(path, "/auth/"):
		return c.authRequest(path)
	}
	if err := c.split(path); err != nil {
		return err
	}
	if f := c.h.cfg.Forbidden; f != "" && strings.ContainsAny(path, f) {
		return refusef(400, "Object/Container/Account name contains forbidden chars from %s", f)
	}
	if done, err := c.preflight(); done || err != nil {
		return err
	}
	if err := c.identify(); err != nil {
		return err
	}
	return c.route()
}

// route goes through what may answer in place of the resource itself.
func (c *call) route() error {
	c.cors()
	for _, step := range []func() (bool, error){c.readOnly, c.bulk, c.tempURL, c.formPost, c.staticWeb} {
		if done, err := step(); done || err != nil {
			return err
		}
	}
	return c.dispatch()
}

func (c *call) readOnly() (bool, error) {
	if c.h.cfg.ReadOnly && !reads(c.method()) {
		return true, refusef(405, "Writes are disabled for this account.")
	}
	return false, nil
}

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// dispatch answers for an account, a container or an object.
func (c *call) dispatch() error {
	if c.badAuth && c.scope == nil {
		return refuse(401)
	}
	if !c.acct.known() {
		return c.denied()
	}
	if len(c.object) > storage.KeyBytesMax && c.method() != http.MethodPut {
		return refuse(404) // there can be none
	}
	verb := c.verb()
	if verb == nil {
		f := refuse(405)
		if c.container != "" {
			f = f.with("Allow", allowVerbs)
		}
		return f
	}
	return verb(c)
}

const allowVerbs = "GET, POST, PUT, HEAD, DELETE, OPTIONS"

// verb is what answers a method; nil is none.
func (c *call) verb() func(*call) error {
	account := map[string]func(*call) error{
		"GET": (*call).accountGet, "HEAD": (*call).accountGet, "PUT": (*call).accountPut, "POST": (*call).accountPost, "DELETE": (*call).accountDelete,
	}
	container := map[string]func(*call) error{
		"GET": (*call).containerGet, "HEAD": (*call).containerGet, "PUT": (*call).containerPut, "POST": (*call).containerPost, "DELETE": (*call).containerDelete,
	}
	object := map[string]func(*call) error{
		"GET": (*call).objectGet, "HEAD": (*call).objectGet, "PUT": (*call).objectPut, "POST": (*call).objectPost, "DELETE": (*call).objectDelete,
		"COPY": (*call).objectCopy,
	}
	switch {
	case c.object != "":
		return object[c.method()]
	case c.container != "":
		return container[c.method()]
	}
	return account[c.method()]
}
