package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

func md5Base64(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func etag(s string) string {
	sum := md5.Sum([]byte(s))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// bucketed is a world with a bucket of the usual user's.
func bucketed(t testing.TB) *world {
	w := newWorld(t)
	w.ok(w.main("PUT", "/data", ""))
	return w
}

func TestObject(t *testing.T) {
	w := bucketed(t)
	long := strings.Repeat("0123456789", 50_000)
	for _, key := range []string{"k", "a/b/c", "sp ace+plus", "%25/..//./x", "über/日本", "a?b&c=d#e", strings.Repeat("k", 1024), "~-_.!*'()"} {
		path := "/data/" + escapeKey(key)
		for _, body := range []string{"", "hello", long} {
			r := w.ok(w.main("PUT", path, body, "Content-Type", "text/x", "X-Amz-Meta-Color", "red", "Cache-Control", "no-cache",
				"Content-Disposition", "inline", "Content-Encoding", "gzip", "Content-Language", "de", "Expires", "Thu, 01 Dec 1994 16:00:00 GMT"))
			if got := r.Header.Get("Etag"); got != etag(body) {
				t.Errorf("%s: ETag %s, want %s", key, got, etag(body))
			}
			for _, m := range []string{"GET", "HEAD"} {
				r = w.ok(w.main(m, path, ""))
				if m == "GET" && string(r.body) != body {
					t.Errorf("%s: got %d bytes, want %d", key, len(r.body), len(body))
				}
				for k, want := range map[string]string{
					"Etag": etag(body), "Content-Type": "text/x", "X-Amz-Meta-Color": "red", "Cache-Control": "no-cache", "Accept-Ranges": "bytes",
					"Content-Disposition": "inline", "Content-Encoding": "gzip", "Content-Language": "de", "Expires": "Thu, 01 Dec 1994 16:00:00 GMT",
					"Content-Length": fmt.Sprint(len(body)), "X-Amz-Version-Id": "",
				} {
					if got := r.Header.Get(k); got != want {
						t.Errorf("%s %s: %s is %q, want %q", m, key, k, got, want)
					}
				}
			}
		}
		w.want(w.main("DELETE", path, ""), 204, "")
		w.want(w.main("GET", path, ""), 404, "NoSuchKey")
		w.want(w.main("DELETE", path, ""), 204, "")
	}
	w.want(w.main("PUT", "/data/"+strings.Repeat("k", 1025), ""), 400, "KeyTooLongError")
	w.want(w.main("PUT", "/data/%00", ""), 400, "InvalidArgument")
	w.want(w.main("PUT", "/nodata/k", "x"), 404, "NoSuchBucket")
}

func escapeKey(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		if c == '/' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func TestBadPuts(t *testing.T) {
	w := bucketed(t)
	for name, c := range map[string]struct {
		body   string
		head   []string
		status int
		code   string
	}{
		"right md5":             {"bar", []string{"Content-MD5", md5Base64("bar")}, 200, ""},
		"short md5":             {"bar", []string{"Content-MD5", "YWJyYWNhZGFicmE="}, 400, "InvalidDigest"},
		"no base64":             {"bar", []string{"Content-MD5", "!"}, 400, "InvalidDigest"},
		"empty md5":             {"bar", []string{"Content-MD5", ""}, 400, "InvalidDigest"},
		"wrong md5":             {"bar", []string{"Content-MD5", md5Base64("foo")}, 400, "BadDigest"},
		"right crc":             {"bar", []string{"X-Amz-Checksum-Crc32", "dv+MEg=="}, 400, "BadDigest"},
		"wrong length of crc":   {"bar", []string{"X-Amz-Checksum-Crc32", "dv+M"}, 400, "InvalidRequest"},
		"two checksums":         {"bar", []string{"X-Amz-Checksum-Crc32", "dv+MEg==", "X-Amz-Checksum-Crc32c", "dv+MEg=="}, 400, "InvalidRequest"},
		"an unknown algorithm":  {"bar", []string{"X-Amz-Sdk-Checksum-Algorithm", "CRC16"}, 400, "InvalidRequest"},
		"two algorithms":        {"bar", []string{"X-Amz-Sdk-Checksum-Algorithm", "SHA1", "X-Amz-Checksum-Crc32", "dv+MEg=="}, 400, "InvalidRequest"},
		"a trailer without one": {"bar", []string{"X-Amz-Trailer", "x-amz-checksum-crc32"}, 400, "InvalidRequest"},
		"much metadata":         {"bar", []string{"X-Amz-Meta-A", strings.Repeat("x", 2049)}, 400, "MetadataTooLarge"},
		"as much as may be":     {"bar", []string{"X-Amz-Meta-A", strings.Repeat("x", 2047)}, 200, ""},
		"a redirection":         {"bar", []string{"X-Amz-Website-Redirect-Location", "ftp://a"}, 400, "InvalidRedirectLocation"},
		"an unknown class":      {"bar", []string{"X-Amz-Storage-Class", "COLD"}, 400, "InvalidStorageClass"},
		"another owner":         {"bar", []string{"X-Amz-Expected-Bucket-Owner", "alt"}, 403, "AccessDenied"},
		"the owner":             {"bar", []string{"X-Amz-Expected-Bucket-Owner", "main"}, 200, ""},
		"if it is there":        {"bar", []string{"If-Match", `"x"`}, 404, "NoSuchKey"},
		"if another is not":     {"bar", []string{"If-None-Match", `"x"`}, 200, ""},
	} {
		r := w.main("PUT", "/data/"+strings.ReplaceAll(name, " ", "-"), c.body, c.head...)
		w.want(r, c.status, c.code)
		if got := w.main("HEAD", "/data/"+strings.ReplaceAll(name, " ", "-"), ""); (got.StatusCode == 200) != (c.status == 200) {
			t.Errorf("%s: the object is there: %v", name, got.StatusCode == 200)
		}
	}
	w.want(w.main("PUT", "/data/k?versionId=x", "b"), 400, "InvalidArgument")
	w.want(w.main("POST", "/data/k", "b"), 405, "MethodNotAllowed")
	w.want(w.main("PUT", "/data/k?torrent", "b"), 501, "NotImplemented")
}

// TestLengths sends what Go's client would not.
func TestLengths(t *testing.T) {
	w := bucketed(t)
	r := w.request("PUT", "/data/k", nil, nil)
	r.Body, r.ContentLength = http.NoBody, 0
	s := w.signer("MAIN")
	if err := s.Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		t.Fatal(err)
	}
	raw := "PUT /data/k HTTP/1.1\r\nHost: " + r.URL.Host + "\r\n"
	for _, k := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"} {
		raw += k + ": " + r.Header.Get(k) + "\r\n"
	}
	w.want(w.raw(raw+"\r\n"), 411, "MissingContentLength")
	w.want(w.raw(raw+"Content-Length: 6442450944\r\nExpect: 100-continue\r\n\r\n"), 400, "EntityTooLarge")
	w.want(w.raw(raw+"Content-Length: -1\r\n\r\n"), 400, "")
	w.want(w.raw(raw+"Content-Length: 0\r\n\r\n"), 200, "")
	w.want(w.raw(raw+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), 200, "")
	if got := w.ok(w.main("GET", "/data/k", "")); string(got.body) != "abc" {
		t.Errorf("got %q", got.body)
	}
	// A body that is shorter than its length stores nothing.
	w.rawShort(raw + "Content-Length: 10\r\n\r\nshort")
	if got := w.ok(w.main("GET", "/data/k", "")); string(got.body) != "abc" {
		t.Errorf("after a short body: got %q", got.body)
	}
}

// TestExpectContinue sees that a request is judged before its body is asked for.
func TestExpectContinue(t *testing.T) {
	w := bucketed(t)
	head := "PUT /data/k HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
	w.want(w.raw(head), 403, "AccessDenied")
	r := w.request("PUT", "/data/k", []byte("abc"), head2("Expect", "100-continue"))
	if err := w.signer("MAIN").Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.ok(w.do(r))
}

// TestEarlyError sees that a client which sends its whole body first gets to read the
// answer.
func TestEarlyError(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "there"))
	body := noise(16 << 20)
	r := w.request("PUT", "/data/k", nil, head{"If-None-Match", "*"})
	if err := w.signer("MAIN").Sign(r, sigv4.Unsigned, time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.want(w.sendRaw(r, len(body), body), 412, "PreconditionFailed")
	}
	r.Header.Del("Authorization")
	w.want(w.sendRaw(r, 1<<20, body[:1<<20]), 403, "AccessDenied")
}

