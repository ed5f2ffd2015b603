package swift

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

// unescapePath decodes a name in a header; what is no escape stays.
func unescapePath(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// pair reads CONTAINER/OBJECT out of a header; lead says that a slash may come first.
func pair(v string, lead bool) (container, object string, ok bool) {
	v = unescapePath(v)
	if lead {
		v = strings.TrimPrefix(v, "/")
	}
	container, object, ok = strings.Cut(v, "/")
	return container, object, ok && container != "" && object != "" && utf8.ValidString(v)
}

func pairFault(header string) error {
	return refusef(412, "%s header must be of the form <container name>/<object name>", header)
}

// accountHeader reads a header that names an account; "" is the request's own.
func (c *call) accountHeader(name string) (string, error) {
	v := unescapePath(c.header(name))
	if strings.Contains(v, "/") {
		return "", refusef(412, "Account name cannot contain slashes")
	}
	return v, nil
}

// linkPut reads X-Symlink-Target and marks what is to be put.
func (c *call) linkPut(b *box, m *storage.Meta, size int64) error {
	target := c.header("X-Symlink-Target")
	if target == "" {
		return nil
	}
	if size != 0 {
		return plainf(400, "Symlink requests require a zero byte body")
	}
	container, object, ok := pair(target, false)
	if !ok {
		return pairFault("X-Symlink-Target")
	}
	shown, err := c.accountHeader("X-Symlink-Target-Account")
	if err != nil {
		return err
	}
	l := manifest.Link{Account: b.acct.name, Container: container, Object: object, Shown: shown}
	if shown != "" {
		l.Account = c.h.account(shown).name
	}
	if l.Account == b.acct.name && container == b.name && object == c.object {
		return plainf(400, "Symlink cannot target itself")
	}
	if etag := strings.Trim(c.header("X-Symlink-Target-Etag"), `"`); etag != "" {
		if err := c.pin(&l, etag, m); err != nil {
			return err
		}
	}
	if c.header("Content-Type") == "" && l.ETag == "" {
		m.ContentType = "application/symlink"
	}
	manifest.Set(m, manifest.KeyLink, l)
	return nil
}

// pin makes a link static: its target must be there and have an ETag.
func (c *call) pin(l *manifest.Link, etag string, m *storage.Meta) error {
	at := l.Shown
	if at == "" {
		at = c.shown
	}
	place := quoted(pathOf(at, l.Container, l.Object))
	o, err := source{c}.Open(c.ctx, l.Account, l.Container, l.Object)
	if err != nil {
		if errors.Is(err, storage.ErrNoObject) || errors.Is(err, storage.ErrNoBucket) {
			return plainf(409, "X-Symlink-Target does not exist").with("Content-Location", place)
		}
		return err
	}
	s, err := manifest.Follow(c.ctx, source{c}, l.Account, l.Container, l.Object, o)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was only looked at
	info := s.Info()
	if info.ETag != etag && manifest.ETag(info) != etag {
		return plainf(409, "Object Etag '%s' does not match X-Symlink-Target-Etag header '%s'", manifest.ETag(info), etag).with("Content-Location", place)
	}
	l.ETag, l.Size = etag, info.Size
	if st := manifest.StaticOf(&info.Meta); st != nil {
		l.Size = st.Size
	}
	if c.header("Content-Type") == "" {
		m.ContentType = info.Meta.ContentType
	}
	return nil
}

// linkHeaders say where a symlink leads.
func linkHeaders(h http.Header, l *manifest.Link) {
	h.Set("X-Symlink-Target", quoted(l.Container+"/"+l.Object))
	if l.Shown != "" {
		h.Set("X-Symlink-Target-Account", quoted(l.Shown))
	}
	if l.ETag != "" {
		h.Set("X-Symlink-Target-Etag", l.ETag)
		h.Set("X-Symlink-Target-Bytes", decimal(l.Size))
	}
}
