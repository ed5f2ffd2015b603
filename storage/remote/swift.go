package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	client "github.com/ncw/swift/v2"

	"polder.dev/polder/storage"
)

// swift speaks Swift's own API; ncw/swift speaks to TempAuth and Keystone for it.
// Segments of large objects lie in a container beside the object's, see swiftpart.go.
type swift struct {
	cfg  Swift
	web  *web
	conn *client.Connection

	mu    sync.Mutex
	url   string // of the account; "" before the first request
	token string

	// segments says since when a container of segments is known to be, or not to be.
	segments map[string]known
}

type known struct {
	there bool
	at    time.Time
}

// NewSwift makes a store in an OpenStack Swift. It connects to nobody.
func NewSwift(c Swift) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.AuthURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, fmt.Errorf("%w: AuthURL must be http(s)://HOST[:PORT]/PATH", storage.ErrInvalid)
	}
	if c.AuthVersion != 1 && c.AuthVersion != 3 {
		return nil, fmt.Errorf("%w: AuthVersion must be 1 (TempAuth) or 3 (Keystone)", storage.ErrInvalid)
	}
	t, err := transport(&c.Common)
	if err != nil {
		return nil, err
	}
	conn := &client.Connection{
		AuthUrl: c.AuthURL, AuthVersion: c.AuthVersion, UserName: c.User, ApiKey: c.Password, Domain: c.Domain,
		Tenant: c.Project, TenantDomain: c.ProjectDomain, ApplicationCredentialId: c.ApplicationCredential, ApplicationCredentialSecret: c.ApplicationToken,
		Region: c.Region, UserAgent: "polder", ConnectTimeout: c.Timeout, Timeout: c.Timeout, Retries: 1, Transport: t,
	}
	return newStore(&swift{cfg: c, web: newWeb(t, c.Timeout), conn: conn, segments: map[string]known{}}, c.Common, u.Host), nil
}

func (s *swift) ability() ability {
	return ability{absent: true, reverse: true, late: true, expires: true, wordsBytes: 3500, putMax: 5 << 30, copyMax: 5 << 30, pageMax: 10_000}
}

func (s *swift) close() { s.web.http.CloseIdleConnections() }

// login returns the account's URL and a token, other than the one that did not do.
func (s *swift) login(ctx context.Context, bad string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" && s.token != bad {
		return s.url, s.token, nil
	}
	s.conn.UnAuthenticate()
	if err := s.conn.Authenticate(ctx); err != nil {
		var e *client.Error
		if errors.As(err, &e) && e.StatusCode != 0 {
			// What the answer says may repeat what was sent.
			return "", "", &fault{status: e.StatusCode, text: "authentication failed", kind: storage.ErrUnavailable}
		}
		return "", "", unavailable(ctx, err)
	}
	s.url, s.token = strings.TrimSuffix(s.conn.StorageUrl, "/"), s.conn.AuthToken
	return s.url, s.token, nil
}

// do makes a request, again if its body allows and its failure passes. The caller
// closes the answer's body.
func (s *swift) do(ctx context.Context, c call) (*http.Response, error) {
	var out *http.Response
	bad := ""
	once := func() (err error) {
		out, err = s.once(ctx, c, &bad)
		return err
	}
	if c.body != nil && c.body.r != nil {
		// A stream goes once, so the token is tried first.
		if _, err := s.do(ctx, call{method: http.MethodHead, place: place{container: c.place.container}, missing: storage.ErrNoBucket, keep: true}); err != nil {
			return nil, err
		}
		return out, errors.Join(once())
	}
	err := tries{s.cfg.Tries, s.cfg.Backoff, s.cfg.Log}.do(ctx, c.method, func() error {
		err := once()
		var f *fault
		if errors.As(err, &f) && f.status == http.StatusUnauthorized { // the token has expired
			err = once()
		}
		return err
	})
	if err == nil && c.keep {
		drain(out)
	}
	return out, err
}

func (s *swift) once(ctx context.Context, c call, bad *string) (*http.Response, error) {
	base, token, err := s.login(ctx, *bad)
	if err != nil {
		return nil, err
	}
	target := base
	if c.place.container != "" {
		target += "/" + url.PathEscape(c.place.container)
	}
	if c.place.key != "" {
		target += "/" + escapeKey(c.place.key)
	}
	if len(c.query) > 0 {
		target += "?" + c.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, c.method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: a request to the remote cannot be made", storage.ErrInvalid)
	}
	for k, v := range c.head {
		r.Header[k] = v
	}
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("User-Agent", "polder")
	var body io.Reader
	size := int64(0)
	if c.body != nil {
		if body, size = c.body.r, c.body.size; body == nil {
			body = bytes.NewReader(c.body.bytes)
		}
		if c.body.md5 != "" {
			r.Header.Set("Etag", c.body.md5)
		}
	}
	res, err := s.web.send(r, body, size)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer drain(res)
	if res.StatusCode == http.StatusUnauthorized {
		*bad = token
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // the status says what matters
	f := &fault{status: res.StatusCode, text: string(text), kind: kindOf(res.StatusCode)}
	if f.status == http.StatusNotFound && c.missing != nil {
		f.kind = c.missing
	}
	if f.status == http.StatusRequestEntityTooLarge {
		f.kind = storage.ErrFull
	}
	return nil, f
}

// escapeKey keeps slashes, and writes what could be read as a step of a path.
func escapeKey(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// ask makes a request and reads its answer of JSON into v, if there is one.
func (s *swift) ask(ctx context.Context, c call, v any) (http.Header, error) {
	res, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	defer drain(res)
	if v == nil || res.StatusCode == http.StatusNoContent {
		return res.Header, nil
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%w: the remote's answer is no JSON: %w", storage.ErrUnavailable, err)
	}
	return res.Header, nil
}