func head2(s ...string) head { return s }

func TestConditions(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "body"))
	tag := etag("body")
	before, after := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		k, v   string
		status int
	}{
		{"If-Match", tag, 200}, {"If-Match", `"x", ` + tag, 200}, {"If-Match", "*", 200}, {"If-Match", `"x"`, 412},
		{"If-None-Match", tag, 304}, {"If-None-Match", "*", 304}, {"If-None-Match", `"x"`, 200}, {"If-None-Match", "W/" + tag, 304},
		{"If-Modified-Since", before, 200}, {"If-Modified-Since", after, 304}, {"If-Modified-Since", "nonsense", 200},
		{"If-Unmodified-Since", before, 412}, {"If-Unmodified-Since", after, 200},
	} {
		for _, m := range []string{"GET", "HEAD"} {
			r := w.want(w.main(m, "/data/k", "", c.k, c.v), c.status, "")
			if c.status == 304 && (r.Header.Get("Etag") != tag || len(r.body) > 0) {
				t.Errorf("%s: %s: ETag %s, %d bytes", c.k, c.v, r.Header.Get("Etag"), len(r.body))
			}
		}
	}
	w.want(w.main("PUT", "/data/k", "2", "If-None-Match", "*"), 412, "PreconditionFailed")
	w.want(w.main("PUT", "/data/k", "2", "If-None-Match", w.main("HEAD", "/data/k", "").Header.Get("Etag")), 412, "PreconditionFailed")
	w.want(w.main("PUT", "/data/k", "2", "If-Match", `"x"`), 412, "PreconditionFailed")
	w.want(w.main("PUT", "/data/k", "2", "If-Match", tag), 200, "")
	w.want(w.main("PUT", "/data/new", "2", "If-None-Match", "*"), 200, "")
	w.want(w.main("DELETE", "/data/k", "", "If-Match", tag), 412, "PreconditionFailed")
	w.want(w.main("DELETE", "/data/k", "", "X-Amz-If-Match-Size", "2"), 412, "PreconditionFailed")
	w.want(w.main("DELETE", "/data/k", "", "X-Amz-If-Match-Last-Modified-Time", before), 412, "PreconditionFailed")
	w.want(w.main("DELETE", "/data/k", "", "If-Match", etag("2"), "X-Amz-If-Match-Size", "1"), 204, "")
	w.want(w.main("HEAD", "/data/k", ""), 404, "")
	w.want(w.main("DELETE", "/data/k", "", "If-Match", tag), 204, "")
}

