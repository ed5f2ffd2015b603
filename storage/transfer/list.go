package transfer

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is a line of a listing.
type Entry struct {
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
	ETag     string    `json:"etag,omitempty"`
	// Prefix says that this stands for all keys that begin so.
	Prefix bool `json:"prefix,omitempty"`
	// Version, Latest and Deleted are those of a listing of versions; Deleted is a
	// delete marker.
	Version string `json:"version,omitempty"`
	Latest  bool   `json:"latest,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

const pageEntries = 1000

// List yields what is below the prefix a.Key, in the order of the keys' bytes, one page
// in memory at a time; not what is below slashes after it, unless deep. The first
// error ends it.
func (c *Client) List(ctx context.Context, a Address, deep bool) iter.Seq2[Entry, error] {
	q := url.Values{"list-type": {"2"}}
	return c.pages(ctx, a, deep, q, func(p page) bool {
		q.Set("continuation-token", p.NextContinuationToken)
		return p.NextContinuationToken != ""
	})
}

// Versions is List of all versions and delete markers, of each key the newest first.
func (c *Client) Versions(ctx context.Context, a Address, deep bool) iter.Seq2[Entry, error] {
	q := url.Values{"versions": {""}}
	return c.pages(ctx, a, deep, q, func(p page) bool {
		q.Set("key-marker", p.NextKeyMarker)
		q.Set("version-id-marker", p.NextVersionIDMarker)
		return p.NextKeyMarker != ""
	})
}

// pages asks for page after page; next prepares q, or says that it cannot.
func (c *Client) pages(ctx context.Context, a Address, deep bool, q url.Values, next func(page) bool) iter.Seq2[Entry, error] {
	q.Set("prefix", a.Key)
	q.Set("encoding-type", "url")
	q.Set("max-keys", strconv.Itoa(pageEntries))
	if !deep {
		q.Set("delimiter", "/")
	}
	return func(yield func(Entry, error) bool) {
		for {
			_, text, err := c.ask(ctx, http.MethodGet, a.Bucket, q, nil, nil)
			var p page
			if err == nil {
				p, err = parsePage(text)
			}
			if err != nil {
				yield(Entry{}, explain(err, a))
				return
			}
			for _, e := range p.entries() {
				if !yield(e, nil) {
					return
				}
			}
			if !p.IsTruncated {
				return
			}
			if !next(p) {
				yield(Entry{}, explain(errors.New("the store cut a listing and did not say where it goes on"), a))
				return
			}
		}
	}
}

// entries puts objects and prefixes into one row.
func (p page) entries() []Entry {
	var out []Entry
	for _, l := range p.Lines {
		e := Entry{Key: l.Key, Size: l.Size, ETag: strings.Trim(l.ETag, `"`), Version: l.VersionID, Latest: l.IsLatest}
		e.Modified, _ = time.Parse(time.RFC3339, l.LastModified)
		switch l.XMLName.Local {
		case "Contents", "Version":
		case "DeleteMarker":
			e.Deleted = true
		case "CommonPrefixes":
			e = Entry{Key: l.Prefix, Prefix: true}
		default:
			continue
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
