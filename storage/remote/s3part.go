package remote

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"polder.dev/polder/storage"
)

func (s *s3) begin(ctx context.Context, p place, w words, _ bool) (string, error) {
	var doc struct {
		UploadId string //nolint:revive // S3's name
	}
	_, err := s.ask(ctx, call{method: http.MethodPost, place: p, query: url.Values{"uploads": {""}}, head: headOf(w, demand{}, userHeader), missing: storage.ErrNoBucket}, &doc)
	return doc.UploadId, err
}

func partQuery(id string, number int) url.Values {
	return url.Values{"uploadId": {id}, "partNumber": {strconv.Itoa(number)}}
}

func (s *s3) part(ctx context.Context, p place, id string, number int, b payload) (storage.Part, error) {
	h, err := s.ask(ctx, call{method: http.MethodPut, place: p, query: partQuery(id, number), body: &b, missing: storage.ErrNoUpload}, nil)
	if err != nil {
		return storage.Part{}, err
	}
	at, _ := http.ParseTime(h.Get("Date")) // a part's time is told nowhere else
	return storage.Part{Number: number, Size: b.size, ETag: bareTag(h.Get("Etag")), Modified: at}, nil
}

func (s *s3) parts(ctx context.Context, p place, id string, after, limit int) ([]storage.Part, bool, error) {
	v := url.Values{"uploadId": {id}, "part-number-marker": {strconv.Itoa(after)}}
	if limit > 0 {
		v.Set("max-parts", strconv.Itoa(min(limit, 1000)))
	}
	var doc struct {
		IsTruncated bool
		Part        []struct {
			PartNumber   int
			Size         int64
			ETag         string
			LastModified time.Time
		}
	}
	if _, err := s.ask(ctx, call{method: http.MethodGet, place: p, query: v, missing: storage.ErrNoUpload}, &doc); err != nil {
		return nil, false, err
	}
	var out []storage.Part
	for _, q := range doc.Part {
		out = append(out, storage.Part{Number: q.PartNumber, Size: q.Size, ETag: bareTag(q.ETag), Modified: q.LastModified})
	}
	return out, doc.IsTruncated, nil
}

type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	NS      string   `xml:"xmlns,attr"`
	Part    []completed
}

type completed struct {
	PartNumber int
	ETag       string
}

func (s *s3) finish(ctx context.Context, p place, id string, parts []storage.Part, w words, d demand) (entry, error) {
	c := completion{NS: "http://s3.amazonaws.com/doc/2006-03-01/"}
	size := int64(0)
	for _, q := range parts {
		c.Part = append(c.Part, completed{q.Number, `"` + q.ETag + `"`})
		size += q.Size
	}
	raw, err := xml.Marshal(c)
	if err != nil {
		return entry{}, fmt.Errorf("naming parts: %w", err)
	}
	h := http.Header{"Content-Type": {"application/xml"}}
	setDemand(h, d)
	var doc struct{ ETag string }
	head, err := s.ask(ctx, call{method: http.MethodPost, place: p, query: url.Values{"uploadId": {id}}, head: h, body: &payload{bytes: raw, size: int64(len(raw))}, missing: storage.ErrNoUpload}, &doc)
	if err != nil {
		return entry{}, err
	}
	return entry{key: p.key, size: size, tag: bareTag(doc.ETag), version: head.Get("X-Amz-Version-Id"), latest: true, words: w}, nil
}

func (s *s3) abort(ctx context.Context, p place, id string) error {
	_, err := s.ask(ctx, call{method: http.MethodDelete, place: p, query: url.Values{"uploadId": {id}}, missing: storage.ErrNoUpload}, nil)
	return err
}

// copyPartBytes is how much of an object one request copies, at most.
const copyPartBytes = 4 << 30

// copyParts copies an object into one of parts of these sizes.
func (s *s3) copyParts(ctx context.Context, from place, e entry, to place, w words, d demand, sizes []int64) (entry, error) {
	id, err := s.begin(ctx, to, w, true)
	if err != nil {
		return entry{}, err
	}
	out, err := s.copyInto(ctx, from, e, to, id, w, d, sizes)
	if err != nil {
		cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
		defer cancel()
		_ = s.abort(cut, to, id) // what stays is swept
	}
	return out, err
}

func (s *s3) copyInto(ctx context.Context, from place, e entry, to place, id string, w words, d demand, sizes []int64) (entry, error) {
	var parts []storage.Part
	off := int64(0)
	for i, n := range sizes {
		if n == 0 { // no range is empty
			q, err := s.part(ctx, to, id, i+1, payload{md5: sumOf(nil)})
			if err != nil {
				return entry{}, err
			}
			parts = append(parts, q)
			continue
		}
		h := copySource(from, e)
		h["X-Amz-Copy-Source-Range"] = []string{fmt.Sprintf("bytes=%d-%d", off, off+n-1)}
		var doc struct{ ETag string }
		if _, err := s.ask(ctx, call{method: http.MethodPut, place: to, query: partQuery(id, i+1), head: h}, &doc); err != nil {
			return entry{}, err
		}
		parts = append(parts, storage.Part{Number: i + 1, Size: n, ETag: bareTag(doc.ETag)})
		off += n
	}
	return s.finish(ctx, to, id, parts, w, d)
}