func TestRanges(t *testing.T) {
	w := bucketed(t)
	body := "testcontent"
	w.ok(w.main("PUT", "/data/k", body))
	w.ok(w.main("PUT", "/data/empty", ""))
	for _, c := range []struct {
		rng, want, content string
		status             int
	}{
		{"bytes=4-7", "cont", "bytes 4-7/11", 206}, {"bytes=4-", "content", "bytes 4-10/11", 206}, {"bytes=-7", "content", "bytes 4-10/11", 206},
		{"bytes=-99", body, "bytes 0-10/11", 206}, {"bytes=0-0", "t", "bytes 0-0/11", 206}, {"bytes=4-999", "content", "bytes 4-10/11", 206},
		{"bytes=40-50", "", "", 416}, {"bytes=11-", "", "", 416}, {"bytes=-0", "", "", 416},
		{"bytes=7-4", body, "", 200}, {"bytes=a-b", body, "", 200}, {"bytes=0-1,3-4", body, "", 200}, {"items=0-1", body, "", 200}, {"bytes=", body, "", 200},
		{"bytes=99999999999999999999-", body, "", 200},
	} {
		r := w.want(w.main("GET", "/data/k", "", "Range", c.rng), c.status, "")
		if c.status == 416 {
			if r.code() != "InvalidRange" || r.Header.Get("Content-Range") != "bytes */11" {
				t.Errorf("%s: %s, Content-Range %s", c.rng, r.code(), r.Header.Get("Content-Range"))
			}
			continue
		}
		if string(r.body) != c.want || r.Header.Get("Content-Range") != c.content {
			t.Errorf("%s: %q, Content-Range %q", c.rng, r.body, r.Header.Get("Content-Range"))
		}
		h := w.want(w.main("HEAD", "/data/k", "", "Range", c.rng), c.status, "")
		if h.ContentLength != int64(len(c.want)) {
			t.Errorf("HEAD %s: length %d", c.rng, h.ContentLength)
		}
	}
	w.want(w.main("GET", "/data/empty", "", "Range", "bytes=0-1"), 416, "InvalidRange")
	if r := w.main("GET", "/data/k", "", "Range", "bytes=0-1", "If-Range", etag(body)); r.StatusCode != 206 {
		t.Errorf("If-Range of this version: %d", r.StatusCode)
	}
	if r := w.main("GET", "/data/k", "", "Range", "bytes=0-1", "If-Range", `"x"`); r.StatusCode != 200 {
		t.Errorf("If-Range of another version: %d", r.StatusCode)
	}
}

