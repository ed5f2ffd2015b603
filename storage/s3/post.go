package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/s3/sigv4"
)

// postObject implements POST Object: a browser's form whose policy somebody signed, or
// nobody where the bucket lets everybody write. Its file becomes an object as that of a
// PutObject does, which has the form's fields for a head.
func (q *request) postObject() error {
	f, err := readForm(q.r)
	if err != nil {
		return err
	}
	key, ok := f.fields["key"]
	if !ok {
		return fail("InvalidArgument", "Bucket POST must contain a field named 'key'.")
	}
	file := &sized{r: f.file, max: objectBytesMax}
	if err := q.judgeForm(f, file); err != nil {
		return err
	}
	q.key = strings.ReplaceAll(key, "${filename}", f.name)
	if len(q.key) > storage.KeyBytesMax {
		return fail("KeyTooLongError", "A key has at most %d bytes; this one has %d.", storage.KeyBytesMax, len(q.key))
	}
	if err := storage.CheckKey(q.key); err != nil {
		return err
	}
	if q.r.Header, err = f.header(q.r.Header); err != nil {
		return err
	}
	if err := q.formTags(f); err != nil {
		return err
	}
	if err := q.authorise(iam.PutObject); err != nil {
		return err
	}
	q.r.Body, q.r.ContentLength = http.NoBody, -1
	info, err := q.putForm(file)
	if err != nil {
		return err
	}
	return q.answerForm(f, &info)
}

// judgeForm finds out who signed the form and whether it keeps to what was signed.
func (q *request) judgeForm(f *form, file *sized) error {
	if q.auth != nil {
		q.auth = &sigv4.Auth{AccessKey: q.auth.AccessKey} // what it says of the body is said of the whole form
		return nil
	}
	a, err := sigv4.ParseForm(f.field)
	if err != nil || a == nil {
		return err
	}
	who, secret, err := q.s.people.Key(q.ctx, a.AccessKey)
	if err != nil {
		return err
	}
	if err := a.VerifyForm(f.fields["policy"], secret, &q.s.keys); err != nil {
		return err
	}
	q.auth, q.who = a, who
	p, err := parseFormPolicy(f.fields["policy"])
	if err != nil {
		return err
	}
	if err := p.judge(f, q.name, q.s.now()); err != nil {
		return err
	}
	file.least, file.max = p.least, p.max
	return q.open() // as who signed calls the bucket
}

// formTags puts the field tagging, which is XML, where PutObject looks for tags.
func (q *request) formTags(f *form) error {
	text, ok := f.fields["tagging"]
	if !ok {
		return nil
	}
	var t taggingXML
	if err := xml.Unmarshal([]byte(text), &t); err != nil {
		return fail("MalformedXML", "The field tagging is no Tagging: %v.", err)
	}
	tags, err := t.tags(objectTagsMax)
	if err != nil {
		return err
	}
	v := url.Values{}
	for k, e := range tags {
		v.Set(k, e)
	}
	q.r.Header["X-Amz-Tagging"] = []string{v.Encode()}
	return nil
}

// putForm stores the file.
func (q *request) putForm(file *sized) (storage.Info, error) {
	m, err := q.meta()
	if err != nil {
		return storage.Info{}, err
	}
	if err := q.sealNew(&m); err != nil {
		return storage.Info{}, err
	}
	p, err := q.payload()
	if err != nil {
		return storage.Info{}, err
	}
	defer p.Close()
	if err := q.room(p.size); err != nil { // with the form's other fields, which are little
		return storage.Info{}, err
	}
	p.r = file
	return q.bucket.Put(q.ctx, q.key, p, storage.PutOptions{
		Meta: m, MD5: p.md5,
		Seal: func(m *storage.Meta) error { p.seal(m); return nil },
	})
}

// answerForm sends the browser on, or answers with the status that the form asks for.
func (q *request) answerForm(f *form, info *storage.Info) error {
	etag := `"` + info.ETag + `"`
	q.set("Etag", etag)
	q.showVersion(info.Version)
	q.describeNew(q.w.Header(), info)
	showChecksums(q.w.Header(), info)
	to := f.fields["success_action_redirect"]
	if to == "" {
		to = f.fields["redirect"]
	}
	if u, err := url.Parse(to); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		add := "bucket=" + url.QueryEscape(q.name) + "&key=" + url.QueryEscape(q.key) + "&etag=" + url.QueryEscape(etag)
		if u.RawQuery != "" {
			add = u.RawQuery + "&" + add
		}
		u.RawQuery = add
		q.set("Location", u.String())
		return q.status(http.StatusSeeOther)
	}
	scheme := "http"
	if q.r.TLS != nil {
		scheme = "https"
	}
	path := "/" + q.name
	if q.virtual {
		path = ""
	}
	at := (&url.URL{Scheme: scheme, Host: q.r.Host, Path: path + "/" + q.key}).String()
	q.set("Location", at)
	switch f.fields["success_action_status"] {
	case "200":
		return q.status(http.StatusOK)
	case "201":
		x := newXML().open("PostResponse").text("Location", at).text("Bucket", q.name).text("Key", q.key).text("ETag", etag).close("PostResponse")
		q.begun = true
		x.send(q.w, http.StatusCreated)
		x.free()
		return nil
	}
	return q.status(http.StatusNoContent)
}
