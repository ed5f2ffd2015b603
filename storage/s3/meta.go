package s3

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"polder.dev/polder/storage"
)

// userBytesMax bounds x-amz-meta-* of an object, names and values together ("Working with
// object metadata").
const userBytesMax = 2 << 10

// Entries of Meta.System that are this door's.
const (
	systemClass    = "s3.class"    // storage class, where it is not STANDARD
	systemRedirect = "s3.redirect" // where a web site sends who asks for it
	systemChecksum = "s3.checksum" // ALGORITHM/TYPE of an upload
	systemUpload   = "s3.upload"   // id of the upload that the object was
	systemParts    = "s3.parts"    // sizes and checksums of its parts
)

// kept are the headers that come back as they were sent.
var kept = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

// classes are what x-amz-storage-class may say. All are kept alike.
var classes = map[string]bool{
	"STANDARD": true, "REDUCED_REDUNDANCY": true, "STANDARD_IA": true, "ONEZONE_IA": true, "INTELLIGENT_TIERING": true,
	"GLACIER": true, "DEEP_ARCHIVE": true, "GLACIER_IR": true, "OUTPOSTS": true, "EXPRESS_ONEZONE": true, "SNOW": true, "FSX_OPENZFS": true,
}

const defaultType = "binary/octet-stream"

// meta reads what the request's head says of an object that is to be made.
func (q *request) meta() (storage.Meta, error) {
	m := storage.Meta{ContentType: q.header("Content-Type")}
	if m.ContentType == "" {
		m.ContentType = defaultType
	}
	for _, k := range kept {
		v := q.header(k)
		if k == "Content-Encoding" {
			v = unwrappedEncoding(strings.Join(q.r.Header[k], ","))
		}
		if v == "" {
			continue
		}
		if m.Headers == nil {
			m.Headers = map[string]string{}
		}
		m.Headers[k] = v
	}
	if err := q.user(&m); err != nil {
		return m, err
	}
	c, err := q.class()
	if err != nil {
		return m, err
	}
	to := q.header(headerRedirect)
	if to != "" && !redirectable(to) {
		return m, fail("InvalidRedirectLocation", "The website redirect location must begin with '/', 'http://' or 'https://', and have at most %d bytes.", redirectBytesMax)
	}
	for k, v := range map[string]string{systemClass: c, systemRedirect: to} {
		if v == "" {
			continue
		}
		if m.System == nil {
			m.System = map[string]string{}
		}
		m.System[k] = v
	}
	return m, nil
}

// headerRedirect says where a web site sends who asks for an object. It is kept for
// whoever serves the site, and told like other metadata.
const (
	headerRedirect   = "X-Amz-Website-Redirect-Location"
	redirectBytesMax = 2 << 10
)

func redirectable(to string) bool {
	return len(to) <= redirectBytesMax && (strings.HasPrefix(to, "/") || strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://"))
}

// class is what x-amz-storage-class says, "" for STANDARD.
func (q *request) class() (string, error) {
	c := q.header("X-Amz-Storage-Class")
	if c != "" && !classes[c] {
		return "", fail("InvalidStorageClass", "The storage class %q is not one of S3's.", c)
	}
	if c == "STANDARD" {
		c = ""
	}
	return c, nil
}

const (
	userPrefix = "X-Amz-Meta-"
	userShown  = "x-amz-meta-"
)

// user reads x-amz-meta-*. Names are kept in lower case, and values decoded where they
// are words of RFC 2047.
func (q *request) user(m *storage.Meta) error {
	total := 0
	for k, vals := range q.r.Header {
		name, ok := strings.CutPrefix(k, userPrefix)
		if !ok || name == "" {
			continue
		}
		v := strings.Join(vals, ",")
		if strings.Contains(v, "=?") {
			if d, err := new(mime.WordDecoder).DecodeHeader(v); err == nil {
				v = d
			}
		}
		total += len(name) + len(v)
		if m.User == nil {
			m.User = map[string]string{}
		}
		m.User[strings.ToLower(name)] = v
	}
	if total > userBytesMax {
		return fail("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size: they have %d bytes of %d.", total, userBytesMax).
			with("Size", strconv.Itoa(total)).with("MaxSizeAllowed", strconv.Itoa(userBytesMax))
	}
	return nil
}

// unwrappedEncoding takes aws-chunked out of a Content-Encoding: it is the request's, and
// not the object's.
func unwrappedEncoding(v string) string {
	if !wrapped(v) {
		return v
	}
	var rest []string
	for e := range strings.SplitSeq(v, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			rest = append(rest, e)
		}
	}
	return strings.Join(rest, ",")
}

