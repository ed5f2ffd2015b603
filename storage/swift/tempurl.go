package swift

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scope is what a signature gives: an account, or one container of it.
type scope struct {
	account   string // as naming knows it
	container string // "" is all
}

// covers says whether the scope holds a container.
func (s *scope) covers(b *box) bool {
	return s != nil && s.account == b.acct.name && (s.container == "" || s.container == b.name)
}

var tempMethods = []string{"GET", "HEAD", "PUT", "POST", "DELETE"}

// secret is a key with what it gives.
type secret struct {
	key   string
	scope scope
}

// secrets are an account's and a container's keys of temporary URLs.
func (c *call) secrets() ([]secret, error) {
	var out []secret
	r, _, err := c.h.book.Find(c.ctx, c.acct.name)
	if err != nil {
		return nil, err
	}
	for _, n := range []string{"Temp-Url-Key", "Temp-Url-Key-2"} {
		if k := r.Headers[accountMeta+n]; k != "" {
			out = append(out, secret{k, scope{account: c.acct.name}})
		}
	}
	b, err := c.h.cfg.Space.Container(c.ctx, c.acct.name, c.container)
	if err != nil {
		return out, nil // the account's keys open other containers
	}
	info, err := b.Info(c.ctx)
	if err != nil {
		return out, nil // as above: it was just deleted
	}
	for _, n := range []string{"Temp-Url-Key", "Temp-Url-Key-2"} {
		if k := info.Settings.Labels[labelHeader+containerMeta+n]; k != "" {
			out = append(out, secret{k, scope{account: c.acct.name, container: c.container}})
		}
	}
	return out, nil
}

// digest reads a signature: hexadecimal, or NAME:BASE64.
func digest(sig string) (f func() hash.Hash, sum []byte) {
	if name, text, ok := strings.Cut(sig, ":"); ok {
		b, err := base64.URLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text + strings.Repeat("=", (4-len(text)%4)%4)))
		if err != nil {
			return nil, nil
		}
		return map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}[name], b
	}
	b, err := hex.DecodeString(sig)
	if err != nil {
		return nil, nil
	}
	return map[int]func() hash.Hash{sha1.Size: sha1.New, sha256.Size: sha256.New, sha512.Size: sha512.New}[len(b)], b
}

// signed says whether sum is of a text with a key.
func signed(f func() hash.Hash, key, text string, sum []byte) bool {
	h := hmac.New(f, []byte(key))
	h.Write([]byte(text))
	return hmac.Equal(h.Sum(nil), sum)
}

// expiryTime reads seconds, or a date as Swift's clients write it.
func expiryTime(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	for _, f := range []string{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05-07:00", "2006-01-02T15:04Z"} {
		if t, err := time.Parse(f, s); err == nil {
			return t.Unix(), true
		}
	}
	if t, err := time.Parse("2006-01-02", s); err == nil {
		return t.Unix(), true
	}
	return 0, false
}

// tempURL lets a request in that bears a signature, whoever sends it.
func (c *call) tempURL() (bool, error) {
	if !c.q.has("temp_url_sig") && !c.q.has("temp_url_expires") {
		return false, nil
	}
	invalid := func() (bool, error) {
		return true, refusef(401, "401 Unauthorized: Temp URL invalid\n").with("Www-Authenticate", `Swift realm="unknown"`)
	}
	f, sum := digest(c.q["temp_url_sig"])
	expires, ok := expiryTime(c.q["temp_url_expires"])
	if f == nil || !ok || c.object == "" || !c.acct.known() || !slices.Contains(tempMethods, c.method()) || expires <= c.h.cfg.Now().Unix() {
		return invalid()
	}
	target := pathOf(c.shown, c.container, c.object)
	if c.q.has("temp_url_prefix") {
		p := c.q["temp_url_prefix"]
		if !strings.HasPrefix(c.object, p) {
			return invalid()
		}
		target = "prefix:" + pathOf(c.shown, c.container, p)
	}
	ip := ""
	if r, ok := c.q["temp_url_ip_range"]; ok {
		if !inRange(c.address(), r) {
			return invalid()
		}
		ip = "ip=" + r + "\n"
	}
	methods := []string{c.method()}
	if c.method() == http.MethodHead {
		methods = []string{"HEAD", "GET", "POST", "PUT"}
	}
	keys, err := c.secrets()
	if err != nil {
		return true, err
	}
	for _, k := range keys {
		for _, m := range methods {
			if signed(f, k.key, fmt.Sprintf("%s%s\n%d\n%s", ip, m, expires, target), sum) {
				c.scope = &k.scope
			}
		}
	}
	if c.scope == nil {
		return invalid()
	}
	for _, n := range []string{"X-Object-Manifest", "X-Symlink-Target"} { // they would show what the key is not for
		if (c.method() == http.MethodPut || c.method() == http.MethodPost) && c.header(n) != "" {
			return true, refusef(400, "The header '%s' is not allowed in this tempurl", n)
		}
	}
	c.anonymous()
	if reads(c.method()) {
		c.w.temp = &tempAnswer{name: c.q["filename"], inline: c.q.has("inline"), object: c.object, expires: expires}
	}
	return true, c.dispatch()
}

// anonymous forgets who asks: the signature alone counts.
func (c *call) anonymous() {
	c.who.Account, c.who.Admin, c.who.Operator, c.who.Groups = "", false, false, nil
	c.badAuth = false
}

// inRange says whether an address is in a range, or is the one that is named.
func inRange(addr, list string) bool {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	a = a.Unmap()
	if p, err := netip.ParsePrefix(list); err == nil {
		return p.Masked().Contains(a)
	}
	one, err := netip.ParseAddr(list)
	return err == nil && one.Unmap() == a
}

// tempAnswer is what a temporary URL adds to the answer of a read.
type tempAnswer struct {
	name, object string
	inline       bool
	expires      int64
}

// apply changes headers before they are sent.
func (t *tempAnswer) apply(h http.Header, status int) {
	for n := range h {
		if strings.HasPrefix(n, objectMeta) && !strings.HasPrefix(n, objectMeta+"Public-") {
			h.Del(n)
		}
	}
	if status/100 != 2 {
		return
	}
	name := t.name
	if name == "" {
		name = path.Base(strings.TrimRight(t.object, "/"))
	}
	switch {
	case t.inline && t.name == "":
		h.Set("Content-Disposition", "inline")
	case t.inline:
		h.Set("Content-Disposition", disposition("inline", t.name))
	case t.name != "" || h.Get("Content-Disposition") == "":
		h.Set("Content-Disposition", disposition("attachment", name))
	}
	h.Set("Expires", time.Unix(t.expires, 0).UTC().Format(http.TimeFormat))
}

// disposition names a file in both of RFC 6266's ways.
func disposition(kind, name string) string {
	return fmt.Sprintf(`%s; filename="%s"; filename*=UTF-8''%s`, kind, strings.ReplaceAll(quoted(name), "%20", " "), quoted(name))
}
