package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
)

// getObject implements GetObject and HeadObject.
func (q *request) getObject() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	if q.r.Method == http.MethodHead {
		return q.headObject(version)
	}
	o, err := q.bucket.Open(q.ctx, q.key, storage.ReadOptions{Version: version, Once: q.s.once})
	if err != nil {
		return q.absent(err, version, iam.GetObject)
	}
	if o, err = q.assembled(o, q.rules, q.name, q.key, version); err != nil {
		return err
	}
	defer o.Close()
	info := o.Info()
	s, err := q.offer(&info, version)
	if err != nil {
		return err
	}
	return q.send(o, s)
}

func (q *request) headObject(version string) error {
	info, err := q.bucket.Stat(q.ctx, q.key, storage.ReadOptions{Version: version})
	if err != nil {
		return q.absent(err, version, iam.GetObject)
	}
	if !manifest.Plain(&info.Meta) {
		o, err := q.bucket.Open(q.ctx, q.key, storage.ReadOptions{Version: version})
		if err == nil {
			o, err = q.assembled(o, q.rules, q.name, q.key, version)
		}
		if err != nil {
			return err
		}
		defer o.Close()
		info = o.Info()
	}
	s, err := q.offer(&info, version)
	if err != nil {
		return err
	}
	return q.status(s.status())
}

func (s span) status() int {
	if s.part {
		return http.StatusPartialContent
	}
	return http.StatusOK
}

// offer decides what of an object is sent, to whom it may be, and writes the head.
func (q *request) offer(info *storage.Info, version string) (span, error) {
	if err := q.authoriseOn(versioned(iam.GetObject, version), q.key, info); err != nil {
		return span{}, err
	}
	if err := q.unlock(&info.Meta); err != nil {
		return span{}, err
	}
	if err := q.conditions().Check(info, true); err != nil {
		if errors.Is(err, storage.ErrNotModified) {
			q.set("Etag", `"`+info.ETag+`"`)
			q.set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
			q.showVersion(info.Version)
		}
		return span{}, err
	}
	s, err := q.wanted(info)
	if err != nil {
		return span{}, err
	}
	q.show(info)
	q.describe(q.w.Header(), info)
	if q.header("X-Amz-Checksum-Mode") == "ENABLED" && (!s.part || q.query.Has("partNumber")) {
		q.showSums(info)
	}
	if err := q.override(); err != nil {
		return span{}, err
	}
	q.set("Content-Length", strconv.FormatInt(s.n, 10))
	if s.part {
		q.set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", s.off, s.off+s.n-1, info.Size))
	}
	return s, nil
}

// wanted is the span that Range or partNumber asks for.
func (q *request) wanted(info *storage.Info) (span, error) {
	v, ok := q.query.Find("partNumber")
	if !ok {
		return q.span(info)
	}
	if q.header("Range") != "" {
		return span{}, fail("InvalidRequest", "Cannot specify both Range header and partNumber query parameter.")
	}
	n, err := partNumber(v)
	if err != nil {
		return span{}, err
	}
	p, err := partsOf(info)
	if err != nil {
		return span{}, err
	}
	if n > len(p.sizes) {
		return span{}, fail("InvalidPart", "The object has %d parts; there is no part %d.", len(p.sizes), n)
	}
	if info.Parts > 0 {
		q.set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(p.sizes)))
	}
	s := span{n: p.sizes[n-1], part: info.Size > 0}
	for _, before := range p.sizes[:n-1] {
		s.off += before
	}
	return s, nil
}

// showSums tells the checksums of the object, or of the part that was asked for.
func (q *request) showSums(info *storage.Info) {
	v := q.query.Get("partNumber")
	if v == "" || info.Parts == 0 {
		showChecksums(q.w.Header(), info)
		return
	}
	p, err := partsOf(info)
	n, err2 := partNumber(v)
	if err != nil || err2 != nil || n > len(p.sums) {
		return
	}
	part := storage.Info{}
	part.Meta.Checksums = map[string]string{p.algorithm: p.sums[n-1]}
	showChecksums(q.w.Header(), &part)
}

// overrides are the headers that a query may replace in an answer.
var overrides = []struct{ param, header string }{
	{"response-cache-control", "Cache-Control"},
	{"response-content-disposition", "Content-Disposition"},
	{"response-content-encoding", "Content-Encoding"},
	{"response-content-language", "Content-Language"},
	{"response-content-type", "Content-Type"},
	{"response-expires", "Expires"},
}

func (q *request) override() error {
	if len(q.query) == 0 {
		return nil
	}
	for _, o := range overrides {
		v, ok := q.query.Find(o.param)
		if !ok {
			continue
		}
		if q.auth == nil {
			return fail("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
		}
		q.set(o.header, v)
	}
	return nil
}

// absent is the answer where no object could be opened. Who may not list the bucket is
// not told what is in it.
func (q *request) absent(err error, version string, a iam.Action) error {
	switch {
	case sealError(err) != nil:
		if e := q.authorise(versioned(a, version)); e != nil {
			return e
		}
	case errors.Is(err, storage.ErrNoObject):
		if q.authoriseOn(iam.ListBucket, "", nil) != nil {
			return q.denied(versioned(a, version))
		}
		if errors.Is(err, storage.ErrDeleted) {
			q.tellMarker()
		}
	case errors.Is(err, storage.ErrNoVersion), errors.Is(err, storage.ErrDeleted):
		if e := q.authorise(versioned(a, version)); e != nil {
			return e
		}
		if errors.Is(err, storage.ErrDeleted) {
			q.set("Allow", http.MethodDelete)
			q.showVersion(version)
			q.tellMarkerTime(version)
			return fmt.Errorf("the version is a delete marker, which can only be deleted: %w", err)
		}
	}
	return err
}

// tellMarker tells the id of the delete marker that is a key's newest version.
func (q *request) tellMarker() {
	l, err := q.bucket.Versions(q.ctx, storage.ListOptions{Prefix: q.key, From: q.key, Limit: 1})
	if err == nil && len(l.Objects) == 1 && l.Objects[0].Key == q.key && l.Objects[0].Deleted {
		q.showVersion(l.Objects[0].Version)
	}
}

// tellMarkerTime tells when a delete marker that was asked for was made.
func (q *request) tellMarkerTime(version string) {
	o := storage.ListOptions{Prefix: q.key, From: q.key, Limit: pageMax}
	for {
		l, err := q.bucket.Versions(q.ctx, o)
		if err != nil {
			return // what is known is told without it
		}
		for i := range l.Objects {
			switch v := &l.Objects[i]; {
			case v.Key != q.key:
				return
			case v.Version == version:
				q.set("Last-Modified", v.Modified.UTC().Format(http.TimeFormat))
				return
			}
		}
		if !l.More {
			return
		}
		o.After, o.AfterID, o.From = l.Next, l.NextID, ""
	}
}

// versioned is the action that a policy names for a version that is asked for by id.
func versioned(a iam.Action, version string) iam.Action {
	if version == "" {
		return a
	}
	switch a {
	case iam.GetObject:
		return "s3:GetObjectVersion"
	case iam.DeleteObject:
		return "s3:DeleteObjectVersion"
	}
	return a
}
