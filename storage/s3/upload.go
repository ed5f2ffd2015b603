package s3

import (
	"net/http"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

// createUpload implements CreateMultipartUpload.
func (q *request) createUpload() error {
	m, err := q.meta()
	if err != nil {
		return err
	}
	if err := q.sealNew(&m); err != nil {
		return err
	}
	a, kind, err := q.uploadChecksum()
	if err != nil {
		return err
	}
	if a != nil {
		m.System[systemChecksum] = a.name + "/" + kind
		q.set("X-Amz-Checksum-Algorithm", a.name)
		q.set("X-Amz-Checksum-Type", kind)
	}
	u, err := q.bucket.Begin(q.ctx, q.key, m)
	if err != nil {
		return err
	}
	q.describeNew(q.w.Header(), &storage.Info{Key: q.key, Meta: m})
	x := newXML().root("InitiateMultipartUploadResult")
	x.text("Bucket", q.name).text("Key", q.key).text("UploadId", u.ID)
	return q.reply(x.close("InitiateMultipartUploadResult"))
}

// uploadChecksum is what the parts of an upload shall bear; nil is nothing.
func (q *request) uploadChecksum() (*algorithm, string, error) {
	name, kind := q.header("X-Amz-Checksum-Algorithm"), q.header("X-Amz-Checksum-Type")
	if name == "" {
		if kind != "" {
			return nil, "", fail("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil, "", nil
	}
	a := algorithmOf(name)
	if a == nil {
		return nil, "", fail("InvalidRequest", "Checksum algorithm %q is not one of CRC32, CRC32C, CRC64NVME, SHA1 and SHA256.", name)
	}
	if kind == "" {
		if kind = composite; a.name == "CRC64NVME" {
			kind = fullObject
		}
	}
	switch {
	case kind != composite && kind != fullObject:
		return nil, "", fail("InvalidRequest", "Value for x-amz-checksum-type header is invalid: it is COMPOSITE or FULL_OBJECT.")
	case kind == fullObject && a.poly == 0, kind == composite && a.name == "CRC64NVME":
		return nil, "", fail("InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(a.name))
	}
	return a, kind, nil
}

// upload finds the upload that uploadId names.
func (q *request) upload() (storage.Upload, error) {
	id := q.query.Get("uploadId")
	o := storage.ListOptions{Prefix: q.key, From: q.key, Limit: 100}
	for {
		l, err := q.bucket.Uploads(q.ctx, o)
		if err != nil {
			return storage.Upload{}, err
		}
		for _, u := range l.Uploads {
			if u.Key == q.key && u.ID == id {
				return u, nil
			}
		}
		if !l.More || l.Next != q.key {
			return storage.Upload{}, noUpload()
		}
		o.After, o.AfterID, o.From = l.Next, l.NextID, ""
	}
}

func noUpload() error {
	return fail("NoSuchUpload", "The specified upload does not exist: its id may be wrong, or it is completed or aborted.")
}

// uploadPart implements UploadPart.
func (q *request) uploadPart() error {
	if err := q.lengthGiven(); err != nil {
		return err
	}
	n, err := partNumber(q.query.Get("partNumber"))
	if err != nil {
		return err
	}
	u, err := q.upload()
	if err != nil {
		return err
	}
	if err := q.unlockUpload(&u); err != nil {
		return err
	}
	p, err := q.payload()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.forUpload(&u); err != nil {
		return err
	}
	if err := q.room(p.size); err != nil {
		return err
	}
	part, err := q.bucket.PutPart(q.ctx, q.key, u.ID, n, p, storage.PutOptions{
		Size: p.room(), MD5: p.md5,
		Seal: func(m *storage.Meta) error { p.seal(m); return nil },
	})
	if err != nil {
		return err
	}
	q.set("Etag", `"`+part.ETag+`"`)
	info := storage.Info{Meta: storage.Meta{Checksums: part.Checksums}}
	showChecksums(q.w.Header(), &info)
	delete(q.w.Header(), "X-Amz-Checksum-Type")
	q.describeNew(q.w.Header(), &storage.Info{Key: q.key, Meta: u.Meta})
	return q.status(http.StatusOK)
}

// forUpload makes a part's checksum the one that its upload has.
func (p *payload) forUpload(u *storage.Upload) error {
	name, _, _ := strings.Cut(u.Meta.System[systemChecksum], "/")
	a := algorithmOf(name)
	switch {
	case a == nil || p.sum.algorithm == a:
	case p.sum.algorithm == nil:
		p.sum.algorithm, p.hash = a, a.make()
	default:
		return fail("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s.",
			strings.ToLower(a.name), strings.ToLower(p.sum.algorithm.name))
	}
	return nil
}

// abortUpload implements AbortMultipartUpload.
func (q *request) abortUpload() error {
	if err := q.bucket.Abort(q.ctx, q.key, q.query.Get("uploadId")); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

// listParts implements ListParts.
func (q *request) listParts() error {
	limit, err := q.limit("max-parts")
	if err != nil {
		return err
	}
	after := int64(0)
	if v := q.query.Get("part-number-marker"); v != "" {
		n, ok := digits(v)
		if !ok {
			return fail("InvalidArgument", "part-number-marker must be a number, not %q.", v)
		}
		after = min(n, storage.PartsMax)
	}
	u, err := q.upload()
	if err != nil {
		return err
	}
	var list []storage.Part
	more := false
	if limit > 0 {
		if list, more, err = q.bucket.Parts(q.ctx, q.key, u.ID, int(after), limit); err != nil {
			return err
		}
	}
	owner := q.ownerOf(&storage.Info{Meta: u.Meta})
	x := newXML().root("ListPartsResult")
	x.text("Bucket", q.name).text("Key", q.key).text("UploadId", u.ID)
	x.owner("Initiator", owner, q.s.display(q.ctx, owner)).owner("Owner", owner, q.s.display(q.ctx, owner))
	x.text("StorageClass", classOf(&u.Meta)).number("PartNumberMarker", after)
	last := 0
	if len(list) > 0 {
		last = list[len(list)-1].Number
	}
	x.number("NextPartNumberMarker", int64(last))
	x.number("MaxParts", int64(limit)).flag("IsTruncated", more)
	if a, kind, ok := strings.Cut(u.Meta.System[systemChecksum], "/"); ok {
		x.text("ChecksumAlgorithm", a).text("ChecksumType", kind)
	}
	for i := range list {
		p := &list[i]
		x.open("Part").number("PartNumber", int64(p.Number)).time("LastModified", p.Modified)
		x.text("ETag", `"`+p.ETag+`"`).number("Size", p.Size)
		writeChecksums(x, p.Checksums)
		x.close("Part")
	}
	return q.reply(x.close("ListPartsResult"))
}

// listUploads implements ListMultipartUploads.
func (q *request) listUploads() error {
	limit, err := q.limit("max-uploads")
	if err != nil {
		return err
	}
	e, err := q.encoder()
	if err != nil {
		return err
	}
	o := storage.ListOptions{
		Prefix: q.query.Get("prefix"), Delimiter: q.query.Get("delimiter"),
		After: q.query.Get("key-marker"), AfterID: q.query.Get("upload-id-marker"), Limit: limit,
	}
	if o.After == "" {
		o.AfterID = ""
	}
	var l storage.Listing
	if limit > 0 {
		if l, err = q.bucket.Uploads(q.ctx, o); err != nil {
			return err
		}
	}
	x := newXML().root("ListMultipartUploadsResult")
	x.text("Bucket", q.name).text("KeyMarker", e.text(o.After)).text("UploadIdMarker", o.AfterID)
	if n := len(l.Uploads); !l.More && n > 0 { // S3 tells where the last page ends as well
		l.Next, l.NextID = l.Uploads[n-1].Key, l.Uploads[n-1].ID
	}
	x.text("NextKeyMarker", e.text(l.Next)).text("NextUploadIdMarker", l.NextID)
	x.some("Delimiter", e.text(o.Delimiter)).text("Prefix", e.text(o.Prefix))
	x.number("MaxUploads", int64(limit)).some("EncodingType", e.kind()).flag("IsTruncated", l.More)
	for i := range l.Uploads {
		u := &l.Uploads[i]
		owner := q.ownerOf(&storage.Info{Meta: u.Meta})
		x.open("Upload").text("Key", e.text(u.Key)).text("UploadId", u.ID)
		x.owner("Initiator", owner, q.s.display(q.ctx, owner)).owner("Owner", owner, q.s.display(q.ctx, owner))
		x.text("StorageClass", classOf(&u.Meta)).time("Initiated", u.Begun)
		if a, kind, ok := strings.Cut(u.Meta.System[systemChecksum], "/"); ok {
			x.text("ChecksumAlgorithm", a).text("ChecksumType", kind)
		}
		x.close("Upload")
	}
	writePrefixes(x, e, l.Prefixes)
	return q.reply(x.close("ListMultipartUploadsResult"))
}

// limit reads how many entries a page may have: at most 1,000.
func (q *request) limit(param string) (int, error) {
	v, ok := q.query.Find(param)
	if !ok || v == "" {
		return pageMax, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		return 0, fail("InvalidArgument", "Argument %s must be an integer between 0 and 2147483647, not %q.", param, v).
			with("ArgumentName", param).with("ArgumentValue", v)
	}
	return int(min(n, pageMax)), nil
}

const pageMax = 1000

// classOf is an object's storage class.
func classOf(m *storage.Meta) string {
	if c := m.System[systemClass]; c != "" {
		return c
	}
	return "STANDARD"
}
