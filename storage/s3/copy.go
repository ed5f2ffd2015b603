package s3

import (
	"encoding/base64"

	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/residency"
)

// source is the object that x-amz-copy-source names, open.
type source struct {
	storage.Object
	info        storage.Info
	bucket      storage.Bucket
	version     string // that was asked for
	hasVersions bool
}

// source opens it, if who asks may read it and the conditions on it hold.
func (q *request) source() (s *source, err error) {
	name, key, version, err := parseSource(q.header("X-Amz-Copy-Source"))
	if err != nil {
		return nil, err
	}
	b, set, rules, err := q.s.lookup(q.ctx, q.who.Account, name)
	if err != nil {
		return nil, err
	}
	read := touched{key: key, version: version, status: http.StatusOK, size: -1}
	defer func() {
		if read.err = err; s != nil {
			read.size = s.info.Size
		}
		operation := "REST.COPY.OBJECT_GET"
		if q.query.Has("uploadId") {
			operation = "REST.COPY.PART_GET"
		}
		q.recordOther(&set, operation, read)
	}()
	if want := q.header("X-Amz-Source-Expected-Bucket-Owner"); want != "" && want != rules.Owner {
		return nil, fail("AccessDenied", "The source bucket is not account %s's.", want)
	}
	from, to := residency.Bucket{Name: name, Residency: set.Settings.Residency}, residency.Bucket{Name: q.name, Residency: q.info.Settings.Residency}
	if err := residency.Flow(from, to); err != nil {
		return nil, err
	}
	if b, err = q.sourceBucket(b); err != nil {
		return nil, err
	}
	o, err := b.Open(q.ctx, key, storage.ReadOptions{Version: version})
	if err != nil {
		if e := q.authoriseIn(rules, name, versioned(iam.GetObject, version), key, nil); e != nil && q.authoriseIn(rules, name, iam.ListBucket, "", nil) != nil {
			return nil, e
		}
		return nil, err
	}
	if o, err = q.assembled(o, rules, name, key, version); err != nil {
		return nil, err
	}
	s = &source{Object: o, info: o.Info(), bucket: b, version: version, hasVersions: set.Settings.Versioning != storage.Unversioned}
	err = q.authoriseIn(rules, name, versioned(iam.GetObject, version), key, &s.info)
	if err == nil {
		err = q.sourceConditions().Check(&s.info, false)
	}
	if err == nil && !q.sourceModified(&s.info) {
		err = fail("PreconditionFailed", "The source was not modified since x-amz-copy-source-if-modified-since.")
	}
	if err != nil {
		_ = o.Close()
		return nil, err
	}
	return s, nil
}

