package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"polder.dev/polder/storage"
)

// listQuery asks for names that are encoded, since XML cannot hold every one.
func listQuery(q query, first string) url.Values {
	v := url.Values{first: {""}, "encoding-type": {"url"}, "prefix": {q.prefix}, "delimiter": {q.delimiter}}
	if q.delimiter == "" {
		v.Del("delimiter")
	}
	return v
}

type folded struct{ Prefix string }

func decodeNames(encoding string, names ...*string) error {
	if encoding != "url" {
		return nil
	}
	for _, n := range names {
		s, err := url.QueryUnescape(*n)
		if err != nil {
			return fmt.Errorf("%w: a listing of the remote names %q: %w", storage.ErrUnavailable, *n, err)
		}
		*n = s
	}
	return nil
}

func prefixes(encoding string, fs []folded) ([]string, error) {
	var out []string
	for i := range fs {
		if err := decodeNames(encoding, &fs[i].Prefix); err != nil {
			return nil, err
		}
		out = append(out, fs[i].Prefix)
	}
	return out, nil
}

func (s *s3) list(ctx context.Context, name string, q query) (page, error) {
	v := listQuery(q, "list-type")
	v.Set("list-type", "2")
	v.Set("max-keys", strconv.Itoa(q.limit))
	if q.after != "" {
		v.Set("start-after", q.after)
	}
	var doc struct {
		EncodingType   string
		IsTruncated    bool
		Contents       []listed
		CommonPrefixes []folded
	}
	if _, err := s.ask(ctx, call{method: http.MethodGet, place: place{container: name}, query: v}, &doc); err != nil {
		return page{}, err
	}
	p := page{more: doc.IsTruncated}
	var err error
	if p.prefixes, err = prefixes(doc.EncodingType, doc.CommonPrefixes); err != nil {
		return page{}, err
	}
	for _, l := range doc.Contents {
		if err := decodeNames(doc.EncodingType, &l.Key); err != nil {
			return page{}, err
		}
		p.entries = append(p.entries, l.entry(l.Key))
		p.next = l.Key
	}
	// A token would do, but a name can be gone on from at any time, by anybody.
	if n := len(p.prefixes); n > 0 && p.prefixes[n-1] > p.next {
		p.next = behind(p.prefixes[n-1])
	}
	if p.more && p.next == "" {
		return page{}, fmt.Errorf("%w: the remote has more to list, and listed nothing", storage.ErrUnavailable)
	}
	return p, nil
}

// behind is a name behind all that a prefix folded. Servers differ in whether a listing
// that starts after the prefix itself names it again.
func behind(prefix string) string { return prefix + "\U0010FFFF" }

func (s *s3) versions(ctx context.Context, name string, q query) (page, error) {
	v := listQuery(q, "versions")
	v.Set("max-keys", strconv.Itoa(q.limit))
	if q.after != "" {
		v.Set("key-marker", q.after)
		if q.afterID != "" {
			v.Set("version-id-marker", q.afterID)
		}
	}
	var doc struct {
		EncodingType        string
		IsTruncated         bool
		NextKeyMarker       string
		NextVersionIdMarker string   //nolint:revive // S3's name
		Entries             []listed `xml:",any"`
		CommonPrefixes      []folded
	}
	if _, err := s.ask(ctx, call{method: http.MethodGet, place: place{container: name}, query: v}, &doc); err != nil {
		return page{}, err
	}
	p := page{more: doc.IsTruncated, next: doc.NextKeyMarker, nextID: doc.NextVersionIdMarker}
	var err error
	if p.prefixes, err = prefixes(doc.EncodingType, doc.CommonPrefixes); err != nil {
		return page{}, err
	}
	for _, l := range doc.Entries {
		if n := l.XMLName.Local; n != "Version" && n != "DeleteMarker" {
			continue
		}
		if err := decodeNames(doc.EncodingType, &l.Key); err != nil {
			return page{}, err
		}
		p.entries = append(p.entries, l.entry(l.Key))
	}
	return p, decodeNames(doc.EncodingType, &p.next)
}

func (s *s3) uploads(ctx context.Context, name string, q query) (page, error) {
	v := listQuery(q, "uploads")
	v.Set("max-uploads", strconv.Itoa(q.limit))
	if q.after != "" {
		v.Set("key-marker", q.after)
		if q.afterID != "" {
			v.Set("upload-id-marker", q.afterID)
		}
	}
	var doc struct {
		EncodingType       string
		IsTruncated        bool
		NextKeyMarker      string
		NextUploadIdMarker string //nolint:revive // S3's name
		Upload             []struct {
			Key, UploadId string //nolint:revive // S3's name
			Initiated     time.Time
		}
		CommonPrefixes []folded
	}
	if _, err := s.ask(ctx, call{method: http.MethodGet, place: place{container: name}, query: v}, &doc); err != nil {
		return page{}, err
	}
	p := page{more: doc.IsTruncated, next: doc.NextKeyMarker, nextID: doc.NextUploadIdMarker}
	var err error
	if p.prefixes, err = prefixes(doc.EncodingType, doc.CommonPrefixes); err != nil {
		return page{}, err
	}
	for _, u := range doc.Upload {
		if err := decodeNames(doc.EncodingType, &u.Key); err != nil {
			return page{}, err
		}
		p.uploads = append(p.uploads, storage.Upload{Key: u.Key, ID: u.UploadId, Begun: u.Initiated})
	}
	return p, decodeNames(doc.EncodingType, &p.next)
}

// orphans finds nothing: what was cut is an upload or a staged object.
func (s *s3) orphans(context.Context, string, time.Time) error { return nil }
