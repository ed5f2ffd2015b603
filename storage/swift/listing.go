package swift

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"polder.dev/polder/storage"
)

// format of a listing.
type format string

const (
	plain   format = "text/plain"
	asJSON  format = "application/json"
	asXML   format = "application/xml"
	textXML format = "text/xml"
)

var formats = []format{plain, asJSON, asXML, textXML}

// format finds out what a listing shall be, by ?format or by Accept.
func (c *call) format() (format, error) {
	if f := c.q["format"]; f != "" {
		switch strings.ToLower(f) {
		case "json":
			return asJSON, nil
		case "xml":
			return asXML, nil
		}
		return plain, nil
	}
	c.w.Header().Set("Vary", "Accept")
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	best, err := negotiate(c.header("Accept"), names)
	if err != nil {
		return "", refusef(400, "Invalid Accept header")
	}
	if best == "" {
		return "", refuse(406)
	}
	return format(best), nil
}

// checkTexts refuses parameters that are no text.
func (c *call) checkTexts() error {
	for _, n := range []string{"prefix", "marker", "end_marker", "delimiter", "path", "format", "limit"} {
		if !utf8.ValidString(c.q[n]) {
			return plainf(400, "\"%s\" parameter not valid UTF-8", n)
		}
	}
	return nil
}

// limit reads how long a page shall be.
func (c *call) limit() (int, error) {
	n, err := strconv.Atoi(c.q["limit"])
	if err != nil || n < 0 {
		return storage.PageMax, nil
	}
	if n > storage.PageMax {
		return 0, refusef(412, "Maximum limit is %d", storage.PageMax)
	}
	return n, nil
}

// entry is a line of a listing; names of fields are Swift's.
type entry struct {
	Name         string `json:"name,omitempty"`
	Count        *int64 `json:"count,omitempty"`
	Bytes        int64  `json:"bytes"`
	Hash         string `json:"hash,omitempty"`
	ContentType  string `json:"content_type,omitempty"`
	LastModified string `json:"last_modified,omitempty"`

	VersionID    string `json:"version_id,omitempty"`
	IsLatest     *bool  `json:"is_latest,omitempty"`
	SymlinkPath  string `json:"symlink_path,omitempty"`
	SymlinkBytes *int64 `json:"symlink_bytes,omitempty"`
	SymlinkETag  string `json:"symlink_etag,omitempty"`
	VersionLink  bool   `json:"version_symlink,omitempty"`
	StaticETag   string `json:"slo_etag,omitempty"`

	subdir string
}

// stamp is a time in a listing.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }

// lister writes a listing as it comes.
type lister struct {
	out     *bufio.Writer
	f       format
	account bool
	name    string // of the account or the container
	n       int
}

// list begins a listing. If it is text and empty, the answer is 204.
func (c *call) list(f format, isAccount bool, name string, empty bool) *lister {
	h := c.w.Header()
	h.Set("Content-Type", string(f)+"; charset=utf-8")
	if f == plain && empty {
		c.answer(204, "")
		return nil
	}
	if c.method() == http.MethodHead {
		c.w.WriteHeader(200)
		return nil
	}
	l := &lister{out: bufio.NewWriter(c.w), f: f, account: isAccount, name: name}
	switch {
	case f == asJSON:
		l.text("[")
	case f != plain && isAccount:
		l.text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<account name=\"", escape(name), "\">\n")
	case f != plain && empty:
		l.text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"", escape(name), "\" />")
	case f != plain:
		l.text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<container name=\"", escape(name), "\">")
	}
	return l
}

func (l *lister) text(s ...string) {
	for _, t := range s {
		_, _ = l.out.WriteString(t) // the writer remembers the error for Flush
	}
}

// add writes a line.
func (l *lister) add(e entry) error {
	l.n++
	switch {
	case l.f == plain:
		l.text(e.Name, e.subdir, "\n")
	case l.f == asJSON:
		if l.n > 1 {
			l.text(", ")
		}
		var v any = e
		if e.subdir != "" {
			v = map[string]string{"subdir": e.subdir}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, _ = l.out.Write(b) // as in text
	case e.subdir != "" && l.account:
		l.text("<subdir name=\"", escape(e.subdir), "\" />\n")
	case e.subdir != "":
		l.text("<subdir name=\"", escape(e.subdir), "\"><name>", escape(e.subdir), "</name></subdir>")
	case l.account:
		l.text("<container><name>", escape(e.Name), "</name><count>", strconv.FormatInt(*e.Count, 10), "</count><bytes>",
			strconv.FormatInt(e.Bytes, 10), "</bytes><last_modified>", e.LastModified, "</last_modified></container>\n")
	default:
		l.text("<object><name>", escape(e.Name), "</name><hash>", e.Hash, "</hash><bytes>", strconv.FormatInt(e.Bytes, 10),
			"</bytes><content_type>", escape(e.ContentType), "</content_type><last_modified>", e.LastModified, "</last_modified></object>")
	}
	return nil
}

// end writes what closes the listing.
func (l *lister) end() error {
	switch {
	case l.f == asJSON:
		l.text("]")
	case l.f != plain && l.account:
		l.text("</account>")
	case l.f != plain && l.n > 0:
		l.text("</container>")
	}
	return l.out.Flush()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}

// merge brings objects and folded prefixes of a page into one order.
func merge(l *storage.Listing, reverse bool, visit func(o *storage.Info, prefix string) error) error {
	objects, prefixes := l.Objects, l.Prefixes
	for len(objects) > 0 || len(prefixes) > 0 {
		first := len(prefixes) == 0
		if !first && len(objects) > 0 {
			cmp := strings.Compare(objects[0].Key, prefixes[0])
			first = cmp < 0 != reverse
		}
		if first {
			if err := visit(&objects[0], ""); err != nil {
				return err
			}
			objects = objects[1:]
			continue
		}
		if err := visit(nil, prefixes[0]); err != nil {
			return err
		}
		prefixes = prefixes[1:]
	}
	return nil
}

// backwards turns a page around.
func backwards[T any](s []T, reverse bool) []T {
	if reverse {
		slices.Reverse(s)
	}
	return s
}
