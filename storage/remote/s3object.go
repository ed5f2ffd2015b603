package remote

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/s3utils"

	"polder.dev/polder/storage"
)

const userHeader = "X-Amz-Meta-"

func (s *s3) makeContainer(ctx context.Context, name string) error {
	if err := s3utils.CheckValidBucketNameStrict(name); err != nil {
		return fmt.Errorf("%w: %q is no name of an S3 bucket: %w", storage.ErrInvalid, name, err)
	}
	c := call{method: http.MethodPut, place: place{container: name}}
	if s.cfg.Region != "us-east-1" {
		doc := fmt.Appendf(nil, `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>`, s.cfg.Region)
		c.body = &payload{bytes: doc, size: int64(len(doc))}
	}
	// In us-east-1 Amazon says nothing when the bucket is there already.
	if _, err := s.container(ctx, name); err == nil {
		return storage.ErrBucketExists
	}
	_, err := s.ask(ctx, c, nil)
	return err
}

func (s *s3) dropContainer(ctx context.Context, name string) error {
	_, err := s.ask(ctx, call{method: http.MethodDelete, place: place{container: name}, missing: storage.ErrNoBucket}, nil)
	return err
}

func (s *s3) container(ctx context.Context, name string) (container, error) {
	_, err := s.ask(ctx, call{method: http.MethodHead, place: place{container: name}, missing: storage.ErrNoBucket}, nil)
	return container{name: name}, err
}

func (s *s3) containers(ctx context.Context) ([]container, error) {
	var doc struct {
		Buckets []struct {
			Name         string
			CreationDate time.Time
		} `xml:"Buckets>Bucket"`
	}
	if _, err := s.ask(ctx, call{method: http.MethodGet}, &doc); err != nil {
		return nil, err
	}
	var out []container
	for _, b := range doc.Buckets {
		out = append(out, container{name: b.Name, created: b.CreationDate})
	}
	return out, nil
}

func (s *s3) setVersioning(ctx context.Context, name string, on bool) error {
	state := "Suspended"
	if on {
		state = "Enabled"
	}
	doc := fmt.Appendf(nil, `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>%s</Status></VersioningConfiguration>`, state)
	_, err := s.ask(ctx, call{method: http.MethodPut, place: place{container: name}, query: url.Values{"versioning": {""}}, body: &payload{bytes: doc, size: int64(len(doc)), md5: sumOf(doc)}}, nil)
	return err
}

func versionQuery(version string) url.Values {
	if version == "" {
		return nil
	}
	return url.Values{"versionId": {version}}
}

func (s *s3) head(ctx context.Context, p place, version string) (entry, error) {
	h, err := s.ask(ctx, call{method: http.MethodHead, place: p, query: versionQuery(version), missing: storage.ErrNoObject}, nil)
	if err != nil {
		return entry{}, err
	}
	return entryOf(p.key, h), nil
}

// entryOf reads an answer's headers.
func entryOf(key string, h http.Header) entry {
	e := entry{key: key, tag: bareTag(h.Get("Etag")), version: h.Get("X-Amz-Version-Id"), latest: true}
	e.size, _ = strconv.ParseInt(h.Get("Content-Length"), 10, 64) // a HEAD without one is of nothing
	e.modified, _ = http.ParseTime(h.Get("Last-Modified"))        // what cannot be read is unknown
	// Under a key of KMS or of a client's, the ETag is no MD5.
	e.plain = isMD5(e.tag) && !strings.HasPrefix(h.Get("X-Amz-Server-Side-Encryption"), "aws:kms") && h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == ""
	e.words = wordsOf(h, userHeader)
	return e
}

func wordsOf(h http.Header, prefix string) words {
	w := words{contentType: h.Get("Content-Type"), headers: map[string]string{}, user: map[string]string{}}
	for k, v := range h {
		if slices.Contains(native, k) {
			w.headers[k] = v[0]
		}
		if name, ok := strings.CutPrefix(k, prefix); ok {
			w.user[strings.ToLower(name)] = v[0]
		}
	}
	return w
}

func headOf(w words, d demand, prefix string) http.Header {
	h := http.Header{}
	if w.contentType != "" {
		h.Set("Content-Type", w.contentType)
	}
	for k, v := range w.headers {
		h.Set(k, v)
	}
	for k, v := range w.user {
		h.Set(prefix+k, v)
	}
	setDemand(h, d)
	return h
}

func setDemand(h http.Header, d demand) {
	if d.absent {
		h.Set("If-None-Match", "*")
	}
	if d.tag != "" {
		h.Set("If-Match", `"`+d.tag+`"`)
	}
}

