package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
)

const objectHeader = "X-Object-Meta-"

func (s *swift) makeContainer(ctx context.Context, name string) error {
	if strings.Contains(name, "/") || len(name)+len(segmentsSuffix) > 256 {
		return fmt.Errorf("%w: %q is no name of a Swift container", storage.ErrInvalid, name)
	}
	switch _, err := s.container(ctx, name); {
	case err == nil:
		return storage.ErrBucketExists
	case !errors.Is(err, storage.ErrNoBucket):
		return err
	}
	_, err := s.ask(ctx, call{method: http.MethodPut, place: place{container: name}}, nil)
	return err
}

func (s *swift) dropContainer(ctx context.Context, name string) error {
	for _, n := range []string{name + segmentsSuffix, name} {
		_, err := s.ask(ctx, call{method: http.MethodDelete, place: place{container: n}, missing: storage.ErrNoBucket}, nil)
		switch {
		case errors.Is(err, storage.ErrPrecondition): // 409
			return fmt.Errorf("%w: container %s", storage.ErrNotEmpty, n)
		case err != nil && (n == name || !errors.Is(err, storage.ErrNoBucket)):
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.segments, name)
	return nil
}

func (s *swift) container(ctx context.Context, name string) (container, error) {
	h, err := s.ask(ctx, call{method: http.MethodHead, place: place{container: name}, missing: storage.ErrNoBucket}, nil)
	if err != nil {
		return container{}, err
	}
	c := container{name: name, created: stamp(h.Get("X-Timestamp"))}
	c.usage.Objects.Number, _ = strconv.ParseInt(h.Get("X-Container-Object-Count"), 10, 64) // 0 where it is not told
	c.usage.Objects.Bytes, _ = strconv.ParseInt(h.Get("X-Container-Bytes-Used"), 10, 64)
	return c, nil
}

// stamp reads seconds with a fraction.
func stamp(v string) time.Time {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f <= 0 || f > 1e11 {
		return time.Time{}
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(math.Round(part*1e5))*1e4)
}

func (s *swift) containers(ctx context.Context) ([]container, error) {
	var out []container
	for marker := ""; ; {
		var rows []struct{ Name string }
		q := url.Values{"format": {"json"}, "marker": {marker}, "limit": {"10000"}}
		if _, err := s.ask(ctx, call{method: http.MethodGet, query: q}, &rows); err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return out, nil
		}
		if rows[0].Name <= marker {
			return nil, fmt.Errorf("%w: the remote lists again what it has listed, from %q on", storage.ErrUnavailable, marker)
		}
		for _, r := range rows {
			out = append(out, container{name: r.Name})
			marker = r.Name
		}
	}
}

func (s *swift) setVersioning(context.Context, string, bool) error {
	return fmt.Errorf("%w: versions on Swift", ErrCannot)
}

func (s *swift) head(ctx context.Context, p place, _ string) (entry, error) {
	h, err := s.ask(ctx, call{method: http.MethodHead, place: p, missing: storage.ErrNoObject}, nil)
	if err != nil {
		return entry{}, err
	}
	return swiftEntry(p.key, h), nil
}

func swiftEntry(key string, h http.Header) entry {
	e := entry{key: key, tag: bareTag(h.Get("Etag")), latest: true, words: wordsOf(h, objectHeader)}
	e.words.manifest = h.Get("X-Object-Manifest")
	e.size, _ = strconv.ParseInt(h.Get("Content-Length"), 10, 64) // a HEAD without one is of nothing
	// Last-Modified is a whole second, and rounded up.
	if e.modified = stamp(h.Get("X-Timestamp")); e.modified.IsZero() {
		e.modified, _ = http.ParseTime(h.Get("Last-Modified"))
	}
	e.words.expires = stamp(h.Get("X-Delete-At"))
	e.large = strings.EqualFold(h.Get("X-Static-Large-Object"), "true") || e.words.manifest != ""
	e.plain = !e.large && isMD5(e.tag)
	return e
}

func swiftHead(w words, d demand) http.Header {
	h := headOf(w, d, objectHeader)
	if !w.expires.IsZero() {
		h.Set("X-Delete-At", strconv.FormatInt(w.expires.Unix(), 10))
	}
	if w.manifest != "" {
		h.Set("X-Object-Manifest", w.manifest)
	}
	return h
}

