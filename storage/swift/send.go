package swift

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

// span is a part of an object that is sent.
type span struct{ off, n int64 }

const (
	spansMax      = 50
	overlapsMax   = 2
	descendingMax = 8
)

// spansOf reads a Range header. nil without an error sends all: what cannot be read is
// ignored (RFC 9110, section 14.2).
func spansOf(header string, size int64) ([]span, error) {
	unit, list, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, nil
	}
	var out []span
	parts := strings.Split(list, ",")
	overlaps, descending := 0, 0
	for _, p := range parts {
		first, last, ok := readSpan(p)
		if !ok {
			return nil, nil
		}
		if len(parts) > spansMax {
			continue
		}
		if size == 0 && first < 0 {
			return nil, nil // the last bytes of nothing
		}
		off, n, err := storage.Range(first, last, size)
		if err != nil || first == 0 && last == minusZero {
			continue
		}
		for _, o := range out {
			if off < o.off+o.n && o.off < off+n {
				overlaps++
				break
			}
		}
		if len(out) > 0 && off < out[len(out)-1].off {
			descending++
		}
		out = append(out, span{off, n})
	}
	if len(out) == 0 || overlaps > overlapsMax || descending > descendingMax {
		return nil, storage.ErrRange
	}
	return out, nil
}

// minusZero marks "-0", which asks for nothing.
const minusZero = -2

func readSpan(s string) (first, last int64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if !ok || a == "" && b == "" {
		return 0, 0, false
	}
	num := func(s string) (int64, bool) {
		if s == "" {
			return -1, true
		}
		n, err := strconv.ParseUint(s, 10, 62)
		return int64(n), err == nil || errors.Is(err, strconv.ErrRange) // what is too large is the largest
	}
	x, ok1 := num(a)
	y, ok2 := num(b)
	switch {
	case !ok1 || !ok2 || a != "" && b != "" && y < x:
		return 0, 0, false
	case a != "":
		return x, y, true
	case y == 0:
		return 0, minusZero, true
	}
	return -y, -1, true
}

// send writes an object, or what ranges ask of it.
func (c *call) send(s *seen) error {
	h := c.w.Header()
	size := s.info.Size
	spans, err := c.spans(s)
	if err != nil {
		h.Set("Content-Range", "bytes */"+decimal(size))
		return c.done(416)
	}
	status, length := 200, size
	boundary := ""
	switch kind := h.Get("Content-Type"); {
	case len(spans) == 1:
		status, length = 206, spans[0].n
		h.Set("Content-Range", spans[0].header(size))
	case len(spans) > 1:
		status, boundary = 206, newBoundary()
		length = int64(len(boundary) + 4)
		for _, p := range spans {
			length += int64(len(p.head(boundary, kind, size))) + p.n + 2
		}
		h.Set("Content-Type", "multipart/byteranges;boundary="+boundary)
		defer h.Set("Content-Type", kind)
	}
	h.Set("Content-Length", decimal(length))
	if c.method() == http.MethodHead {
		c.w.WriteHeader(status)
		return nil
	}
	if s.Large != nil && size > 0 {
		at := int64(0)
		if len(spans) > 0 {
			at = spans[0].off
		}
		if err := s.Large.Probe(at); err != nil {
			clear(h)
			h.Set("X-Trans-Id", c.trans)
			h.Set("X-Openstack-Request-Id", c.trans)
			return c.lost(s, s.info, err)
		}
	}
	c.w.WriteHeader(status)
	if boundary != "" {
		return c.sendSpans(s, spans, boundary)
	}
	off := int64(0)
	if len(spans) == 1 {
		off = spans[0].off
	}
	return storage.Reader(s.Object, off, length).SendTo(c.w, c.h.cfg.Memory)
}

// spans are those of Range, or of part-number.
func (c *call) spans(s *seen) ([]span, error) {
	if c.q.has("part-number") && s.Large != nil {
		return c.partSpan(s)
	}
	r := c.header("Range")
	if r == "" || c.method() == http.MethodHead || !c.rangeHolds(s) {
		return nil, nil
	}
	return spansOf(r, s.info.Size)
}

// rangeHolds judges If-Range.
func (c *call) rangeHolds(s *seen) bool {
	v := c.header("If-Range")
	if v == "" {
		return true
	}
	if t, err := http.ParseTime(v); err == nil {
		return roundUp(s.info.Modified).Equal(t)
	}
	return strings.Trim(v, `"`) == s.info.ETag
}

// partSpan is one segment of a static large object.
func (c *call) partSpan(s *seen) ([]span, error) {
	j, ok := s.Large.(interface {
		Segment(n int) (off, length int64, parts int, ok bool)
	})
	if !ok {
		return nil, nil
	}
	n, err := strconv.Atoi(c.q["part-number"])
	if err != nil || n < 1 {
		return nil, nil
	}
	off, length, parts, ok := j.Segment(n)
	c.w.Header().Set("X-Parts-Count", strconv.Itoa(parts))
	if !ok {
		return nil, storage.ErrRange
	}
	return []span{{off, length}}, nil
}

func (p span) header(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", p.off, p.off+p.n-1, size)
}

func (p span) head(boundary, kind string, size int64) string {
	return "--" + boundary + "\r\nContent-Type: " + kind + "\r\nContent-Range: " + p.header(size) + "\r\n\r\n"
}

func newBoundary() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (c *call) sendSpans(s *seen, spans []span, boundary string) error {
	kind := s.info.Meta.ContentType
	if s.look.manifest && manifest.StaticOf(&s.info.Meta) != nil {
		kind = "application/json; charset=utf-8"
	}
	for _, p := range spans {
		if _, err := io.WriteString(c.w, p.head(boundary, kind, s.info.Size)); err != nil {
			return err
		}
		if err := storage.Reader(s.Object, p.off, p.n).SendTo(c.w, c.h.cfg.Memory); err != nil {
			return err
		}
		if _, err := io.WriteString(c.w, "\r\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(c.w, "--"+boundary+"--")
	return err
}
