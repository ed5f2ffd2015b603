package s3

import (
	"net/http"

	"polder.dev/polder/storage"
)

// putObject implements PutObject.
func (q *request) putObject() error {
	if err := q.lengthGiven(); err != nil {
		return err
	}
	if q.query.Has("versionId") {
		return fail("InvalidArgument", "This operation does not accept a version id.")
	}
	m, err := q.meta()
	if err != nil {
		return err
	}
	if err := q.sealNew(&m); err != nil {
		return err
	}
	if name := q.header(storage.HandoverHeader); name != "" {
		return q.putHandover(m, name)
	}
	p, err := q.payload()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := q.room(p.size); err != nil {
		return err
	}
	info, err := q.bucket.Put(q.ctx, q.key, p, storage.PutOptions{
		Meta: m, Size: p.room(), MD5: p.md5, If: q.writeConditions(),
		Seal: func(m *storage.Meta) error { p.seal(m); return nil },
	})
	if err != nil {
		return err
	}
	return q.made(&info)
}

// made answers for an object that was stored from a body.
func (q *request) made(info *storage.Info) error {
	q.set("Etag", `"`+info.ETag+`"`)
	q.showNew(info)
	if len(info.Meta.Checksums) > 0 {
		showChecksums(q.w.Header(), info)
	}
	q.describeNew(q.w.Header(), info)
	return q.status(http.StatusOK)
}

// lengthGiven wants a body's length to be known, or that it comes in HTTP's chunks.
func (q *request) lengthGiven() error {
	if q.r.ContentLength == 0 && q.r.Header["Content-Length"] == nil {
		return fail("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	return nil
}
