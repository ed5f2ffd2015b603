package swift

import (
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// deletedType is the type of a delete marker in listings and archives.
const deletedType = "application/x-deleted;swift_versions_deleted=1"

const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

// shownVersion writes a version as Swift's clients know them: as a time. The store's own
// ids are numbers, which keep their order.
func shownVersion(id string) string {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || len(id) != 16 {
		return id
	}
	return fmt.Sprintf("%010d.%05d", n/100_000, n%100_000)
}

// versionOf reads a version; the store's own form is taken as well.
func versionOf(s string) (string, bool) {
	if s == storage.NullVersion {
		return s, true
	}
	whole, frac, dot := strings.Cut(s, ".")
	if !dot && len(s) == 16 {
		if _, err := strconv.ParseUint(s, 16, 64); err == nil {
			return s, true
		}
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > 1e14 {
		return "", false
	}
	frac, _, _ = strings.Cut(frac, "_") // an offset
	f := uint64(0)
	if dot {
		if len(frac) == 0 || len(frac) > 5 {
			return "", false
		}
		if f, err = strconv.ParseUint(frac+"00000"[len(frac):], 10, 64); err != nil {
			return "", false
		}
	}
	return fmt.Sprintf("%016x", n*100_000+f), true
}

// versionChange reads X-Versions-Enabled, X-Versions-Location and X-History-Location; the
// headers that are kept go to ch.
func (c *call) versionChange(ch changes) (func(*storage.Settings) error, error) {
	h := c.r.Header
	for _, n := range []string{headerStack, headerHistory} {
		if c.header(strings.Replace(n, "X-", "X-Remove-", 1)) != "" {
			ch[headerStack], ch[headerHistory] = "", ""
		}
	}
	for _, n := range []string{headerStack, headerHistory} {
		v, there := h[n]
		if !there {
			continue
		}
		ch[headerStack], ch[headerHistory] = "", ""
		loc := unescapePath(v[0])
		if loc == "" {
			continue
		}
		if h.Get(headerStack) != "" && h.Get(headerHistory) != "" {
			return nil, plainf(400, "Only one of x-versions-location or x-history-location may be specified")
		}
		if strings.Contains(loc, "/") {
			return nil, refusef(412, "Container name cannot contain slashes")
		}
		ch[n] = quoted(loc)
		break
	}
	want, asked := h[headerEnabled]
	archive := ch[headerStack] != "" || ch[headerHistory] != ""
	return func(s *storage.Settings) error {
		on := asked && on(want[0])
		switch {
		case archive && (s.Versioning == storage.Versioned || on):
			return refusef(400, "Cannot use the legacy versioned writes feature on a container with object versioning enabled.")
		case on && (s.Labels[labelHeader+headerStack] != "" || s.Labels[labelHeader+headerHistory] != ""):
			return refusef(400, "Cannot enable object versioning on a container that is already using the legacy versioned writes feature.")
		case on:
			s.Versioning = storage.Versioned
		case asked && s.Versioning == storage.Versioned && lock.Enabled(*s):
			return plainf(409, "The container has an object lock, so its versions stay enabled.")
		case asked && s.Versioning == storage.Versioned:
			s.Versioning = storage.Suspended
		}
		return nil
	}, nil
}

// versionPath is the URL of the version that is an object's newest.
func versionPath(shown, container string, i *storage.Info) string {
	return quoted(pathOf(shown, container, i.Key)) + "?version-id=" + shownVersion(i.Version)
}

// checkVersionMarker judges version_marker before an answer begins.
func (c *call) checkVersionMarker() error {
	marker := c.q["version_marker"]
	if marker == "" || !c.q.has("versions") {
		return nil
	}
	if c.q["marker"] == "" {
		return refusef(400, "version_marker param requires marker")
	}
	if _, ok := versionOf(marker); !ok {
		return refusef(400, "invalid version_marker param")
	}
	return nil
}

// promote makes an older version the newest one again (PUT with version-id).
func (c *call) promote(b *box, l look) error {
	if c.r.ContentLength != 0 {
		return plainf(400, "PUT version-id requests require a zero byte body")
	}
	o, err := b.Open(c.ctx, c.object, storage.ReadOptions{Version: l.version})
	if err != nil {
		return c.absent(b, c.object, l, sealed(err))
	}
	defer func() { _ = o.Close() }() // it was only read
	old := o.Info()
	body, err := c.within(b, storage.Reader(o, 0, old.Size), old.Size)
	if err != nil {
		return err
	}
	info, err := c.store(b, c.object, body, storage.PutOptions{Meta: anew(old.Meta), Size: old.Size})
	if err != nil {
		return err
	}
	c.stored(b, &info, false)
	c.answer(201, "")
	return nil
}

// versionList lists all versions and delete markers (?versions).
func (c *call) versionList(b *box, f format, limit int) error {
	o := c.listOptions(limit)
	o.Reverse = false
	if marker := c.q["version_marker"]; marker != "" {
		id, _ := versionOf(marker)
		o.AfterID = id
		if id == storage.NullVersion {
			next, err := c.behindNull(b, o.After)
			if err != nil {
				return err
			}
			o.AfterID = next
		}
	}
	if limit == 0 {
		l := c.list(f, false, b.name, true)
		if l == nil {
			return nil
		}
		return l.end()
	}
	page, err := b.Versions(c.ctx, o)
	if err != nil {
		return err
	}
	l := c.list(f, false, b.name, page.Size() == 0)
	if l == nil {
		return nil
	}
	err = merge(&page, false, func(i *storage.Info, prefix string) error {
		if prefix != "" {
			return l.add(entry{subdir: prefix})
		}
		e := c.entryOf(i)
		e.VersionID, e.IsLatest = shownVersion(i.Version), &i.Latest
		if i.Deleted {
			e.ContentType, e.Hash, e.Bytes = deletedType, emptyMD5, 0
		}
		return l.add(e)
	})
	if err != nil {
		return err
	}
	return l.end()
}

// behindNull finds where a listing goes on behind the version without an id.
func (c *call) behindNull(b *box, key string) (string, error) {
	o := storage.ListOptions{Prefix: key, From: key, Limit: 1}
	for {
		page, err := b.Versions(c.ctx, o)
		if err != nil || len(page.Objects) == 0 || page.Objects[0].Key != key {
			return "", err
		}
		if page.Objects[0].Version == storage.NullVersion {
			return page.NextID, nil
		}
		o.After, o.AfterID = page.Next, page.NextID
	}
}
