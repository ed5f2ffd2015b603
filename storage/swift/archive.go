package swift

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

// archiveOf is the container that old versions go to (versioned_writes); history says
// that deletions are kept as well.
func (c *call) archiveOf(b *box) (to *box, history bool, err error) {
	loc := b.label(labelHeader + headerStack)
	if loc == "" {
		loc, history = b.label(labelHeader+headerHistory), true
	}
	if loc == "" {
		return nil, false, nil
	}
	own := *c
	own.scope = &scope{account: b.acct.name} // the archive is the container's, whoever writes
	to, err = own.box(b.shown, unescapePath(loc))
	if errors.Is(err, storage.ErrNoBucket) {
		return nil, history, refuse(412)
	}
	return to, history, err
}

// archivePrefix begins the names of an object's old versions.
func archivePrefix(key string) string { return fmt.Sprintf("%03x%s/", len(key), key) }

// archive copies what a PUT is about to replace.
func (c *call) archive(b *box, key string) error {
	if b.label(labelHeader+headerStack) == "" && b.label(labelHeader+headerHistory) == "" {
		return nil
	}
	if _, err := b.Stat(c.ctx, key, storage.ReadOptions{}); errors.Is(err, storage.ErrNoObject) {
		return nil
	}
	to, _, err := c.archiveOf(b)
	if err != nil || to == nil {
		return err
	}
	return c.keepOld(b, to, key)
}

func (c *call) keepOld(b, to *box, key string) error {
	o, err := b.Open(c.ctx, key, storage.ReadOptions{})
	if errors.Is(err, storage.ErrNoObject) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = o.Close() }() // it was only read
	i := o.Info()
	if manifest.DynamicOf(&i.Meta) != "" {
		return nil // a dynamic manifest is no version of data
	}
	name := archivePrefix(key) + timestamp(i.Modified)
	m := anew(i.Meta)
	if err := c.sealNew(to, &m); err != nil {
		return err
	}
	_, err = storage.Copy(c.ctx, to.Bucket, name, o, 0, i.Size, storage.PutOptions{Meta: m})
	c.recordOther(to, "SWIFT.PUT.ARCHIVE", touched{key: name, status: http.StatusCreated, size: i.Size, err: err})
	if errors.Is(err, storage.ErrInvalid) {
		return refuse(412) // the name became too long
	}
	return err
}

// restore does what DELETE means in a container with an archive: done says that the
// newest old version took the object's place.
func (c *call) restore(b *box, key, version string) (done bool, err error) {
	to, history, err := c.archiveOf(b)
	if err != nil || to == nil || version != "" {
		return false, err
	}
	if history {
		if err := c.keepOld(b, to, key); err != nil {
			return false, err
		}
		name := archivePrefix(key) + timestamp(c.h.cfg.Now())
		_, err := to.Put(c.ctx, name, strings.NewReader(""), storage.PutOptions{Meta: storage.Meta{ContentType: deletedType}})
		c.recordOther(to, "SWIFT.PUT.ARCHIVE", touched{key: name, status: http.StatusCreated, err: err})
		return false, err
	}
	return c.pop(b, to, key)
}

// pop brings the newest old version back. A mark of a deletion goes with the deletion that
// finds it, and what lies below it comes back, unless that is a mark as well.
func (c *call) pop(b, to *box, key string) (bool, error) {
	page, err := to.List(c.ctx, storage.ListOptions{Prefix: archivePrefix(key), Reverse: true, Limit: 2})
	if err != nil || len(page.Objects) == 0 {
		return false, err
	}
	old := page.Objects[0]
	if old.Meta.ContentType == deletedType {
		if _, err := b.Stat(c.ctx, key, storage.ReadOptions{}); err == nil {
			return false, nil // only what is there goes
		} else if !errors.Is(err, storage.ErrNoObject) {
			return false, err
		}
		if err := c.takeOld(to, old.Key, 0); err != nil {
			return false, err
		}
		if len(page.Objects) < 2 || page.Objects[1].Meta.ContentType == deletedType {
			return true, nil
		}
		old = page.Objects[1]
	}
	src, err := to.Open(c.ctx, old.Key, storage.ReadOptions{})
	if err != nil {
		return false, err
	}
	m := anew(old.Meta)
	if err := c.sealNew(b, &m); err != nil {
		return false, err
	}
	_, err = storage.Copy(c.ctx, b.Bucket, key, src, 0, old.Size, storage.PutOptions{Meta: m})
	_ = src.Close() // it was only read
	if err != nil {
		return false, err
	}
	return true, c.takeOld(to, old.Key, old.Size)
}

// takeOld removes an old version that took its object's place again.
func (c *call) takeOld(to *box, key string, size int64) error {
	_, err := to.Delete(c.ctx, key, storage.DeleteOptions{})
	c.recordOther(to, "SWIFT.DELETE.ARCHIVE", touched{key: key, status: http.StatusNoContent, size: size, err: err})
	return err
}
