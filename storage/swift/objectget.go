package swift

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
)

// kept are the headers that an object keeps beside its metadata (Swift's
// allowed_headers).
var kept = []string{"Content-Disposition", "Content-Encoding", "Cache-Control", "Content-Language", "Expires", "X-Robots-Tag"}

const objectMeta = "X-Object-Meta-"

// look is how an object is wanted.
type look struct {
	version  string
	link     bool // the symlink itself
	manifest bool // the manifest itself
}

// lookOf reads parameters.
func lookOf(q query) (look, error) {
	l := look{link: q["symlink"] == "get", manifest: q["multipart-manifest"] == "get"}
	if q["version-id"] != "" {
		v, ok := versionOf(q["version-id"])
		if !ok {
			return l, refusef(400, "Invalid version parameter")
		}
		l.version = v
	}
	return l, nil
}

// seen is an object as a call sees it.
type seen struct {
	*manifest.Opened
	box   *box
	info  storage.Info // of what is sent
	quote bool         // the ETag is in quotes, as that of a large object
	look  look
	raw   bool // a manifest in the form in which it was put
	// joined is shown as a large object, although it has no segments.
	joined bool
	shown  string // the account that links led to, as URLs say it
}

// see opens an object; head says that nobody will read it.
func (c *call) see(b *box, key string, l look, head bool) (*seen, error) {
	var o storage.Object
	var err error
	if head {
		o, err = c.glance(b, key, l)
	} else {
		o, err = b.Open(c.ctx, key, storage.ReadOptions{Version: l.version})
	}
	if err != nil {
		return nil, c.absent(b, key, l, sealed(err))
	}
	s := &seen{box: b, look: l}
	switch {
	case l.link:
		s.Opened = &manifest.Opened{Object: o, Account: b.acct.name, Container: b.name, Key: key}
	case l.manifest:
		s.Opened, err = manifest.Follow(c.ctx, source{c}, b.acct.name, b.name, key, o)
	default:
		s.Opened, err = manifest.Open(c.ctx, source{c}, b.acct.name, b.name, key, o)
	}
	if s.Linked > 0 {
		s.shown = c.h.shownAs(s.Account)
	}
	if err != nil {
		return nil, c.lost(s, o.Info(), err)
	}
	s.info = s.Info()
	s.joined = joined(&s.info) && !l.link
	s.quote = s.Large != nil || s.joined
	return s, nil
}

// glance looks at an object, and opens it only where it has to be read for that.
func (c *call) glance(b *box, key string, l look) (storage.Object, error) {
	info, err := b.Stat(c.ctx, key, storage.ReadOptions{Version: l.version})
	if err != nil {
		return nil, err
	}
	if !manifest.Plain(&info.Meta) {
		return b.Open(c.ctx, key, storage.ReadOptions{Version: l.version})
	}
	return glance{info: info}, b.vault.Check(c.ctx, &info.Meta)
}

// location is where links led to.
func (s *seen) location() string { return quoted(pathOf(s.shown, s.Container, s.Key)) }

// lost explains why a link or a manifest leads nowhere.
func (c *call) lost(s *seen, link storage.Info, err error) error {
	if errors.Is(err, manifest.ErrSegment) {
		var f *fault
		if errors.As(err, &f) {
			// A dynamic object's listing is refused as what it is; a segment is a conflict.
			if manifest.DynamicOf(&link.Meta) != "" {
				return f
			}
		}
		if manifest.DynamicOf(&link.Meta) != "" && errors.Is(err, storage.ErrNoBucket) {
			return refuse(404)
		}
		out := refuse(409)
		out.cause = err
		return out
	}
	f := faultOf(err)
	switch {
	case errors.Is(err, manifest.ErrLoop):
		return plainf(409, "Too many levels of symbolic links, maximum allowed is %d", manifest.LinksMax)
	case errors.Is(err, manifest.ErrTarget):
		want := ""
		if l := manifest.LinkOf(&link.Meta); l != nil {
			want = l.ETag
		}
		f = plainf(409, "Object Etag '%s' does not match X-Symlink-Target-Etag header '%s'", manifest.ETag(s.Info()), want)
	}
	if s.Linked > 0 {
		f = f.with("Content-Location", s.location())
	}
	return f
}

// absent says that there is no such object, or that a delete marker is in its place.
func (c *call) absent(b *box, key string, l look, err error) error {
	switch {
	case !errors.Is(err, storage.ErrDeleted):
		return err
	case l.version == "":
		page, listErr := b.Versions(c.ctx, storage.ListOptions{Prefix: key, From: key, Limit: 1})
		if listErr != nil || len(page.Objects) == 0 || page.Objects[0].Key != key {
			return err
		}
		return refuse(404).with("X-Object-Version-Id", shownVersion(page.Objects[0].Version))
	}
	return refuse(404).with("X-Object-Version-Id", shownVersion(l.version)).with("Content-Type", deletedType)
}