func TestOverrides(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "x", "X-Amz-Acl", "public-read"))
	query := "?response-content-type=foo/bar&response-content-language=esperanto&response-expires=123&response-cache-control=no-cache&response-content-disposition=bla&response-content-encoding=aaa"
	r := w.ok(w.main("GET", "/data/k"+query, ""))
	for k, want := range map[string]string{
		"Content-Type": "foo/bar", "Content-Language": "esperanto", "Expires": "123", "Cache-Control": "no-cache", "Content-Disposition": "bla", "Content-Encoding": "aaa",
	} {
		if got := r.Header.Get(k); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	w.ok(w.as("", "GET", "/data/k", nil, nil))
	w.want(w.as("", "GET", "/data/k"+query, nil, nil), 400, "InvalidRequest")
}

func TestMetadata(t *testing.T) {
	w := bucketed(t)
	put := func(v string) string {
		w.ok(w.main("PUT", "/data/k", "x", "X-Amz-Meta-Name", v))
		return w.ok(w.main("GET", "/data/k", "")).Header.Get("X-Amz-Meta-Name")
	}
	for _, c := range []struct{ put, want string }{
		{"plain", "plain"}, {"h\xe9llo", "h\xe9llo"}, {"Hällo", "=?utf-8?q?H=C3=A4llo?="}, {"=?UTF-8?B?SMOkbGxv?=", "=?utf-8?q?H=C3=A4llo?="}, {"", ""},
	} {
		if got := put(c.put); got != c.want {
			t.Errorf("%q came back as %q, want %q", c.put, got, c.want)
		}
	}
	r := w.request("PUT", "/data/k", []byte("x"), head{"X-Amz-Meta-A", "1", "X-Amz-Meta-A", "2", "X-Amz-Storage-Class", "GLACIER"})
	if err := w.signer("MAIN").Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.ok(w.do(r))
	got := w.ok(w.main("GET", "/data/k", ""))
	if got.Header.Get("X-Amz-Meta-A") != "1,2" || got.Header.Get("X-Amz-Storage-Class") != "GLACIER" || got.Header.Get("Content-Type") != defaultType {
		t.Errorf("head: %v", got.Header)
	}
}

// TestSwiftHeaders sees that what Swift's door obeys means nothing here.
func TestSwiftHeaders(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/secret", "secret"))
	w.ok(w.main("PUT", "/data/k", "plain", "X-Object-Manifest", "data/secret", "X-Symlink-Target", "data/secret", "X-Delete-After", "1", "X-Object-Meta-A", "b"))
	r := w.ok(w.main("GET", "/data/k?multipart-manifest=get", ""))
	if string(r.body) != "plain" || r.Header.Get("X-Object-Manifest") != "" || r.Header.Get("X-Object-Meta-A") != "" {
		t.Errorf("%q, %v", r.body, r.Header)
	}
	b, err := w.space.Resolve(t.Context(), "main", "data")
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Stat(t.Context(), "k", readNewest)
	if err != nil || !info.Meta.Expires.IsZero() || len(info.Meta.User) > 0 || len(info.Meta.Headers) > 0 {
		t.Errorf("%+v, %v", info.Meta, err)
	}
}