func bareTag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }

func (s *s3) get(ctx context.Context, p place, version, tag string, off, n int64) (io.ReadCloser, error) {
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+n-1)}, "If-Match": {`"` + tag + `"`}}
	res, err := s.do(ctx, call{method: http.MethodGet, place: p, query: versionQuery(version), head: h, missing: storage.ErrNoObject})
	if err != nil {
		return nil, err
	}
	return ranged(res, off, n, tag)
}

// ranged makes sure that an answer is what was asked for.
func ranged(res *http.Response, off, n int64, tag string) (io.ReadCloser, error) {
	ok := res.StatusCode == http.StatusPartialContent && strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", off, off+n-1))
	if res.StatusCode == http.StatusOK {
		ok = off == 0 && res.ContentLength == n
	}
	if got := bareTag(res.Header.Get("Etag")); ok && got != tag {
		drain(res)
		return nil, fmt.Errorf("%w: the ETag is %s, and was %s", storage.ErrPrecondition, got, tag)
	}
	if !ok {
		_ = res.Body.Close() // it may be long
		return nil, &fault{status: res.StatusCode, text: "bytes " + res.Header.Get("Content-Range"), kind: storage.ErrRange}
	}
	return res.Body, nil
}

func (s *s3) put(ctx context.Context, p place, b payload, w words, d demand) (entry, error) {
	h, err := s.ask(ctx, call{method: http.MethodPut, place: p, head: headOf(w, d, userHeader), body: &b, missing: storage.ErrNoBucket}, nil)
	if err != nil {
		return entry{}, err
	}
	e := entryOf(p.key, h)
	e.size, e.words = b.size, w
	return e, nil
}

// source names what is copied.
func copySource(p place, e entry) http.Header {
	v := s3utils.EncodePath("/" + p.container + "/" + p.key)
	if e.version != "" && e.version != storage.NullVersion {
		v += "?versionId=" + url.QueryEscape(e.version)
	}
	return http.Header{"X-Amz-Copy-Source": {v}, "X-Amz-Copy-Source-If-Match": {`"` + e.tag + `"`}}
}

func (s *s3) rewrite(ctx context.Context, p place, e entry, w words) error {
	var sizes []int64
	for left := e.size; e.size > s.ability().copyMax && left > 0; left -= copyPartBytes {
		sizes = append(sizes, min(left, copyPartBytes))
	}
	_, err := s.copy(ctx, p, e, p, w, demand{}, sizes)
	return err
}

func (s *s3) copy(ctx context.Context, from place, e entry, to place, w words, d demand, sizes []int64) (entry, error) {
	if len(sizes) > 0 {
		return s.copyParts(ctx, from, e, to, w, d, sizes)
	}
	h := headOf(w, d, userHeader)
	for k, v := range copySource(from, e) {
		h[k] = v
	}
	h.Set("X-Amz-Metadata-Directive", "REPLACE")
	var doc struct {
		ETag         string
		LastModified time.Time
	}
	head, err := s.ask(ctx, call{method: http.MethodPut, place: to, head: h}, &doc)
	if err != nil {
		return entry{}, err
	}
	tag := bareTag(doc.ETag)
	return entry{key: to.key, size: e.size, tag: tag, plain: isMD5(tag), modified: doc.LastModified, version: head.Get("X-Amz-Version-Id"), latest: true, words: w}, nil
}

func (s *s3) remove(ctx context.Context, p place, version string, d demand) (removal, error) {
	h := http.Header{}
	setDemand(h, d)
	head, err := s.ask(ctx, call{method: http.MethodDelete, place: p, query: versionQuery(version), head: h, missing: storage.ErrNoObject}, nil)
	if err != nil {
		return removal{}, err
	}
	return removal{version: head.Get("X-Amz-Version-Id"), marker: head.Get("X-Amz-Delete-Marker") == "true"}, nil
}

// listed is an object in a listing.
type listed struct {
	XMLName      xml.Name
	Key          string
	LastModified time.Time
	ETag         string
	Size         int64
	VersionId    string //nolint:revive // S3's name
	IsLatest     bool
}

func (l listed) entry(key string) entry {
	tag := bareTag(l.ETag)
	return entry{key: key, size: l.Size, tag: tag, plain: isMD5(tag), modified: l.LastModified, version: l.VersionId, latest: l.IsLatest || l.VersionId == "", marker: l.XMLName.Local == "DeleteMarker"}
}