func (c *call) objectGet() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if err := c.permit(b, iam.GetObject, c.object); err != nil {
		return err
	}
	l, err := lookOf(c.q)
	if err != nil {
		return err
	}
	head := c.method() == http.MethodHead
	if l.version != "" {
		if err := c.spared(b, "s3:GetObjectVersion", c.object); err != nil {
			return err
		}
	}
	s, err := c.see(b, c.object, l, head)
	if errors.Is(err, storage.ErrNoObject) && slices.Contains(conditions(c.r.Header).Match, "*") {
		c.answer(412, "")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was only read
	c.watchSize(s.info.Size)
	if s.look.manifest && c.method() == http.MethodGet && c.q["format"] == "raw" && manifest.StaticOf(&s.info.Meta) != nil {
		if err := c.rawManifest(s); err != nil {
			return err
		}
	}
	if s.look.manifest && s.joined {
		s.noSegments()
	}
	c.objectHeaders(s)
	i := s.info
	i.Modified = roundUp(i.Modified)
	if err := c.judge(&i); err != nil {
		return c.unmet(err)
	}
	return c.send(s)
}

// judge judges a read's conditions as Swift does: each for itself, where in RFC 9110 those
// of ETags overrule those of times.
func (c *call) judge(i *storage.Info) error {
	all := conditions(c.r.Header)
	for _, one := range []storage.Conditions{
		{NoneMatch: all.NoneMatch}, {Match: all.Match}, {ModifiedSince: all.ModifiedSince}, {UnmodifiedSince: all.UnmodifiedSince},
	} {
		if err := one.Check(i, true); err != nil {
			return err
		}
	}
	return nil
}

// conditions are those of a request (RFC 9110, section 13).
func conditions(h http.Header) storage.Conditions {
	tags := func(n string) []string {
		var out []string
		for _, v := range h.Values(n) {
			for t := range strings.SplitSeq(v, ",") {
				if t = strings.TrimSpace(t); t != "" {
					out = append(out, t)
				}
			}
		}
		return out
	}
	at := func(n string) time.Time {
		t, err := http.ParseTime(h.Get(n))
		if err != nil {
			return time.Time{}
		}
		return t
	}
	return storage.Conditions{
		Match: tags("If-Match"), NoneMatch: tags("If-None-Match"),
		ModifiedSince: at("If-Modified-Since"), UnmodifiedSince: at("If-Unmodified-Since"),
	}
}

// unmet answers where a condition of a read does not hold; the headers stay.
func (c *call) unmet(err error) error {
	h := c.w.Header()
	h.Del("Content-Length")
	if errors.Is(err, storage.ErrNotModified) {
		c.answer(304, "")
		return nil
	}
	h.Set("Content-Type", kindHTML)
	h.Del("Accept-Ranges")
	c.answer(412, "")
	return nil
}

// httpTime rounds up, as Swift does, so that nothing seems older than it is.
func httpTime(t time.Time) string { return roundUp(t).UTC().Format(http.TimeFormat) }

func roundUp(t time.Time) time.Time {
	if s := t.Truncate(time.Second); !s.Equal(t) {
		return s.Add(time.Second)
	}
	return t
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// objectHeaders are what GET and HEAD answer.
func (c *call) objectHeaders(s *seen) {
	h := c.w.Header()
	i := &s.info
	userHeaders(h, &i.Meta)
	h.Set("Content-Type", i.Meta.ContentType)
	if i.Meta.ContentType == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("Last-Modified", httpTime(i.Modified))
	h.Set("X-Timestamp", timestamp(i.Modified))
	h.Set("Etag", i.ETag)
	if s.quote || c.quotes(s.box) {
		h.Set("Etag", `"`+i.ETag+`"`)
	}
	if st := manifest.StaticOf(&i.Meta); st != nil {
		h.Set("X-Static-Large-Object", "True")
		if s.look.manifest {
			h.Set("Content-Type", "application/json; charset=utf-8")
		} else if m := i.Meta.System[systemManifestETag]; m != "" && !s.raw {
			h.Set("X-Manifest-Etag", m)
		}
	}
	if s.joined {
		h.Set("X-Static-Large-Object", "True")
	}
	if s.Linked > 0 {
		h.Set("Content-Location", s.location())
	}
	if l := manifest.LinkOf(&i.Meta); l != nil {
		linkHeaders(h, l)
	}
	if s.box.info.Settings.Versioning != storage.Unversioned {
		h.Set("X-Object-Version-Id", shownVersion(i.Version))
		if i.Version != storage.NullVersion && s.look.version == "" && s.Linked == 0 && !s.look.link {
			h.Set("Content-Location", versionPath(s.box.shown, s.box.name, i))
		}
	}
}

// userHeaders are those that a client gave an object.
func userHeaders(h http.Header, m *storage.Meta) {
	for n, v := range m.Headers {
		h.Set(n, v)
	}
	for n, v := range m.User {
		h.Set(objectMeta+n, v)
	}
	if !m.Expires.IsZero() {
		h.Set("X-Delete-At", decimal(m.Expires.Unix()))
	}
	if d := manifest.DynamicOf(m); d != "" {
		h.Set("X-Object-Manifest", quoted(d))
	}
}

// quotes says whether ETags are in quotes (etag-quoter).
func (c *call) quotes(b *box) bool {
	if v := b.label(labelHeader + headerRFC); v != "" {
		return v == "True"
	}
	r, _, err := c.h.book.Find(c.ctx, b.acct.name)
	return err == nil && r.Headers["X-Account-Rfc-Compliant-Etags"] == "True"
}
