package swift

import (
	"errors"
	"net/http"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
)

func (c *call) containerGet() error {
	b, err := c.box(c.shown, c.container)
	if err != nil {
		return err
	}
	if err := c.permit(b, iam.ListBucket, ""); err != nil {
		return err
	}
	if c.q.has("versions") {
		if err := c.spared(b, "s3:ListBucketVersions", ""); err != nil {
			return err
		}
	}
	f, err := c.format()
	if err != nil {
		return err
	}
	if err := c.checkTexts(); err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	versions := c.q.has("versions")
	if versions && !c.q.has("format") {
		f = asJSON
		c.w.Header().Del("Vary")
	}
	if err := c.checkVersionMarker(); err != nil {
		return err
	}
	c.containerHeaders(b)
	if c.method() == http.MethodHead {
		c.w.Header().Set("Content-Type", string(f)+"; charset=utf-8")
		c.answer(204, "")
		return nil
	}
	if versions {
		return c.versionList(b, f, limit)
	}
	return c.objectList(b, f, limit)
}

// listOptions are what parameters ask for.
func (c *call) listOptions(limit int) storage.ListOptions {
	o := storage.ListOptions{
		Prefix: c.q["prefix"], Delimiter: c.q["delimiter"], After: c.q["marker"], End: c.q["end_marker"],
		Reverse: on(c.q["reverse"]), Limit: limit,
	}
	if c.q.has("path") {
		o.Delimiter, o.Prefix = "/", ""
		if p := c.q["path"]; p != "" {
			o.Prefix = strings.TrimRight(p, "/") + "/"
		}
	}
	return o
}

func (c *call) objectList(b *box, f format, limit int) error {
	if limit == 0 {
		l := c.list(f, false, b.name, true)
		if l == nil {
			return nil
		}
		return l.end()
	}
	o := c.listOptions(limit)
	if c.q.has("path") {
		return c.pathList(b, f, o)
	}
	page, err := b.List(c.ctx, o)
	if err != nil {
		return err
	}
	l := c.list(f, false, b.name, page.Size() == 0)
	if l == nil {
		return nil
	}
	err = merge(&page, o.Reverse, func(i *storage.Info, prefix string) error {
		if o.Reverse && prefix != "" && prefix == o.End {
			return nil
		}
		if prefix != "" {
			return l.add(entry{subdir: prefix})
		}
		return l.add(c.entryOf(i))
	})
	if err != nil {
		return err
	}
	return l.end()
}

// pathList lists what is right below a path: no folded prefixes, but the objects that are
// named as one.
func (c *call) pathList(b *box, f format, o storage.ListOptions) error {
	var l *lister
	want := o.Limit
	for n := 0; ; {
		page, err := b.List(c.ctx, o)
		if err != nil {
			return err
		}
		err = merge(&page, o.Reverse, func(i *storage.Info, prefix string) error {
			if prefix != "" {
				s, err := b.Stat(c.ctx, prefix, storage.ReadOptions{})
				if errors.Is(err, storage.ErrNoObject) || errors.Is(err, storage.ErrInvalid) {
					return nil
				}
				if err != nil {
					return err
				}
				i = &s
			}
			if n == want || i.Key == o.Prefix {
				return nil
			}
			n++
			if l == nil {
				l = c.list(f, false, b.name, false)
			}
			return l.add(c.entryOf(i))
		})
		if err != nil {
			return err
		}
		if n == want || !page.More {
			break
		}
		o.After = page.Next
	}
	if l == nil {
		if l = c.list(f, false, b.name, true); l == nil {
			return nil
		}
	}
	return l.end()
}

// entryOf is an object's line.
func (c *call) entryOf(i *storage.Info) entry {
	e := entry{Name: i.Key, Bytes: i.Size, Hash: i.ETag, ContentType: i.Meta.ContentType, LastModified: stamp(i.Modified)}
	if t := e.ContentType; strings.Contains(t, "; ") && !strings.Contains(t, `"`) { // listings have no spaces there
		e.ContentType = strings.ReplaceAll(t, "; ", ";")
	}
	if e.ContentType == "" {
		e.ContentType = "application/octet-stream"
	}
	if s := manifest.StaticOf(&i.Meta); s != nil {
		e.Bytes, e.StaticETag = s.Size, `"`+s.ETag+`"`
	} else if joined(i) {
		e.StaticETag = `"` + i.ETag + `"`
	}
	if i.Version != storage.NullVersion && !c.q.has("versions") {
		e.SymlinkPath, e.VersionLink = versionPath(c.shown, c.container, i), true
	}
	if l := manifest.LinkOf(&i.Meta); l != nil {
		shown := l.Shown
		if shown == "" {
			shown = c.shown
		}
		e.SymlinkPath = quoted(pathOf(shown, l.Container, l.Object))
		if l.ETag != "" {
			e.SymlinkETag, e.SymlinkBytes = l.ETag, &l.Size
		}
	}
	return e
}
