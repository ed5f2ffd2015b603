package swift

import (
	"maps"
	"net/http"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
	"polder.dev/polder/storage/residency"
)

// place is an object by URL.
type place struct{ shown, container, object string }

// objectCopy is the verb COPY: from the URL to Destination.
func (c *call) objectCopy() error {
	dest := c.header("Destination")
	if dest == "" {
		return refusef(412, "Destination header required")
	}
	container, object, ok := pair(dest, true)
	if !ok {
		return pairFault("Destination")
	}
	if err := c.checkName(object); err != nil {
		return err
	}
	shown, err := c.accountHeader("Destination-Account")
	if err != nil {
		return err
	}
	if shown == "" {
		shown = c.shown
	}
	l, err := lookOf(c.q)
	if err != nil {
		return err
	}
	return c.copy(place{c.shown, c.container, c.object}, place{shown, container, object}, l)
}

// copyFrom is PUT with X-Copy-From.
func (c *call) copyFrom() error {
	if c.r.ContentLength > 0 {
		return plainf(400, "Copy requests require a zero byte body")
	}
	from, params, ok := strings.Cut(c.header("X-Copy-From"), "?")
	if ok && !strings.HasPrefix(params, "version-id=") {
		from, params = c.header("X-Copy-From"), "" // the mark is the name's
	}
	container, object, ok := pair(from, true)
	if !ok {
		return pairFault("X-Copy-From")
	}
	shown, err := c.accountHeader("X-Copy-From-Account")
	if err != nil {
		return err
	}
	if shown == "" {
		shown = c.shown
	}
	q := parseQuery(params)
	for _, n := range []string{"symlink", "multipart-manifest"} {
		if c.q.has(n) && !q.has(n) {
			q[n] = c.q[n]
		}
	}
	l, err := lookOf(q)
	if err != nil {
		return err
	}
	return c.copy(place{shown, container, object}, place{c.shown, c.container, c.object}, l)
}

func (c *call) copy(from, to place, l look) (err error) {
	if c.header("X-Symlink-Target") != "" {
		return plainf(400, "Symlink requests require a zero byte body")
	}
	src, err := c.box(from.shown, from.container)
	if err != nil {
		return err
	}
	copied := touched{status: http.StatusCreated, size: -1}
	if c.method() != "COPY" { // else the request is about the source
		defer func() {
			copied.key, copied.err = from.object, err
			c.recordOther(src, "SWIFT.COPY.OBJECT_GET", copied)
		}()
	}
	if err := c.permit(src, iam.GetObject, from.object); err != nil {
		return err
	}
	s, err := c.see(src, from.object, l, false)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // it was only read
	seen := s.info
	seen.Modified = roundUp(seen.Modified)
	if err := c.judge(&seen); err != nil {
		c.objectHeaders(s)
		return c.unmet(err)
	}
	if s.Large != nil {
		if err := s.Large.Probe(0); err != nil {
			return c.lost(s, s.info, err)
		}
	}
	dst, err := c.box(to.shown, to.container)
	if err != nil {
		return err
	}
	if c.method() == "COPY" {
		defer func() {
			copied.key, copied.err = to.object, err
			c.recordOther(dst, "SWIFT.COPY.OBJECT_PUT", copied)
		}()
	}
	if err := c.permit(dst, iam.PutObject, to.object); err != nil {
		return err
	}
	err = residency.Flow(residency.Bucket{Name: from.container, Residency: src.info.Settings.Residency}, residency.Bucket{Name: to.container, Residency: dst.info.Settings.Residency})
	if err != nil {
		return err
	}
	off, n, err := c.copySpan(s)
	if err != nil {
		return err
	}
	if n > c.h.cfg.ObjectBytesMax {
		return refuse(413)
	}
	m, err := c.copyMeta(s)
	if err != nil {
		return err
	}
	if l.manifest && manifest.StaticOf(&s.info.Meta) != nil {
		if err := c.recheck(dst, s); err != nil {
			return err
		}
	}
	body, err := c.within(dst, storage.Reader(s.Object, off, n), n)
	if err != nil {
		return err
	}
	info, err := c.store(dst, to.object, body, storage.PutOptions{Meta: m, Size: n})
	if err != nil {
		return err
	}
	copied.size = info.Size
	c.copied(from, s, dst, &info, l)
	c.answer(201, "")
	return nil
}

// copied tells what became of which.
func (c *call) copied(from place, s *seen, dst *box, info *storage.Info, l look) {
	h := c.w.Header()
	h.Set("X-Copied-From", quoted(from.container+"/"+from.object))
	h.Set("X-Copied-From-Account", quoted(from.shown))
	h.Set("X-Copied-From-Last-Modified", httpTime(s.info.Modified))
	if s.box.info.Settings.Versioning != storage.Unversioned {
		h.Set("X-Copied-From-Version-Id", shownVersion(s.info.Version))
	}
	for n, v := range info.Meta.User {
		h.Set(objectMeta+n, v)
	}
	if !info.Meta.Expires.IsZero() {
		h.Set("X-Delete-At", decimal(info.Meta.Expires.Unix()))
	}
	c.stored(dst, info, l.manifest && manifest.StaticOf(&info.Meta) != nil)
	if st := manifest.StaticOf(&info.Meta); st != nil {
		h.Set("Etag", `"`+st.ETag+`"`)
	}
}

// recheck looks at the segments of a manifest that is copied: they must be where the copy
// will look for them, which may be another account.
func (c *call) recheck(dst *box, s *seen) error {
	kept, err := manifest.Parse(storage.Reader(s.Object, 0, s.info.Size))
	if err != nil {
		return err
	}
	list := make([]sent, len(kept))
	for i, k := range kept {
		list[i] = sent{path: k.Name, etag: k.Hash, size: &k.Bytes, rang: k.Range, data: k.Data}
	}
	if _, bad := c.checkSegments(dst, list); len(bad) > 0 {
		f, kind := c.bulkFormat(false)
		return &fault{status: 400, kind: kind, text: troubles(f, bad)}
	}
	return nil
}

// copySpan is what a Range asks of the source.
func (c *call) copySpan(s *seen) (off, n int64, err error) {
	spans, err := c.spans(s)
	if err != nil {
		return 0, 0, err
	}
	if len(spans) == 1 {
		return spans[0].off, spans[0].n, nil
	}
	return 0, s.info.Size, nil
}

// copyMeta is the source's metadata with what the request says on top.
func (c *call) copyMeta(s *seen) (storage.Meta, error) {
	m, err := c.metaOf(c.object)
	if err != nil {
		return m, err
	}
	old := &s.info.Meta
	if c.header("Content-Type") == "" {
		m.ContentType = old.ContentType
	}
	if !on(c.header("X-Fresh-Metadata")) {
		user := maps.Clone(old.User)
		if user == nil {
			user = map[string]string{}
		}
		maps.Copy(user, m.User)
		m.User = user
		headers := maps.Clone(old.Headers)
		if headers == nil {
			headers = map[string]string{}
		}
		maps.Copy(headers, m.Headers)
		m.Headers = headers
		m.Tags = maps.Clone(old.Tags)
		if m.Expires.IsZero() {
			m.Expires = old.Expires
		}
	}
	if s.look.manifest || s.look.link {
		maps.Copy(m.System, system(old.System))
	}
	return m, nil
}