func (s *swift) get(ctx context.Context, p place, _, tag string, off, n int64) (io.ReadCloser, error) {
	h := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+n-1)}}
	res, err := s.do(ctx, call{method: http.MethodGet, place: p, head: h, missing: storage.ErrNoObject})
	if err != nil {
		return nil, err
	}
	return ranged(res, off, n, tag) // compares the ETag, as If-Match of large objects does not work in every release
}

func (s *swift) put(ctx context.Context, p place, b payload, w words, d demand) (entry, error) {
	old, err := s.replaces(ctx, p)
	if err != nil {
		return entry{}, err
	}
	h, err := s.ask(ctx, call{method: http.MethodPut, place: p, head: swiftHead(w, d), body: &b, missing: storage.ErrNoBucket}, nil)
	if err != nil {
		return entry{}, err
	}
	s.dropSegments(ctx, p.container, old)
	e := swiftEntry(p.key, h)
	e.size, e.words = b.size, w
	return e, nil
}

func (s *swift) rewrite(ctx context.Context, p place, e entry, w words) error {
	w.manifest = e.words.manifest
	if w.contentType == "" { // what is not said would stay
		w.contentType = "application/octet-stream"
	}
	h := swiftHead(w, demand{})
	if w.expires.IsZero() && !e.words.expires.IsZero() {
		h.Set("X-Remove-Delete-At", "x")
	}
	_, err := s.ask(ctx, call{method: http.MethodPost, place: p, head: h, missing: storage.ErrNoObject}, nil)
	return err
}

// copy is for protocols that want the words before the body.
func (s *swift) copy(context.Context, place, entry, place, words, demand, []int64) (entry, error) {
	return entry{}, fmt.Errorf("%w: Swift takes words with the manifest", ErrCannot)
}

func (s *swift) remove(ctx context.Context, p place, _ string, _ demand) (removal, error) {
	old, err := s.replaces(ctx, p)
	if err != nil {
		return removal{}, err
	}
	if _, err := s.ask(ctx, call{method: http.MethodDelete, place: p, missing: storage.ErrNoObject}, nil); err != nil {
		return removal{}, err
	}
	s.dropSegments(ctx, p.container, old)
	return removal{}, nil
}

// row is an entry of a listing.
type row struct {
	Name, Hash, Subdir string
	Bytes              int64
	LastModified       string `json:"last_modified"`
	ContentType        string `json:"content_type"`
	StaticETag         string `json:"slo_etag"`
}

func (r row) time() time.Time {
	t, _ := time.Parse("2006-01-02T15:04:05.999999", r.LastModified) // what cannot be read is unknown
	return t
}

func (s *swift) rows(ctx context.Context, name string, q query) ([]row, error) {
	v := url.Values{"format": {"json"}, "limit": {strconv.Itoa(q.limit)}}
	for k, val := range map[string]string{"prefix": q.prefix, "delimiter": q.delimiter, "marker": q.after, "end_marker": q.end} {
		if val != "" {
			v.Set(k, val)
		}
	}
	if q.reverse {
		v.Set("reverse", "true")
	}
	var rows []row
	_, err := s.ask(ctx, call{method: http.MethodGet, place: place{container: name}, query: v, missing: storage.ErrNoBucket}, &rows)
	if err == nil && len(rows) > 0 && q.after != "" && !q.reverse && rows[0].Name != "" && rows[0].Name <= q.after {
		err = fmt.Errorf("%w: the remote lists again what it has listed, from %q on", storage.ErrUnavailable, rows[0].Name)
	}
	return rows, err
}

func (s *swift) list(ctx context.Context, name string, q query) (page, error) {
	rows, err := s.rows(ctx, name, q)
	if err != nil {
		return page{}, err
	}
	p := page{more: len(rows) == q.limit}
	for _, r := range rows {
		if r.Subdir != "" {
			p.prefixes = append(p.prefixes, r.Subdir)
			if p.next = r.Subdir; !q.reverse {
				p.next = behind(r.Subdir)
			}
			continue
		}
		p.next = r.Name
		p.entries = append(p.entries, entry{key: r.Name, size: r.Bytes, tag: r.Hash, plain: r.StaticETag == "", modified: r.time(), latest: true, large: r.StaticETag != ""})
	}
	return p, nil
}

func (s *swift) versions(context.Context, string, query) (page, error) {
	return page{}, fmt.Errorf("%w: versions on Swift", ErrCannot)
}