// parseSource reads [/]BUCKET/KEY[?versionId=ID], where all but the query is encoded as
// in a URL.
func parseSource(v string) (bucket, key, version string, err error) {
	bad := fail("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey, encoded as in a URL.")
	path := v
	if i := strings.LastIndex(v, "?versionId="); i >= 0 {
		path, version = v[:i], v[i+len("?versionId="):]
		if version == "" {
			return "", "", "", fail("InvalidArgument", "Version id cannot be the empty string.")
		}
	}
	path, e := url.PathUnescape(path)
	if e != nil {
		return "", "", "", bad
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || bucket == "" || storage.CheckKey(key) != nil {
		return "", "", "", bad
	}
	return bucket, key, version, nil
}

// sourceConditions are x-amz-copy-source-if-*, of which none is one of reading: a copy
// whose source is as it was fails.
func (q *request) sourceConditions() storage.Conditions {
	return storage.Conditions{
		Match:           tags(q.r.Header["X-Amz-Copy-Source-If-Match"]),
		NoneMatch:       tags(q.r.Header["X-Amz-Copy-Source-If-None-Match"]),
		UnmodifiedSince: httpTime(q.header("X-Amz-Copy-Source-If-Unmodified-Since")),
	}
}

func (q *request) sourceModified(info *storage.Info) bool {
	since := httpTime(q.header("X-Amz-Copy-Source-If-Modified-Since"))
	return since.IsZero() || q.r.Header["X-Amz-Copy-Source-If-None-Match"] != nil || info.Modified.Unix() > since.Unix()
}

// copyObject implements CopyObject.
func (q *request) copyObject() error {
	src, err := q.source()
	if err != nil {
		return err
	}
	defer src.Close()
	if src.info.Size > objectBytesMax {
		return fail("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d. Copy it in parts.", int64(objectBytesMax))
	}
	if err := q.room(src.info.Size); err != nil {
		return err
	}
	m, replaced, err := q.copiedMeta(&src.info)
	if err != nil {
		return err
	}
	itself := src.bucket.Name() == q.bucket.Name() && src.info.Key == q.key
	if itself && !replaced && src.version == "" {
		return fail("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if err := q.sealNew(&m); err != nil {
		return err
	}
	body, err := q.copied(src, 0, src.info.Size, src.info.Meta.Checksums)
	if err != nil {
		return err
	}
	info, err := q.bucket.Put(q.ctx, q.key, body, storage.PutOptions{
		Meta: m, Size: src.info.Size, If: q.writeConditions(),
		Seal: func(m *storage.Meta) error { body.seal(m); return nil },
	})
	if err != nil {
		return err
	}
	q.showNew(&info)
	src.tell(q)
	q.describeNew(q.w.Header(), &info)
	x := newXML().root("CopyObjectResult")
	x.time("LastModified", info.Modified).text("ETag", `"`+info.ETag+`"`)
	writeChecksums(x, info.Meta.Checksums)
	return q.reply(x.close("CopyObjectResult"))
}

// tell says which version was copied.
func (s *source) tell(q *request) {
	if s.hasVersions {
		q.set("X-Amz-Copy-Source-Version-Id", s.info.Version)
	}
}

// copiedMeta is the metadata of the copy: the source's, or that of the request where a
// directive says REPLACE. replaced says that something is not the source's.
func (q *request) copiedMeta(src *storage.Info) (storage.Meta, bool, error) {
	m, err := q.meta()
	if err != nil {
		return m, false, err
	}
	replace, err := q.directive("X-Amz-Metadata-Directive")
	if err != nil {
		return m, false, err
	}
	retag, err := q.directive("X-Amz-Tagging-Directive")
	if err != nil {
		return m, false, err
	}
	if !replace {
		m.ContentType, m.Headers, m.User = src.Meta.ContentType, src.Meta.Headers, src.Meta.User
	}
	if !retag {
		m.Tags = src.Meta.Tags
	}
	changed := replace || retag || q.header(headerRedirect) != "" || q.header("X-Amz-Server-Side-Encryption") != ""
	if c := q.header("X-Amz-Storage-Class"); c != "" && c != classOf(&src.Meta) {
		changed = true
	}
	return m, changed, nil
}

// directive reads COPY or REPLACE.
func (q *request) directive(header string) (replace bool, err error) {
	switch v := q.header(header); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		return false, fail("InvalidArgument", "%s must be COPY or REPLACE, not %q.", strings.ToLower(header), v)
	}
}

// copied is a source's bytes on their way, with the checksum that the copy shall have.
type copied struct {
	io.Reader
	algorithm *algorithm
	hash      hash.Hash
}

// copied prepares to read bytes of a source. The copy has the checksum that the request
// names, or else one of the same algorithm as before.
func (q *request) copied(s *source, off, n int64, before map[string]string) (*copied, error) {
	c := &copied{Reader: storage.Reader(s, off, n)}
	for _, a := range algorithms {
		if before[a.name] != "" {
			c.algorithm = a
		}
	}
	if v := q.header("X-Amz-Checksum-Algorithm"); v != "" {
		if c.algorithm = algorithmOf(v); c.algorithm == nil {
			return nil, fail("InvalidRequest", "Checksum algorithm %q is not one of CRC32, CRC32C, CRC64NVME, SHA1 and SHA256.", v)
		}
	}
	if c.algorithm != nil {
		c.hash = c.algorithm.make()
		c.Reader = io.TeeReader(c.Reader, c.hash)
	}
	return c, nil
}

func (c *copied) seal(m *storage.Meta) {
	if c.algorithm != nil {
		m.Checksums = map[string]string{c.algorithm.name: base64.StdEncoding.EncodeToString(c.hash.Sum(nil))}
	}
}

// uploadPartCopy implements UploadPartCopy.
func (q *request) uploadPartCopy() error {
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
	src, err := q.source()
	if err != nil {
		return err
	}
	defer src.Close()
	off, length := int64(0), src.info.Size
	if v := q.header("X-Amz-Copy-Source-Range"); v != "" {
		if off, length, err = copyRange(v, src.info.Size); err != nil {
			return err
		}
	}
	if length > objectBytesMax {
		return fail("InvalidRequest", "A part has at most %d bytes; copy a range.", int64(objectBytesMax))
	}
	if err := q.room(length); err != nil {
		return err
	}
	name, _, _ := strings.Cut(u.Meta.System[systemChecksum], "/")
	body, err := q.copied(src, off, length, map[string]string{name: "as the upload"})
	if err != nil {
		return err
	}
	part, err := q.bucket.PutPart(q.ctx, q.key, u.ID, n, body, storage.PutOptions{
		Size: length,
		Seal: func(m *storage.Meta) error { body.seal(m); return nil },
	})
	if err != nil {
		return err
	}
	src.tell(q)
	x := newXML().root("CopyPartResult")
	x.time("LastModified", part.Modified).text("ETag", `"`+part.ETag+`"`)
	writeChecksums(x, part.Checksums)
	return q.reply(x.close("CopyPartResult"))
}

// copyRange reads bytes=FIRST-LAST, which must lie within the source.
func copyRange(v string, size int64) (off, n int64, err error) {
	first, last, ok := parseRange(v)
	if !ok || first < 0 || last < 0 || strings.HasPrefix(v, "bytes=-") {
		return 0, 0, fail("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy.")
	}
	if last >= size {
		return 0, 0, fail("InvalidRange", "Range specified is not valid for source object of size: %d.", size)
	}
	return first, last - first + 1, nil
}
