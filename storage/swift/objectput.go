package swift

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/manifest"
)

// Keys of Meta.System beside those of manifest.
const systemManifestETag = "swift.slo.manifest" // MD5 of a static manifest

func (c *call) objectPut() error {
	if err := c.checkName(c.object); err != nil {
		return err
	}
	if c.header("X-Copy-From") != "" {
		if c.q["multipart-manifest"] == "put" {
			return refusef(400, "Manifest must be valid JSON.\n")
		}
		return c.copyFrom()
	}
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if err := c.permit(b, iam.PutObject, c.object); err != nil {
		return err
	}
	l, err := lookOf(c.q)
	if err != nil {
		return err
	}
	if l.version != "" {
		return c.promote(b, l)
	}
	if c.q["multipart-manifest"] == "put" {
		return c.staticPut(b)
	}
	size, err := c.bodySize()
	if err != nil {
		return err
	}
	o, err := c.putOptions(b, size)
	if err != nil {
		return err
	}
	if err := c.linkPut(b, &o.Meta, size); err != nil {
		return err
	}
	body, err := c.within(b, c.r.Body, size)
	if err != nil {
		return err
	}
	info, err := c.store(b, c.object, body, o)
	if err != nil {
		return putFault(err, c.header("Etag"))
	}
	c.stored(b, &info, false)
	c.answer(201, "")
	return nil
}

func (c *call) checkName(key string) error {
	if len(key) > storage.KeyBytesMax {
		return plainf(400, "Object name length of %d longer than %d", len(key), storage.KeyBytesMax)
	}
	return nil
}

// putFault tells a body that is not what its sender said from other failures.
func putFault(err error, etag string) error {
	if errors.Is(err, storage.ErrDigest) && etag == "" {
		f := refuse(statusClosed)
		f.cause = err
		return f
	}
	return err
}

// stored are the headers of an answer about an object that was put.
func (c *call) stored(b *box, i *storage.Info, quote bool) {
	h := c.w.Header()
	h.Set("Etag", i.ETag)
	if quote || c.quotes(b) {
		h.Set("Etag", `"`+i.ETag+`"`)
	}
	h.Set("Last-Modified", httpTime(i.Modified))
	if b.info.Settings.Versioning == storage.Versioned {
		h.Set("X-Object-Version-Id", shownVersion(i.Version))
	}
}

// bodySize is how long a body is said to be; -1 is unknown.
func (c *call) bodySize() (int64, error) {
	if len(c.r.TransferEncoding) > 0 || c.r.ContentLength < 0 {
		return -1, nil
	}
	if c.header("Content-Length") == "" {
		return 0, plainf(411, "Missing Content-Length header.")
	}
	if c.r.ContentLength > c.h.cfg.ObjectBytesMax {
		return 0, plainf(413, "Your request is too large.")
	}
	return c.r.ContentLength, nil
}

// putOptions reads what headers say of an object.
func (c *call) putOptions(b *box, size int64) (storage.PutOptions, error) {
	o := storage.PutOptions{Size: max(size, 0)}
	m, err := c.metaOf(c.object)
	if err != nil {
		return o, err
	}
	o.Meta = m
	if tag := strings.Trim(c.header("Etag"), `"`); tag != "" {
		o.MD5 = strings.ToLower(tag)
	}
	o.If, err = putConditions(c.r.Header)
	return o, err
}

func putConditions(h http.Header) (storage.Conditions, error) {
	if v := h.Get("If-None-Match"); v != "" && v != "*" {
		return storage.Conditions{}, plainf(400, "If-None-Match only supports *")
	}
	c := conditions(h)
	return storage.Conditions{NoneMatch: c.NoneMatch, Match: c.Match, UnmodifiedSince: c.UnmodifiedSince}, nil
}

// metaOf reads metadata, type, expiry and the mark of a dynamic large object.
func (c *call) metaOf(key string) (storage.Meta, error) {
	h := c.r.Header
	m := storage.Meta{ContentType: h.Get("Content-Type"), Headers: map[string]string{}, User: map[string]string{}, System: map[string]string{}}
	if err := checkMeta(h, objectMeta); err != nil {
		return m, err
	}
	if m.ContentType == "" || on(h.Get("X-Detect-Content-Type")) {
		m.ContentType = guessType(key)
	}
	if !utf8.ValidString(m.ContentType) {
		return m, plainf(400, "Please specify a valid UTF-8 Content-Type")
	}
	m.ContentType, _, _ = strings.Cut(m.ContentType, ";swift_bytes=")
	for _, n := range kept {
		if v := h.Get(n); v != "" {
			m.Headers[n] = v
		}
	}
	for n, v := range h {
		if rest, ok := strings.CutPrefix(n, objectMeta); ok {
			m.User[strings.ToLower(rest)] = v[0]
		}
	}
	var err error
	if m.Expires, err = c.expiry(); err != nil {
		return m, err
	}
	if d := h.Get("X-Object-Manifest"); d != "" {
		d = unescapePath(d)
		container, prefix, ok := strings.Cut(d, "/")
		if !ok || container == "" || prefix == "" || strings.ContainsAny(d, "?&") {
			return m, refusef(400, "X-Object-Manifest must be in the format container/prefix")
		}
		m.System[manifest.KeyDynamic] = d
	}
	return m, nil
}

