package s3

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// removal is one object that shall be deleted, with what must be true of it.
type removal struct {
	key, version string
	match        []string  // ETags
	modified     time.Time // zero does not ask
	size         int64     // below 0 does not ask
}

// deleteObject implements DeleteObject.
func (q *request) deleteObject() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	rm := removal{key: q.key, version: version, match: tags(q.r.Header["If-Match"]), size: -1}
	if v := q.header("X-Amz-If-Match-Last-Modified-Time"); v != "" {
		if rm.modified = httpTime(v); rm.modified.IsZero() {
			return fail("InvalidArgument", "x-amz-if-match-last-modified-time must be an HTTP date, not %q.", v)
		}
	}
	if v := q.header("X-Amz-If-Match-Size"); v != "" {
		n, ok := digits(v)
		if !ok {
			return fail("InvalidArgument", "x-amz-if-match-size must be a number of bytes, not %q.", v)
		}
		rm.size = n
	}
	d, err := q.remove(rm)
	if err != nil {
		return err
	}
	q.showVersion(d.Version)
	if d.Marker {
		q.set("X-Amz-Delete-Marker", "true")
	}
	return q.status(http.StatusNoContent)
}

// remove deletes one object, if who asks may.
func (q *request) remove(rm removal) (storage.Deletion, error) {
	if err := q.authoriseOn(versioned(iam.DeleteObject, rm.version), rm.key, nil); err != nil {
		return storage.Deletion{}, err
	}
	cond := storage.Conditions{Match: rm.match}
	if err := q.inspect(&rm, &cond); err != nil {
		return storage.Deletion{}, err
	}
	d, err := q.bucket.Delete(q.ctx, rm.key, storage.DeleteOptions{Version: rm.version, If: cond, Guard: q.guardRemoval})
	if errors.Is(err, storage.ErrNoObject) {
		return storage.Deletion{}, nil // what is not there is deleted, whatever was asked of it
	}
	if !d.Found && !d.Marker {
		d.Version = rm.version // nothing but what was asked for
	}
	return d, err
}

// inspect looks at the object first, where something is asked that storage.Conditions
// cannot say. What was seen is then a condition by its ETag.
func (q *request) inspect(rm *removal, cond *storage.Conditions) error {
	asked := !rm.modified.IsZero() || rm.size >= 0
	if !asked {
		return nil
	}
	info, err := q.bucket.Stat(q.ctx, rm.key, storage.ReadOptions{Version: rm.version})
	if err != nil {
		return nil // Delete says what there is to say
	}
	if rm.size >= 0 && rm.size != info.Size {
		return fail("PreconditionFailed", "The object has %d bytes, not %d.", info.Size, rm.size).with("Condition", "If-Match-Size")
	}
	if !rm.modified.IsZero() && !info.Modified.Truncate(time.Second).Equal(rm.modified.Truncate(time.Second)) {
		return fail("PreconditionFailed", "The object was modified at %s.", info.Modified.UTC().Format(http.TimeFormat)).with("Condition", "If-Match-Last-Modified-Time")
	}
	if len(cond.Match) == 0 {
		cond.Match = []string{info.ETag}
	}
	return nil
}

const (
	deletesMax     = 1000
	deletesAtATime = 16 // so that they share syncs
)

type deleteBody struct {
	Quiet  bool
	Object []struct {
		Key, VersionId, ETag, LastModifiedTime, Size string
	}
}

// deleteObjects implements DeleteObjects. Each object is judged for itself.
func (q *request) deleteObjects() error {
	var body deleteBody
	if err := q.decode(&body); err != nil {
		return err
	}
	if len(body.Object) == 0 || len(body.Object) > deletesMax {
		return fail("MalformedXML", "Delete takes 1 to %d objects, not %d.", deletesMax, len(body.Object))
	}
	for i := range body.Object {
		if body.Object[i].Key == "" {
			return fail("UserKeyMustBeSpecified", "Object %d of the list has no Key.", i+1)
		}
	}
	out := make([]storage.Deletion, len(body.Object))
	errs := make([]error, len(body.Object))
	var wg sync.WaitGroup
	slots := make(chan struct{}, deletesAtATime)
	for i := range body.Object {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			rm, err := body.removal(i)
			if err == nil {
				out[i], err = q.remove(rm)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i := range body.Object {
		q.recordOther(&q.info, "BATCH.DELETE.OBJECT", touched{key: body.Object[i].Key, version: body.Object[i].VersionId, status: http.StatusNoContent, size: -1, err: errs[i]})
	}
	x := newXML().root("DeleteResult")
	for i := range body.Object {
		o := &body.Object[i]
		if errs[i] == nil {
			if !body.Quiet {
				writeDeleted(x, o.Key, o.VersionId, out[i])
			}
			continue
		}
		e := asError(errs[i])
		if e.Status >= http.StatusInternalServerError {
			q.s.log.Error("delete failed", "id", q.id, "bucket", q.name, "key", o.Key, "error", errs[i])
		}
		x.open("Error").text("Key", o.Key).some("VersionId", o.VersionId).text("Code", e.Code).text("Message", e.Message).close("Error")
	}
	return q.reply(x.close("DeleteResult"))
}

func (b *deleteBody) removal(i int) (removal, error) {
	o := &b.Object[i]
	rm := removal{key: o.Key, version: o.VersionId, match: tags([]string{o.ETag}), size: -1}
	if len(o.Key) > storage.KeyBytesMax {
		return rm, fail("KeyTooLongError", "A key has at most %d bytes.", storage.KeyBytesMax)
	}
	if err := storage.CheckKey(o.Key); err != nil {
		return rm, err
	}
	if v := strings.TrimSpace(o.Size); v != "" {
		n, ok := digits(v)
		if !ok {
			return rm, fail("InvalidArgument", "Size must be a number of bytes, not %q.", v)
		}
		rm.size = n
	}
	if v := strings.TrimSpace(o.LastModifiedTime); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			if t = httpTime(v); t.IsZero() {
				return rm, fail("InvalidArgument", "LastModifiedTime must be a date, not %q.", v)
			}
		}
		rm.modified = t
	}
	return rm, nil
}

func writeDeleted(x *answer, key, version string, d storage.Deletion) {
	x.open("Deleted").text("Key", key).some("VersionId", version)
	if d.Marker {
		x.text("DeleteMarker", strconv.FormatBool(true)).some("DeleteMarkerVersionId", d.Version)
	}
	x.close("Deleted")
}
