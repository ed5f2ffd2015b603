package remote

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
)

// An upload has an id, and in the container of segments beside its own:
//
//	u/KEY \x01 ID   a mark, while it is under way; h/KEY \x01 ID if it is no client's
//	s/ID/NUMBER     a segment
//	s/ID/mNUMBER    a manifest of a thousand segments, where there are more
//
// The object is a static manifest that names the segments. Its words hold the id, so
// that the segments go with it.
const (
	segmentsSuffix = "+segments"
	segmentsMax    = 1000 // of a manifest, by Swift's default
	separator      = "\x01"
)

// uploadID is u or h, the time in nanoseconds, and chance.
var uploadID = regexp.MustCompile(`^[uh][0-9a-f]{32}$`)

func (s *swift) mark(p place, id string) place {
	return place{p.container + segmentsSuffix, id[:1] + "/" + p.key + separator + id}
}

func segment(container, id string, number int) place {
	return place{container + segmentsSuffix, fmt.Sprintf("s/%s/%05d", id, number)}
}

func (s *swift) begin(ctx context.Context, p place, _ words, hidden bool) (string, error) {
	var chance [8]byte
	_, _ = rand.Read(chance[:]) // never fails
	id := fmt.Sprintf("u%016x%s", s.cfg.Now().UnixNano(), hex.EncodeToString(chance[:]))
	if hidden {
		id = "h" + id[1:]
	}
	m := s.mark(p, id)
	if len(m.key) > storage.KeyBytesMax {
		return "", fmt.Errorf("%w: an object of segments with a key of %d bytes", ErrCannot, len(p.key))
	}
	if _, err := s.container(ctx, p.container); err != nil {
		return "", err
	}
	if _, err := s.ask(ctx, call{method: http.MethodPut, place: place{container: m.container}}, nil); err != nil {
		return "", err
	}
	s.know(p.container, true)
	_, err := s.ask(ctx, call{method: http.MethodPut, place: m, body: &payload{md5: sumOf(nil)}}, nil)
	return id, err
}

func (s *swift) know(container string, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[container] = known{there, time.Now()}
}

// segmented says whether a container may have large objects of ours.
func (s *swift) segmented(ctx context.Context, container string) (bool, error) {
	s.mu.Lock()
	k, ok := s.segments[container]
	s.mu.Unlock()
	if ok && (k.there || time.Since(k.at) < time.Minute) {
		return k.there, nil
	}
	_, err := s.container(ctx, container+segmentsSuffix)
	if err != nil && !errors.Is(err, storage.ErrNoBucket) {
		return false, err
	}
	s.know(container, err == nil)
	return err == nil, nil
}

// replaces returns the id of segments that go when the object does.
func (s *swift) replaces(ctx context.Context, p place) (string, error) {
	if ok, err := s.segmented(ctx, p.container); !ok || err != nil {
		return "", err
	}
	e, err := s.head(ctx, p, "")
	if errors.Is(err, storage.ErrNoObject) {
		return "", nil
	}
	_, f := decode(e.words)
	if !e.large || !uploadID.MatchString(f.segments) {
		return "", err
	}
	return f.segments, err
}

// dropSegments removes what no manifest names any more. What stays costs room only.
func (s *swift) dropSegments(ctx context.Context, container, id string) {
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	if err := s.drop(ctx, container, "s/"+id+"/", nil); err != nil {
		s.cfg.Log.WarnContext(ctx, "segments that nobody reads stay in the remote", "container", container+segmentsSuffix, "segments", id, "error", err)
	}
}

// drop removes segments below a prefix, but for those to keep.
func (s *swift) drop(ctx context.Context, container, prefix string, keep map[string]bool) error {
	for q := (query{prefix: prefix, limit: 10_000}); ; {
		rows, err := s.rows(ctx, container+segmentsSuffix, q)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			q.after = r.Name
			if keep[r.Name] {
				continue
			}
			_, err := s.ask(ctx, call{method: http.MethodDelete, place: place{container + segmentsSuffix, r.Name}, missing: storage.ErrNoObject}, nil)
			if err != nil && !errors.Is(err, storage.ErrNoObject) {
				return err
			}
		}
	}
}

