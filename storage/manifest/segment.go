package manifest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

// BytesMax bounds a manifest, SegmentsMax its length.
const (
	BytesMax    = 8 << 20
	SegmentsMax = 1000
)

// Segment is one of a static manifest as it is kept; the names of fields are Swift's.
type Segment struct {
	Name         string `json:"name,omitempty"` // /CONTAINER/OBJECT
	Bytes        int64  `json:"bytes,omitempty"`
	Hash         string `json:"hash,omitempty"`
	ContentType  string `json:"content_type,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// Range is FIRST-LAST, both within the segment.
	Range  string `json:"range,omitempty"`
	SubSLO bool   `json:"sub_slo,omitempty"`
	// Data is the segment itself.
	Data []byte `json:"data,omitempty"`
}

// Parse reads a manifest as it is kept.
func Parse(r io.Reader) ([]Segment, error) {
	var out []Segment
	d := json.NewDecoder(io.LimitReader(r, 2*BytesMax))
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("%w: reading a manifest: %w", storage.ErrCorrupt, err)
	}
	return out, nil
}

// Place splits Name.
func (s *Segment) Place() (container, key string, ok bool) {
	container, key, ok = strings.Cut(strings.TrimPrefix(s.Name, "/"), "/")
	return container, key, ok && container != "" && key != ""
}

// Span is the offset and the length of what the manifest takes of the segment.
func (s *Segment) Span() (off, n int64, err error) {
	if s.Data != nil {
		return 0, int64(len(s.Data)), nil
	}
	if s.Range == "" {
		return 0, s.Bytes, nil
	}
	a, b, ok := strings.Cut(s.Range, "-")
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	if !ok || err1 != nil || err2 != nil || first < 0 || last < first || last >= s.Bytes {
		return 0, 0, fmt.Errorf("%w: range %q of %d bytes in a manifest", storage.ErrCorrupt, s.Range, s.Bytes)
	}
	return first, last - first + 1, nil
}

// Sum is the ETag and the size of what segments make.
func Sum(list []Segment) (Static, error) {
	h := md5.New()
	var out Static
	for i := range list {
		s := &list[i]
		_, n, err := s.Span()
		if err != nil {
			return out, err
		}
		out.Size += n
		switch {
		case s.Data != nil:
			d := md5.Sum(s.Data)
			_, _ = io.WriteString(h, hex.EncodeToString(d[:]))
		case s.Range != "":
			_, _ = io.WriteString(h, s.Hash+":"+s.Range+";")
		default:
			_, _ = io.WriteString(h, s.Hash)
		}
	}
	out.ETag = hex.EncodeToString(h.Sum(nil))
	return out, nil
}