// expiry reads X-Delete-After and X-Delete-At.
func (c *call) expiry() (time.Time, error) {
	now := c.h.cfg.Now()
	if v := c.header("X-Delete-After"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return time.Time{}, plainf(400, "Non-integer X-Delete-After")
		}
		if n <= 0 {
			return time.Time{}, plainf(400, "X-Delete-After in past")
		}
		return time.Unix(now.Unix()+n, 0), nil
	}
	if v := c.header("X-Delete-At"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return time.Time{}, plainf(400, "Non-integer X-Delete-At")
		}
		if n <= now.Unix() {
			return time.Time{}, plainf(400, "X-Delete-At in past")
		}
		return time.Unix(n, 0), nil
	}
	return time.Time{}, nil
}

// limited counts a body, and refuses it when it is too long.
type limited struct {
	r     io.Reader
	left  int64
	fault error
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.fault
	}
	return n, err
}

// store puts an object with all that a container asks for.
func (c *call) store(b *box, key string, body io.Reader, o storage.PutOptions) (storage.Info, error) {
	if err := c.archive(b, key); err != nil {
		return storage.Info{}, err
	}
	if err := c.sealNew(b, &o.Meta); err != nil {
		return storage.Info{}, err
	}
	info, err := b.Put(c.ctx, key, body, o)
	if err == nil {
		c.watchSize(info.Size)
	}
	return info, err
}

// objectPost changes an object's metadata.
func (c *call) objectPost() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if err := c.permit(b, iam.PutObject, c.object); err != nil {
		return err
	}
	if c.header("X-Symlink-Target") != "" {
		return plainf(400, "A PUT request is required to set a symlink target")
	}
	l, err := lookOf(c.q)
	if err != nil {
		return err
	}
	if l.version != "" {
		return refusef(400, "POST to a specific version is not allowed")
	}
	m, err := c.metaOf(c.object)
	if err != nil {
		return err
	}
	info, err := b.Edit(c.ctx, c.object, storage.EditOptions{Version: l.version, Touch: true, Change: func(old *storage.Meta) error {
		for _, k := range slices.Collect(maps.Keys(old.System)) {
			if k != manifest.KeyDynamic {
				m.System[k] = old.System[k]
			}
		}
		if c.header("Content-Type") == "" {
			m.ContentType = old.ContentType
		}
		m.Tags, m.Checksums = old.Tags, old.Checksums
		*old = m
		return nil
	}})
	if err != nil {
		return err
	}
	if link := manifest.LinkOf(&info.Meta); link != nil && !l.link {
		shown := link.Shown
		if shown == "" {
			shown = c.shown
		}
		f := refusef(307, "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata.")
		return f.with("Location", quoted(pathOf(shown, link.Container, link.Object)))
	}
	return c.done(202)
}

// objectDelete removes an object or one of its versions.
func (c *call) objectDelete() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if err := c.permit(b, iam.DeleteObject, c.object); err != nil {
		return err
	}
	if c.q["multipart-manifest"] == "delete" {
		return c.staticDelete(b)
	}
	l, err := lookOf(c.q)
	if err != nil {
		return err
	}
	out, err := c.remove(b, c.object, l.version)
	if err != nil {
		return err
	}
	c.removed(b, l, out)
	c.answer(204, "")
	return nil
}

// removed tells what version went, and which one is on top now.
func (c *call) removed(b *box, l look, out storage.Deletion) {
	h := c.w.Header()
	switch {
	case b.info.Settings.Versioning == storage.Unversioned:
	case l.version != "":
		h.Set("X-Object-Version-Id", shownVersion(l.version))
		h.Set("X-Object-Current-Version-Id", storage.NullVersion)
		if i, err := b.Stat(c.ctx, c.object, storage.ReadOptions{}); err == nil {
			h.Set("X-Object-Current-Version-Id", shownVersion(i.Version))
		}
	case out.Marker && b.info.Settings.Versioning == storage.Versioned:
		h.Set("X-Object-Version-Id", shownVersion(out.Version))
	}
}

// remove deletes with all that a container asks for.
func (c *call) remove(b *box, key, version string) (storage.Deletion, error) {
	if done, err := c.restore(b, key, version); done || err != nil {
		return storage.Deletion{Found: true}, err
	}
	if version != "" {
		if err := c.spared(b, "s3:DeleteObjectVersion", key); err != nil {
			return storage.Deletion{}, err
		}
	}
	if version == "" && b.info.Settings.Versioning == storage.Suspended { // no marker for what is not there
		if _, err := b.Stat(c.ctx, key, storage.ReadOptions{}); err != nil {
			return storage.Deletion{}, err
		}
	}
	when := conditions(c.r.Header)
	if c.sub {
		when = storage.Conditions{}
	}
	out, err := b.Delete(c.ctx, key, storage.DeleteOptions{
		Version: version, If: storage.Conditions{Match: when.Match, UnmodifiedSince: when.UnmodifiedSince},
		Guard: lock.Guard(c.h.cfg.Now(), false),
	})
	if errors.Is(err, lock.ErrLocked) {
		f := plainf(403, "The version of the object is locked.")
		f.cause = err
		return out, f
	}
	if err != nil {
		return out, err
	}
	if !out.Found {
		f := refuse(404)
		if out.Marker || version != "" {
			f = f.with("X-Object-Version-Id", shownVersion(out.Version))
		}
		return out, f
	}
	return out, nil
}