// marked returns ErrNoUpload unless the upload is under way.
func (s *swift) marked(ctx context.Context, p place, id string) error {
	if !uploadID.MatchString(id) {
		return fmt.Errorf("%w: %q", storage.ErrNoUpload, id)
	}
	_, err := s.ask(ctx, call{method: http.MethodHead, place: s.mark(p, id), missing: storage.ErrNoUpload}, nil)
	return err
}

func (s *swift) part(ctx context.Context, p place, id string, number int, b payload) (storage.Part, error) {
	if id == "" || id[0] != 'h' {
		if err := s.marked(ctx, p, id); err != nil {
			return storage.Part{}, err
		}
	}
	h, err := s.ask(ctx, call{method: http.MethodPut, place: segment(p.container, id, number), body: &b, missing: storage.ErrNoUpload}, nil)
	if err != nil {
		return storage.Part{}, err
	}
	at, _ := http.ParseTime(h.Get("Last-Modified")) // what cannot be read is unknown
	return storage.Part{Number: number, Size: b.size, ETag: bareTag(h.Get("Etag")), Modified: at}, nil
}

func (s *swift) parts(ctx context.Context, p place, id string, after, limit int) ([]storage.Part, bool, error) {
	if err := s.marked(ctx, p, id); err != nil {
		return nil, false, err
	}
	if limit <= 0 || limit >= 10_000 {
		limit = 9_999
	}
	rows, err := s.rows(ctx, p.container+segmentsSuffix, query{prefix: "s/" + id + "/", after: segment("", id, after).key, limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	var out []storage.Part
	for _, r := range rows {
		n, err := strconv.Atoi(r.Name[strings.LastIndexByte(r.Name, '/')+1:])
		if err != nil {
			continue // a manifest
		}
		if len(out) == limit {
			return out, true, nil
		}
		out = append(out, storage.Part{Number: n, Size: r.Bytes, ETag: r.Hash, Modified: r.time()})
	}
	return out, false, nil
}

// piece is what a manifest names.
type piece struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
	Size int64  `json:"size_bytes"`
}

func (s *swift) finish(ctx context.Context, p place, id string, parts []storage.Part, w words, d demand) (entry, error) {
	if err := s.marked(ctx, p, id); err != nil {
		return entry{}, err
	}
	old, err := s.replaces(ctx, p)
	if err != nil {
		return entry{}, err
	}
	pieces, keep, size, err := s.pieces(ctx, p, id, parts)
	if err != nil {
		return entry{}, err
	}
	e := entry{key: p.key, size: size, latest: true, large: true, words: w}
	if len(pieces) == 0 { // a manifest of nothing is none
		h, err := s.ask(ctx, call{method: http.MethodPut, place: p, head: swiftHead(w, d), body: &payload{md5: sumOf(nil)}}, nil)
		if err != nil {
			return entry{}, err
		}
		e.large, e.tag = false, bareTag(h.Get("Etag"))
	} else if e.tag, err = s.manifest(ctx, p, pieces, swiftHead(w, d)); err != nil {
		return entry{}, err
	}
	cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	if _, err := s.ask(cut, call{method: http.MethodDelete, place: s.mark(p, id), missing: storage.ErrNoObject}, nil); err != nil && !errors.Is(err, storage.ErrNoObject) {
		return entry{}, fmt.Errorf("the object is there, and the mark of its upload as well: %w", err)
	}
	if old != id {
		s.dropSegments(ctx, p.container, old)
	}
	if err := s.drop(cut, p.container, "s/"+id+"/", keep); err != nil {
		s.cfg.Log.WarnContext(ctx, "parts that were not named stay in the remote", "container", p.container, "error", err)
	}
	return e, nil
}

// pieces are what the object's manifest names; keep are the names that it needs.
func (s *swift) pieces(ctx context.Context, p place, id string, parts []storage.Part) (pieces []piece, keep map[string]bool, size int64, err error) {
	keep = map[string]bool{}
	for _, q := range parts {
		if q.Size == 0 {
			continue // Swift's manifests have no empty segments
		}
		at := segment(p.container, id, q.Number)
		keep[at.key] = true
		pieces = append(pieces, piece{"/" + at.container + "/" + at.key, q.ETag, q.Size})
		size += q.Size
	}
	if len(pieces) <= segmentsMax {
		return pieces, keep, size, nil
	}
	var outer []piece
	for i := 0; i < len(pieces); i += segmentsMax {
		group := pieces[i:min(i+segmentsMax, len(pieces))]
		at := place{p.container + segmentsSuffix, fmt.Sprintf("s/%s/m%05d", id, i)}
		tag, err := s.manifest(ctx, at, group, http.Header{})
		if err != nil {
			return nil, nil, 0, err
		}
		sum := int64(0)
		for _, g := range group {
			sum += g.Size
		}
		keep[at.key] = true
		outer = append(outer, piece{"/" + at.container + "/" + at.key, tag, sum})
	}
	return outer, keep, size, nil
}

func (s *swift) manifest(ctx context.Context, at place, pieces []piece, h http.Header) (string, error) {
	raw, err := json.Marshal(pieces)
	if err != nil {
		return "", fmt.Errorf("naming segments: %w", err)
	}
	head, err := s.ask(ctx, call{method: http.MethodPut, place: at, head: h, query: url.Values{"multipart-manifest": {"put"}}, body: &payload{bytes: raw, size: int64(len(raw))}, missing: storage.ErrNoBucket}, nil)
	return bareTag(head.Get("Etag")), err
}

func (s *swift) abort(ctx context.Context, p place, id string) error {
	if err := s.marked(ctx, p, id); err != nil {
		return err
	}
	if err := s.drop(ctx, p.container, "s/"+id+"/", nil); err != nil {
		return err
	}
	_, err := s.ask(ctx, call{method: http.MethodDelete, place: s.mark(p, id), missing: storage.ErrNoUpload}, nil)
	return err
}

func (s *swift) uploads(ctx context.Context, name string, q query) (page, error) {
	if strings.Trim(q.delimiter, "uh0123456789abcdef"+separator) == "" && q.delimiter != "" {
		return page{}, fmt.Errorf("%w: uploads folded by %q", ErrCannot, q.delimiter)
	}
	in := query{prefix: "u/" + q.prefix, delimiter: q.delimiter, limit: q.limit}
	switch {
	case q.after != "" && q.afterID != "":
		in.after = "u/" + q.after + separator + q.afterID
	case q.after != "":
		in.after = "u/" + q.after + "\x02"
	}
	rows, err := s.rows(ctx, name+segmentsSuffix, in)
	if errors.Is(err, storage.ErrNoBucket) {
		return page{}, nil
	}
	if err != nil {
		return page{}, err
	}
	p := page{more: len(rows) == in.limit}
	for _, r := range rows {
		if r.Subdir != "" {
			f := strings.TrimPrefix(r.Subdir, "u/")
			p.prefixes = append(p.prefixes, f)
			p.next, p.nextID = behind(f), ""
			continue
		}
		u, ok := unmark(r.Name)
		if !ok {
			continue
		}
		p.uploads = append(p.uploads, u)
		p.next, p.nextID = u.Key, u.ID
	}
	p.more = p.more && p.next != ""
	return p, nil
}

// unmark reads the name of a mark.
func unmark(name string) (storage.Upload, bool) {
	i := strings.LastIndex(name, separator)
	if i < 2 || !uploadID.MatchString(name[i+1:]) {
		return storage.Upload{}, false
	}
	u := storage.Upload{Key: name[2:i], ID: name[i+1:]}
	n, err := strconv.ParseInt(u.ID[1:17], 16, 64)
	u.Begun = time.Unix(0, n)
	return u, err == nil
}

// orphans aborts writes that were cut.
func (s *swift) orphans(ctx context.Context, name string, before time.Time) error {
	for q := (query{prefix: "h/", limit: 1000}); ; {
		rows, err := s.rows(ctx, name+segmentsSuffix, q)
		if errors.Is(err, storage.ErrNoBucket) {
			return nil
		}
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			q.after = r.Name
			if u, ok := unmark(r.Name); ok && u.Begun.Before(before) {
				if err := s.abort(ctx, place{name, u.Key}, u.ID); err != nil && !errors.Is(err, storage.ErrNoUpload) {
					return err
				}
			}
		}
	}
}
