package swift

import (
	"bufio"
	"errors"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of a form's fields.
const (
	fieldBytesMax = 16 << 10
	fieldsMax     = 1000
)

// form is what comes before the files.
type form map[string]string

// formPost answers a browser's form that uploads files to a container. Its signature is
// what lets it in.
func (c *call) formPost() (bool, error) {
	kind, params, err := mime.ParseMediaType(c.header("Content-Type"))
	if err != nil || kind != "multipart/form-data" || c.method() != http.MethodPost || c.container == "" {
		return false, nil
	}
	if params["boundary"] == "" {
		return true, plainf(400, "FormPost: invalid multipart boundary")
	}
	r := multipart.NewReader(bufio.NewReader(c.r.Body), params["boundary"])
	f := form{}
	files := 0
	for n := 0; n < fieldsMax; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return true, plainf(400, "FormPost: %s", "invalid starting boundary")
		}
		if p.FileName() == "" && p.Header.Get("Content-Disposition") != "" && !strings.Contains(p.Header.Get("Content-Disposition"), "filename=") {
			b, err := io.ReadAll(io.LimitReader(p, fieldBytesMax))
			if err != nil {
				return true, err
			}
			f[p.FormName()] = string(b)
			continue
		}
		if files == 0 {
			if err := c.formCheck(f); err != nil {
				return true, err
			}
		}
		files++
		if most, _ := strconv.Atoi(f["max_file_count"]); files > most {
			return true, c.formEnd(f, 400, "max file count exceeded")
		}
		status, why := c.formFile(f, p)
		if status == 413 && why != "" {
			return true, plainf(400, "FormPost: %s", why)
		}
		if status/100 != 2 {
			return true, c.formEnd(f, status, why)
		}
	}
	if files == 0 {
		return true, c.formEnd(f, 400, "no files to process")
	}
	return true, c.formEnd(f, 201, "")
}

// formCheck judges a form's signature, and gives its rights.
func (c *call) formCheck(f form) error {
	no := func(why string) error {
		return refusef(401, "FormPost: %s", why).with("Www-Authenticate", `Swift realm="unknown"`)
	}
	expires, err := strconv.ParseInt(f["expires"], 10, 64)
	if err != nil {
		return plainf(400, "FormPost: expired not an integer")
	}
	if expires <= c.h.cfg.Now().Unix() {
		return no("Form Expired")
	}
	if _, err := strconv.ParseInt(f["max_file_size"], 10, 64); err != nil {
		return plainf(400, "FormPost: max_file_size not an integer")
	}
	if _, err := strconv.Atoi(f["max_file_count"]); err != nil {
		return plainf(400, "FormPost: max_file_count not an integer")
	}
	for n, what := range map[string]string{"x_delete_at": "Unix timestamp", "x_delete_after": "Number of seconds"} {
		if _, err := strconv.ParseInt(f[n], 10, 64); f[n] != "" && err != nil {
			return plainf(400, "FormPost: %s not an integer: %s required.", n, what)
		}
	}
	path := pathOf(c.shown, c.container)
	if c.object != "" || strings.HasSuffix(c.r.URL.Path, "/") {
		path += "/" + c.object
	}
	text := strings.Join([]string{path, f["redirect"], f["max_file_size"], f["max_file_count"], f["expires"]}, "\n")
	hash, sum := digest(f["signature"])
	if hash == nil {
		return no("Invalid Signature")
	}
	keys, err := c.secrets()
	if err != nil {
		return err
	}
	c.scope = nil
	for _, k := range keys {
		if signed(hash, k.key, text, sum) {
			c.scope = &k.scope
		}
	}
	if c.scope == nil {
		return no("Invalid Signature")
	}
	c.anonymous()
	return nil
}

// formFile stores one file.
func (c *call) formFile(f form, p *multipart.Part) (status int, why string) {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err != nil || params["filename"] == "" {
		return 400, "Invalid file name"
	}
	h := http.Header{}
	if t := p.Header.Get("Content-Type"); t != "" {
		h.Set("Content-Type", t)
	}
	for _, n := range []string{"X-Delete-At", "X-Delete-After"} {
		if v := f[strings.ToLower(strings.ReplaceAll(n, "-", "_"))]; v != "" {
			h.Set(n, v)
		}
	}
	if e := p.Header.Get("Content-Encoding"); e != "" {
		h.Set("Content-Encoding", e)
	}
	most, _ := strconv.ParseInt(f["max_file_size"], 10, 64)
	body := &limited{r: p, left: most, fault: refuse(413)}
	rec := c.subcall(http.MethodPut, pathOf(c.shown, c.container, c.object+params["filename"]), h, body, -1)
	if rec.status == 413 {
		return 413, "max_file_size exceeded"
	}
	return rec.status, ""
}

// title is a text with each word's first letter large.
func title(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// formEnd tells the browser, or sends it on.
func (c *call) formEnd(f form, status int, why string) error {
	h := c.w.Header()
	h.Del("Etag")
	if to := f["redirect"]; to != "" {
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		to += sep + "status=" + strconv.Itoa(status) + "&message=" + url.QueryEscape(why)
		h.Set("Location", to)
		h.Set("Content-Type", kindHTML)
		c.answer(303, `<html><body><p><a href="`+html.EscapeString(to)+`">Click to continue...</a></p></body></html>`)
		return nil
	}
	text := line(status)
	if status == 201 {
		text = "201 Created"
	}
	if why != "" {
		text += "\r\nFormPost: " + title(why)
	}
	h.Set("Content-Type", kindPlain)
	c.answer(status, text)
	return nil
}