// show writes what is known of an object into the answer's head.
func (q *request) show(info *storage.Info) {
	h := q.w.Header()
	h["Content-Type"] = []string{info.Meta.ContentType}
	h["Etag"] = []string{`"` + info.ETag + `"`}
	h["Last-Modified"] = []string{info.Modified.UTC().Format(http.TimeFormat)}
	h["Accept-Ranges"] = []string{"bytes"}
	q.showVersion(info.Version)
	for k, v := range info.Meta.Headers {
		h[k] = []string{v}
	}
	for k, v := range info.Meta.User {
		if !sendable(v) {
			v = mime.QEncoding.Encode("utf-8", v)
		}
		// In small letters, as S3 writes them: there are clients to whom it matters.
		h[userShown+k] = []string{v}
	}
	if c := info.Meta.System[systemClass]; c != "" {
		h["X-Amz-Storage-Class"] = []string{c}
	}
	if to := info.Meta.System[systemRedirect]; to != "" {
		h[headerRedirect] = []string{to}
	}
	if n := len(info.Meta.Tags); n > 0 {
		h["X-Amz-Tagging-Count"] = []string{strconv.Itoa(n)}
	}
}

// showVersion tells a version's id in a bucket that has had versions.
func (q *request) showVersion(id string) {
	if q.info.Settings.Versioning != storage.Unversioned && id != "" {
		q.set("X-Amz-Version-Id", id)
	}
}

// showNew tells the id that what was made has got. Where versioning is suspended there is
// nothing to tell: it is null.
func (q *request) showNew(info *storage.Info) {
	if info.Version != storage.NullVersion {
		q.showVersion(info.Version)
	}
}

// sendable says that a value can stand in a header as it is. What is not UTF-8 goes back
// as it came.
func sendable(v string) bool {
	if !utf8.ValidString(v) {
		return true
	}
	for i := range len(v) {
		if v[i] >= utf8.RuneSelf || v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
			return false
		}
	}
	return true
}

// conditions reads those of RFC 9110. Times that cannot be read are ignored, as it says.
func (q *request) conditions() storage.Conditions {
	return storage.Conditions{
		Match: tags(q.r.Header["If-Match"]), NoneMatch: tags(q.r.Header["If-None-Match"]),
		ModifiedSince: httpTime(q.header("If-Modified-Since")), UnmodifiedSince: httpTime(q.header("If-Unmodified-Since")),
	}
}

// writeConditions are those that S3 knows for what makes an object. Amazon takes
// If-None-Match with * only; here, as in RFC 9110, it may name ETags.
func (q *request) writeConditions() storage.Conditions {
	return storage.Conditions{Match: tags(q.r.Header["If-Match"]), NoneMatch: tags(q.r.Header["If-None-Match"])}
}

// tags splits a list of ETags.
func tags(values []string) []string {
	var out []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

func httpTime(v string) time.Time {
	if v == "" {
		return time.Time{}
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return time.Time{}
	}
	return t
}

// version is what versionId asks for, "" for the newest.
func (q *request) version() (string, error) {
	v, ok := q.query.Find("versionId")
	if ok && v == "" {
		return "", fail("InvalidArgument", "Version id cannot be the empty string; leave versionId out for the newest.")
	}
	return v, nil
}

// span is a run of an object's bytes.
type span struct {
	off, n int64
	part   bool // it is not the whole
}

// span reads Range. What cannot be read, and several ranges at once, mean the whole, as
// RFC 9110 allows.
func (q *request) span(info *storage.Info) (span, error) {
	whole := span{0, info.Size, false}
	v := q.header("Range")
	if v == "" || !q.ifRange(info) {
		return whole, nil
	}
	first, last, ok := parseRange(v)
	if !ok {
		return whole, nil
	}
	off, n, err := storage.Range(first, last, info.Size)
	if err != nil || first == 0 && last < 0 && strings.HasPrefix(v, "bytes=-") {
		q.set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		return span{}, fail("InvalidRange", "The requested range is not satisfiable: the object has %d bytes.", info.Size).
			with("RangeRequested", v).with("ActualObjectSize", strconv.FormatInt(info.Size, 10))
	}
	return span{off, n, true}, nil
}

// parseRange reads "bytes=FIRST-LAST", as storage.Range takes them.
func parseRange(v string) (first, last int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes=")
	a, b, dash := strings.Cut(strings.TrimSpace(v), "-")
	if !ok || !dash {
		return 0, 0, false
	}
	if a == "" {
		n, ok := digits(b)
		return -n, -1, ok
	}
	if first, ok = digits(a); !ok {
		return 0, 0, false
	}
	if b == "" {
		return first, -1, true
	}
	last, ok = digits(b)
	return first, last, ok && last >= first
}

// digits reads a number without a sign.
func digits(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// ifRange says that If-Range, where it is there, wants the range.
func (q *request) ifRange(info *storage.Info) bool {
	v := q.header("If-Range")
	switch {
	case v == "":
		return true
	case strings.HasPrefix(v, `"`):
		return strings.Trim(v, `"`) == info.ETag
	}
	t := httpTime(v)
	return !t.IsZero() && !info.Modified.Truncate(time.Second).After(t)
}
