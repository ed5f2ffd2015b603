package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

// usual is the policy of most tests: what it has in common with others.
func usual(more ...any) []any {
	return append([]any{map[string]string{"bucket": "box"}, []any{"starts-with", "$key", "foo"}, map[string]string{"acl": "private"},
		[]any{"starts-with", "$Content-Type", "text/plain"}, []any{"content-length-range", 0, 1024}}, more...)
}

// signForm makes a policy and signs it in Version 2.
func signForm(expires time.Time, conditions []any) map[string]string {
	b, err := json.Marshal(map[string]any{"expiration": expires.UTC().Format("2006-01-02T15:04:05Z"), "conditions": conditions})
	if err != nil {
		panic(err)
	}
	return signText(string(b))
}

func signText(policy string) map[string]string {
	s := sigv4.Signer{AccessKey: "MAIN", Secret: secretOf("MAIN"), Region: "us-east-1"}
	return s.SignForm2(base64.StdEncoding.EncodeToString([]byte(policy)))
}

// post sends a form: fields in turn, and then the file. A name of nil fields is left out.
func (w *world) post(path string, auth map[string]string, file string, fields ...string) *reply {
	w.t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = m.WriteField(fields[i], fields[i+1])
	}
	for k, v := range auth {
		_ = m.WriteField(k, v)
	}
	p, err := m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="C:\dir\foo.txt"`}, "Content-Type": {"text/x-part"}})
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = p.Write([]byte(file))
	_ = m.WriteField("after", "is ignored")
	if err := m.Close(); err != nil {
		w.t.Fatal(err)
	}
	r := w.request("POST", path, b.Bytes(), head{"Content-Type", m.FormDataContentType()})
	return w.do(r)
}

var inAnHour = time.Now().Add(time.Hour)

func TestPost(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-acl", "public-read-write"))
	w.ok(w.main("PUT", "/shut", ""))
	form := func(more ...string) []string {
		return append([]string{"key", "foo.txt", "acl", "private", "Content-Type", "text/plain"}, more...)
	}
	auth := signForm(inAnHour, usual())
	r := w.want(w.post("/box", nil, "bar", "key", "anonymous", "acl", "public-read", "Content-Type", "text/plain"), 204, "")
	if r.Header.Get("Etag") == "" || !strings.HasSuffix(r.Header.Get("Location"), "/box/anonymous") {
		t.Errorf("the answer's head is %v", r.Header)
	}
	if r := w.ok(w.as("", "GET", "/box/anonymous", nil, nil)); string(r.body) != "bar" || r.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %q of %s", r.body, r.Header.Get("Content-Type"))
	}
	w.want(w.post("/shut", nil, "bar", "key", "k"), 403, "AccessDenied")
	w.want(w.post("/box", auth, "bar", form()...), 204, "")
	r = w.want(w.post("/box", signForm(inAnHour, usual([]any{"eq", "$success_action_status", "201"})), "bar", form("success_action_status", "201")...), 201, "")
	var made struct{ Key, Bucket string }
	if err := xml.Unmarshal(r.body, &made); err != nil || made.Key != "foo.txt" || made.Bucket != "box" {
		t.Errorf("got %s, %v", r.body, err)
	}
	anything := []any{"starts-with", "$success_action_status", ""}
	w.want(w.post("/box", signForm(inAnHour, usual(anything)), "bar", form("success_action_status", "404")...), 204, "")
	w.want(w.post("/box", auth, "bar", form("x-ignore-foo", "bar")...), 204, "")
	w.want(w.post("/box", signForm(inAnHour, usual()), "", form()...), 204, "")

	odd := []any{map[string]string{"bUcKeT": "box"}, []any{"StArTs-WiTh", "$KeY", "foo"}, map[string]string{"AcL": "private"}, []any{"StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"}}
	w.want(w.post("/box", signForm(inAnHour, odd), "bar", "kEy", "foo.txt", "aCl", "private", "Content-Type", "text/plain"), 204, "")
	w.want(w.post("/box", signForm(inAnHour, []any{map[string]string{"bucket": "box"}, []any{"starts-with", "$key", `\$foo`}}), "bar", "key", `\$foo.txt`), 204, "")
	w.ok(w.main("GET", "/box/%5C$foo.txt", ""))
	w.want(w.post("/box", signForm(inAnHour, []any{map[string]string{"bucket": "box"}, []any{"starts-with", "$key", ""}}), "bar", "key", "dir/${filename}"), 204, "")
	if r := w.ok(w.main("GET", "/box/dir/foo.txt", "")); r.Header.Get("Content-Type") != "text/x-part" {
		t.Errorf("the type is %s", r.Header.Get("Content-Type"))
	}
	w.want(w.post("/box", signForm(inAnHour, usual([]any{"starts-with", "$x-amz-meta-foo", "bar"})), "bar", form("x-amz-meta-foo", "barclamp")...), 204, "")
	if got := w.ok(w.main("HEAD", "/box/foo.txt", "")).Header.Get("X-Amz-Meta-Foo"); got != "barclamp" {
		t.Errorf("metadata is %q", got)
	}
	w.want(w.post("/box", nil, "bar", "key", "tagged", "tagging", tagBody("a", "b")), 204, "")
	if got := w.tags(w.main("GET", "/box/tagged?tagging", "")); len(got) != 2 || got[1] != "b" {
		t.Errorf("tags are %v", got)
	}
}

func TestPostRefused(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	form := []string{"key", "foo.txt", "acl", "private", "Content-Type", "text/plain"}
	with := func(k, v string) map[string]string {
		a := signForm(inAnHour, usual())
		if a[k] = v; v == "" {
			delete(a, k)
		}
		return a
	}
	text := func(s string) map[string]string { return signText(s) }
	date := inAnHour.UTC().Format(time.RFC3339)
	bucket := map[string]string{"bucket": "box"}
	ranged := func(list ...any) map[string]string {
		return signForm(inAnHour, append(usual()[:4:4], append([]any{"content-length-range"}, list...)))
	}
	for name, c := range map[string]struct {
		auth   map[string]string
		fields []string
		status int
		code   string
	}{
		"access key":           {with("AWSAccessKeyId", "foo"), form, 403, "InvalidAccessKeyId"},
		"signature":            {with("signature", "Zm9v"), form, 403, "SignatureDoesNotMatch"},
		"another policy":       {with("policy", signForm(inAnHour, usual(bucket))["policy"]), form, 403, "SignatureDoesNotMatch"},
		"no signature":         {with("signature", ""), form, 400, "InvalidArgument"},
		"policy alone":         {map[string]string{"policy": with("x", "")["policy"]}, form, 400, "InvalidArgument"},
		"no policy":            {with("policy", ""), form, 400, "InvalidArgument"},
		"no key":               {signForm(inAnHour, []any{bucket}), nil, 400, "InvalidArgument"},
		"key by condition":     {with("x", ""), form[2:], 400, "InvalidArgument"},
		"no bucket":            {signForm(inAnHour, usual()[1:]), form, 403, "AccessDenied"},
		"wrong bucket":         {signForm(inAnHour, append(usual()[1:], map[string]string{"bucket": "other"})), form, 403, "AccessDenied"},
		"expired":              {signForm(time.Now().Add(-time.Hour), usual()), form, 403, "AccessDenied"},
		"extra field":          {with("x", ""), append(form, "x-amz-meta-a", "b"), 403, "AccessDenied"},
		"missing field":        {signForm(inAnHour, usual([]any{"starts-with", "$x-amz-meta-foo", "bar"})), form, 403, "AccessDenied"},
		"wrong value":          {signForm(inAnHour, usual([]any{"eq", "$x-amz-meta-foo", ""})), append(form, "x-amz-meta-foo", "barclamp"), 403, "AccessDenied"},
		"date":                 {text(`{"expiration":"soon","conditions":[]}`), form, 400, "InvalidPolicyDocument"},
		"case of conditions":   {text(`{"expiration":"` + date + `","CONDITIONS":[]}`), form, 400, "InvalidPolicyDocument"},
		"case of expiration":   {text(`{"EXPIRATION":"` + date + `","conditions":[]}`), form, 400, "InvalidPolicyDocument"},
		"no expiration":        {text(`{"conditions":[]}`), form, 400, "InvalidPolicyDocument"},
		"no conditions":        {text(`{"expiration":"` + date + `"}`), form, 400, "InvalidPolicyDocument"},
		"empty condition":      {signForm(inAnHour, []any{map[string]string{}}), form, 400, "InvalidPolicyDocument"},
		"operator":             {signForm(inAnHour, []any{[]any{"ends-with", "$key", "x"}}), form, 400, "InvalidPolicyDocument"},
		"no dollar":            {signForm(inAnHour, []any{[]any{"eq", "key", "x"}}), form, 400, "InvalidPolicyDocument"},
		"no JSON":              {text(`{`), form, 400, "InvalidPolicyDocument"},
		"above the range":      {ranged(0, 0), form, 400, "EntityTooLarge"},
		"below the range":      {ranged(512, 1000), form, 400, "EntityTooSmall"},
		"half a range":         {ranged(0), form, 400, "InvalidPolicyDocument"},
		"range below 0":        {ranged(-1, 0), form, 400, "InvalidPolicyDocument"},
		"fields twice":         {with("x", ""), append(form, "ACL", "public-read"), 400, "InvalidArgument"},
		"fields that are long": {with("x", ""), append(form, "x-ignore-a", strings.Repeat("a", 40<<10)), 400, "MaxPostPreDataLengthExceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			w.want(w.post("/box", c.auth, "bar", c.fields...), c.status, c.code)
			w.want(w.main("GET", "/box/foo.txt", ""), 404, "NoSuchKey")
		})
	}
	w.want(w.do(w.request("POST", "/box", []byte("x=y"), head{"Content-Type", "application/x-www-form-urlencoded"})), 412, "PreconditionFailed")
	for body, code := range map[string]string{
		"--x\r\nno header\r\n\r\n":                                     "MalformedPOSTRequest",
		"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk": "IncompleteBody",
		"--x--\r\n": "InvalidArgument",
	} {
		w.want(w.do(w.request("POST", "/box", []byte(body), head{"Content-Type", "multipart/form-data; boundary=x"})), 400, code)
	}
}

func TestPostVersion4(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	now := time.Now().UTC()
	s := sigv4.Signer{AccessKey: "MAIN", Secret: secretOf("MAIN"), Region: "us-east-1"}
	conditions := []any{map[string]string{"bucket": "box"}, []any{"starts-with", "$key", ""}, map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA256"},
		map[string]string{"x-amz-credential": s.Credential(now)}, []any{"starts-with", "$x-amz-date", ""}, []any{"starts-with", "$x-amz-checksum-sha256", ""}}
	b, err := json.Marshal(map[string]any{"expiration": inAnHour.UTC().Format(time.RFC3339), "conditions": conditions})
	if err != nil {
		t.Fatal(err)
	}
	auth := s.SignForm(base64.StdEncoding.EncodeToString(b), now)
	sum := sha256.Sum256([]byte("bar"))
	w.want(w.post("/box", auth, "bar", "key", "k", "x-amz-checksum-sha256", base64.StdEncoding.EncodeToString(sum[:])), 204, "")
	w.want(w.post("/box", auth, "other", "key", "k2", "x-amz-checksum-sha256", base64.StdEncoding.EncodeToString(sum[:])), 400, "BadDigest")
	w.want(w.main("GET", "/box/k2", ""), 404, "NoSuchKey")
	auth["x-amz-signature"] = strings.Repeat("0", 64)
	w.want(w.post("/box", auth, "bar", "key", "k"), 403, "SignatureDoesNotMatch")
}

func TestPostRedirect(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-acl", "public-read-write"))
	client := *w.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	*w.http.Client() = client
	r := w.want(w.post("/box", nil, "bar", "key", "a b", "success_action_redirect", "http://x.example/y?z=1"), 303, "")
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Host != "x.example" || q.Get("z") != "1" || q.Get("bucket") != "box" || q.Get("key") != "a b" || q.Get("etag") != `"37b51d194a7513e45b56f6524f2d51f2"` {
		t.Errorf("sent on to %s", u)
	}
	w.want(w.post("/box", nil, "bar", "key", "k", "success_action_redirect", "javascript:x"), 204, "")
}

func FuzzFormPolicy(f *testing.F) {
	f.Add(`{"expiration":"2030-01-01T00:00:00Z","conditions":[{"bucket":"b"},["eq","$key","k"],["content-length-range","1",2]]}`, "k")
	f.Fuzz(func(t *testing.T, s, key string) {
		p, err := parseFormPolicy(base64.StdEncoding.EncodeToString([]byte(s)))
		if err != nil {
			return
		}
		if p.least < 0 || p.max > objectBytesMax {
			t.Errorf("sizes are %d to %d", p.least, p.max)
		}
		_ = p.judge(&form{fields: map[string]string{"key": key}}, "b", time.Now())
	})
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\b\"\r\n\r\nbody\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := http.NewRequest("POST", "/", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		got, err := readForm(r)
		if err != nil {
			if asError(err).Code == "InternalError" {
				t.Errorf("an error of no code: %v", err)
			}
			return
		}
		total := 0
		for _, v := range got.fields {
			total += len(v)
		}
		if total > formBytesMax+formAhead {
			t.Errorf("fields of %d bytes", total)
		}
	})
}