func TestObjectAccess(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "x"))
	w.ok(w.main("PUT", "/data/public", "x", "X-Amz-Acl", "public-read"))
	for _, who := range []string{"", "ALT", "PLAIN"} {
		w.want(w.as(who, "GET", "/data/k", nil, nil), 403, "AccessDenied")
		w.want(w.as(who, "GET", "/data/missing", nil, nil), 403, "AccessDenied")
		w.want(w.as(who, "PUT", "/data/k", []byte("y"), nil), 403, "AccessDenied")
		w.want(w.as(who, "DELETE", "/data/k", nil, nil), 403, "AccessDenied")
		w.want(w.as(who, "GET", "/nodata/k", nil, nil), 404, "NoSuchBucket")
		w.ok(w.as(who, "GET", "/data/public", nil, nil))
	}
	w.ok(w.as("OPS", "GET", "/data/k", nil, nil))
	w.want(w.as("NOBODY", "GET", "/data/k", nil, nil), 403, "InvalidAccessKeyId")
	r := w.request("GET", "/data/k", nil, nil)
	s := w.signer("MAIN")
	s.Secret = "wrong"
	if err := s.Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.want(w.do(r), 403, "SignatureDoesNotMatch")
	r = w.request("GET", "/data/k", nil, nil)
	if err := w.signer("MAIN").Sign(r, "UNSIGNED-PAYLOAD", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.want(w.do(r), 403, "RequestTimeTooSkewed")
	w.want(w.do(w.request("GET", "/data/k", nil, head{"Authorization", "AWS HAHAHA"})), 400, "InvalidArgument")
	w.want(w.do(w.request("GET", "/data/k", nil, head{"Authorization", ""})), 403, "AccessDenied")
}

// TestEveryOperation sees that whoever has no rights gets nowhere with any line of the
// table, whatever its handler forgets.
func TestEveryOperation(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "secret"))
	for _, o := range table {
		if o.level == service || o.makes {
			continue
		}
		param, copies := strings.CutSuffix(o.param, "+copy")
		path := "/data"
		if o.level == object {
			path += "/k"
		}
		path += "?" + param
		h := head{"X-Amz-Object-Attributes", "ETag", "Content-Type", "multipart/form-data; boundary=x"}
		if copies {
			h = append(h, "X-Amz-Copy-Source", "/data/k")
		}
		for _, who := range []string{"", "ALT", "PLAIN"} {
			r := w.as(who, o.method, path, []byte("<Delete><Object><Key>k</Key></Object></Delete>"), h)
			if r.StatusCode/100 == 2 && !bytes.Contains(r.body, []byte("<Code>AccessDenied</Code>")) || bytes.Contains(r.body, []byte("secret")) {
				t.Errorf("%s as %q: status %d\n%s", o.name, who, r.StatusCode, r.body)
			}
		}
	}
	if r := w.ok(w.main("GET", "/data/k", "")); string(r.body) != "secret" {
		t.Errorf("the object is %q now", r.body)
	}
}

// TestRedirect: where a web site sends who asks for an object is kept with it, and no copy
// has it unless it says so.
func TestRedirect(t *testing.T) {
	w := bucketed(t)
	const name = "X-Amz-Website-Redirect-Location"
	w.ok(w.main("PUT", "/data/k", "x", name, "/elsewhere", "X-Amz-Storage-Class", "GLACIER"))
	w.ok(w.main("PUT", "/data/copy", "", "X-Amz-Copy-Source", "/data/k"))
	w.ok(w.main("PUT", "/data/sent", "", "X-Amz-Copy-Source", "/data/k", name, "https://example.org/"))
	for key, want := range map[string]string{"k": "/elsewhere", "copy": "", "sent": "https://example.org/"} {
		for _, method := range []string{"GET", "HEAD"} {
			if got := w.ok(w.main(method, "/data/"+key, "")).Header.Get(name); got != want {
				t.Errorf("%s %s: sent to %q, want %q", method, key, got, want)
			}
		}
	}
}
