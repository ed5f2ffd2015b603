package swift

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"polder.dev/polder/storage/iam"
)

// call is one request, or one that a request leads to (bulk, form posts).
type call struct {
	h     *Handler
	ctx   context.Context
	w     *writer
	r     *http.Request
	q     query
	trans string

	shown     string // the account, as in the URL
	container string
	object    string
	acct      accountRef

	who     iam.Identity // who asks; anonymous without a token
	service iam.Identity // who bears X-Service-Token
	badAuth bool         // a token was sent, and is none
	scope   *scope       // what a signature in the URL or a form gives
	sub     bool         // a request of our own
	watch   *watch       // nil where the container asks for no logs

	observed bool // it is known whether it does
}

// method is the request's.
func (c *call) method() string { return c.r.Method }

func (c *call) header(name string) string { return c.r.Header.Get(name) }

// realm is what 401 names.
func (c *call) realm() string {
	if c.shown != "" {
		return strings.ReplaceAll(url.QueryEscape(c.shown), "+", "%20")
	}
	return "unknown"
}

// newTrans names a request, as Swift does.
func newTrans(now time.Time, extra string) string {
	b := make([]byte, 11)
	_, _ = rand.Read(b) // never fails
	id := fmt.Sprintf("tx%s-%010x", hex.EncodeToString(b)[:21], now.Unix())
	if extra != "" {
		id += "-" + url.PathEscape(extra[:min(len(extra), 32)])
	}
	return id
}

// query is the query's parameters; of several with one name the last counts.
type query map[string]string

const paramsMax = 1000

func parseQuery(s string) query {
	q := query{}
	for part := range strings.SplitSeq(s, "&") {
		if part == "" || len(q) >= paramsMax {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		q[unescape(k)] = unescape(v)
	}
	return q
}

// unescape leaves what is no escape as it is.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func (q query) has(name string) bool { _, ok := q[name]; return ok }

// on says whether a parameter or a header is one of Swift's words for yes.
func on(s string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on", "t", "y":
		return true
	}
	return false
}

// Gate: headers that only Swift's own servers send. They are taken off both ways.
var (
	inward  = []string{"X-Backend-", "X-Account-Sysmeta-", "X-Container-Sysmeta-", "X-Object-Sysmeta-", "X-Object-Transient-Sysmeta-", "X-Container-Update-", "X-Account-Update-"}
	inwards = []string{
		"X-Timestamp", "X-Container-Host", "X-Container-Device", "X-Container-Partition", "X-Container-Root-Db-State",
		"X-Account-Host", "X-Account-Device", "X-Account-Partition", "X-Delete-At-Host", "X-Delete-At-Device",
		"X-Delete-At-Partition", "X-Delete-At-Container", "X-Newest-Internal", "X-Put-Timestamp", "X-Etag-Is-At",
	}
)

// strip takes off what no client may say.
func strip(h http.Header) {
	for _, n := range inwards {
		h.Del(n)
	}
	for n := range h {
		for _, p := range inward {
			if strings.HasPrefix(n, p) {
				delete(h, n)
			}
		}
	}
}

// subcall makes a request of our own with the rights of c; the answer goes to a recorder.
func (c *call) subcall(method, path string, header http.Header, body io.Reader, size int64) *recorder {
	rec := &recorder{head: http.Header{}}
	if header == nil {
		header = http.Header{}
	}
	if body == nil {
		body = http.NoBody
	}
	r := &http.Request{
		Method: method, URL: &url.URL{Path: path}, Header: header, Host: c.r.Host,
		Body: io.NopCloser(body), ContentLength: size, RemoteAddr: c.r.RemoteAddr, TLS: c.r.TLS, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if size < 0 {
		r.TransferEncoding = []string{"chunked"}
	} else {
		header.Set("Content-Length", fmt.Sprint(size))
	}
	s := &call{
		h: c.h, ctx: c.ctx, w: &writer{ResponseWriter: rec}, r: r, q: query{}, trans: c.trans,
		who: c.who, service: c.service, badAuth: c.badAuth, scope: c.scope, sub: true,
	}
	err := s.split(path)
	if err == nil {
		err = s.dispatch()
	}
	if err != nil {
		s.watchFailed()
		s.fail(err)
	}
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	s.record()
	return rec
}

// recorder keeps an answer's status and header, and the beginning of its body.
type recorder struct {
	head   http.Header
	status int
	body   []byte
}

const recordMax = 64 << 10

func (r *recorder) Header() http.Header { return r.head }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	if room := recordMax - len(r.body); room > 0 {
		r.body = append(r.body, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// split takes a path apart: /v1/ACCOUNT/CONTAINER/OBJECT.
func (c *call) split(path string) error {
	if !utf8.ValidString(path) || strings.Contains(path, "\x00") {
		return refusef(412, "Invalid UTF8 or contains NULL")
	}
	rest, ok := strings.CutPrefix(path, "/")
	version, rest, more := strings.Cut(rest, "/")
	if !ok || !more || rest == "" || version == "" {
		return refusef(412, "Bad URL")
	}
	c.shown, rest, _ = strings.Cut(rest, "/")
	c.container, c.object, _ = strings.Cut(rest, "/")
	if c.shown == "" || c.container == "" && c.object != "" {
		return refusef(412, "Bad URL")
	}
	if version != "v1" && version != "v1.0" {
		return refuse(400)
	}
	c.acct = c.h.account(c.shown)
	return nil
}

// path is the URL's path of something in an account.
func pathOf(account string, more ...string) string {
	out := "/v1/" + account
	for _, m := range more {
		out += "/" + m
	}
	return out
}

// quoted escapes a path as Swift does.
func quoted(path string) string {
	const hexes = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		switch ch := path[i]; {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', strings.IndexByte("_.-~/", ch) >= 0:
			b.WriteByte(ch)
		default:
			b.WriteString(string([]byte{'%', hexes[ch>>4], hexes[ch&15]}))
		}
	}
	return b.String()
}
