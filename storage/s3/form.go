package s3

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
)

// Limits of a form before its file ("The form data and boundaries (excluding the contents
// of the file) cannot exceed 20 KB"), with room for what a reader reads ahead.
const (
	formBytesMax = 20 << 10
	formAhead    = 8 << 10
)

// form is what a browser sends: fields, and one file, which is read as it comes.
type form struct {
	fields map[string]string // by lower-case name
	name   string            // of the file, as its sender calls it
	kind   string            // the file's own type
	file   *multipart.Part
}

// field is a field's value, by its lower-case name.
func (f *form) field(name string) string { return f.fields[name] }

// fence lets so many bytes pass, until it is taken down.
type fence struct {
	r    io.Reader
	left int
	down bool
}

func (f *fence) Read(p []byte) (int, error) {
	if f.down {
		return f.r.Read(p)
	}
	if f.left <= 0 {
		return 0, fail("MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large: at most %d bytes are taken.", formBytesMax)
	}
	n, err := f.r.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// readForm reads the fields up to the file. What follows the file nobody looks at.
func readForm(r *http.Request) (*form, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, fail("PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data.")
	}
	limit := &fence{r: r.Body, left: formBytesMax + formAhead}
	parts := multipart.NewReader(limit, params["boundary"])
	f := &form{fields: map[string]string{}}
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return nil, fail("InvalidArgument", "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, malformedForm(err)
		}
		name := strings.ToLower(p.FormName())
		if name == "file" {
			limit.down = true
			f.file, f.kind = p, p.Header.Get("Content-Type")
			f.name = fileName(p.Header)
			return f, nil
		}
		value, err := io.ReadAll(p)
		if err != nil {
			return nil, malformedForm(err)
		}
		if _, twice := f.fields[name]; twice {
			return nil, fail("InvalidArgument", "The field %q is there twice.", name)
		}
		f.fields[name] = string(value)
	}
}

// fileName is the last part of the name that a browser gives a file; old ones send the
// whole path.
func fileName(h textproto.MIMEHeader) string {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	name := params["filename"]
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

func malformedForm(err error) error {
	if e := asError(err); e.Code != "InternalError" {
		return e
	}
	return fail("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data: %v.", err)
}

// formHeaders are the fields that say what a header of PutObject says.
var formHeaders = map[string]string{
	"acl": "X-Amz-Acl", "cache-control": "Cache-Control", "content-type": "Content-Type", "content-disposition": "Content-Disposition",
	"content-encoding": "Content-Encoding", "content-language": "Content-Language", "content-md5": "Content-Md5", "expires": "Expires",
	"x-amz-storage-class": "X-Amz-Storage-Class", "x-amz-website-redirect-location": "X-Amz-Website-Redirect-Location",
}

// formPrefixes are further such fields, whose names are those of headers.
var formPrefixes = []string{"x-amz-meta-", "x-amz-object-lock-", "x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-grant-", "x-amz-server-side-encryption"}

// header is the head of a PutObject that asks for what the form does.
func (f *form) header(of http.Header) (http.Header, error) {
	h := http.Header{}
	for _, k := range []string{"Origin", "Referer", "User-Agent"} {
		if v, ok := of[k]; ok {
			h[k] = v
		}
	}
	for name, value := range f.fields {
		if k, ok := formHeaders[name]; ok {
			h[k] = []string{value}
			continue
		}
		for _, p := range formPrefixes {
			if strings.HasPrefix(name, p) {
				h[http.CanonicalHeaderKey(name)] = []string{value}
			}
		}
	}
	if h["Content-Type"] == nil && f.kind != "" {
		h["Content-Type"] = []string{f.kind}
	}
	for k, v := range h {
		if strings.ContainsAny(v[0], "\r\n\x00") {
			return nil, fail("InvalidArgument", "The field for %s holds a line's end.", k)
		}
	}
	return h, nil
}

// sized is a file on its way, which must have so many bytes.
type sized struct {
	r          io.Reader
	least, max int64
	count      int64
}

func (s *sized) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.count += int64(n)
	switch {
	case s.count > s.max:
		return n, fail("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size of %d bytes.", s.max)
	case err == io.EOF && s.count < s.least:
		return n, fail("EntityTooSmall", "Your proposed upload has %d bytes, which is below the minimum of %d.", s.count, s.least)
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("reading the file of a form: %w", err)
	}
	return n, err
}
