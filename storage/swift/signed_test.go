package swift_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"
)

func sign(f func() hash.Hash, key string, lines ...any) string {
	h := hmac.New(f, []byte(key))
	for i, l := range lines {
		if i > 0 {
			h.Write([]byte("\n"))
		}
		fmt.Fprint(h, l)
	}
	return hex.EncodeToString(h.Sum(nil))
}

const far = 4_000_000_000 // seconds since 1970

func keyed(t *testing.T) *door {
	d := open(t, nil)
	d.want(204, "t", "POST", "/v1/AUTH_test", "", "X-Account-Meta-Temp-URL-Key", "k1", "X-Account-Meta-Temp-Url-Key-2", "k2")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "", "X-Container-Meta-Temp-URL-Key", "ck")
	d.want(201, "t", "PUT", "/v1/AUTH_test/other", "")
	d.want(201, "t", "PUT", "/v1/AUTH_test/other/seg", "secret")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/o", "data", "X-Object-Meta-A", "b", "X-Object-Meta-Public-B", "c")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/dlo", "", "X-Object-Manifest", "other/seg")
	return d
}

func TestTempURL(t *testing.T) {
	d := keyed(t)
	const p = "/v1/AUTH_test/c/o"
	for name, c := range map[string]struct {
		method, path, query string
		status              int
	}{
		"sha256":                     {"GET", p, "temp_url_sig=" + sign(sha256.New, "k1", "GET", far, p), 200},
		"sha1":                       {"GET", p, "temp_url_sig=" + sign(sha1.New, "k1", "GET", far, p), 200},
		"sha512, second key":         {"GET", p, "temp_url_sig=" + sign(sha512.New, "k2", "GET", far, p), 200},
		"the container's key":        {"GET", p, "temp_url_sig=" + sign(sha256.New, "ck", "GET", far, p), 200},
		"HEAD by a key for PUT":      {"HEAD", p, "temp_url_sig=" + sign(sha256.New, "ck", "PUT", far, p), 200},
		"GET by a key for HEAD":      {"GET", p, "temp_url_sig=" + sign(sha256.New, "ck", "HEAD", far, p), 401},
		"another key":                {"GET", p, "temp_url_sig=" + sign(sha256.New, "zz", "GET", far, p), 401},
		"another path":               {"GET", p, "temp_url_sig=" + sign(sha256.New, "k1", "GET", far, p+"2"), 401},
		"no signature":               {"GET", p, "x=y", 401},
		"a signature of no length":   {"GET", p, "temp_url_sig=ab", 401},
		"prefix":                     {"GET", p, "temp_url_prefix=&temp_url_sig=" + sign(sha256.New, "k1", "GET", far, "prefix:/v1/AUTH_test/c/"), 200},
		"another prefix":             {"GET", p, "temp_url_prefix=x&temp_url_sig=" + sign(sha256.New, "k1", "GET", far, "prefix:/v1/AUTH_test/c/x"), 401},
		"address":                    {"GET", p, "temp_url_ip_range=127.0.0.0/8&temp_url_sig=" + sign(sha256.New, "k1", "ip=127.0.0.0/8", "GET", far, p), 200},
		"another address":            {"GET", p, "temp_url_ip_range=10.0.0.0/8&temp_url_sig=" + sign(sha256.New, "k1", "ip=10.0.0.0/8", "GET", far, p), 401},
		"address that is not signed": {"GET", p, "temp_url_ip_range=127.0.0.1&temp_url_sig=" + sign(sha256.New, "k1", "GET", far, p), 401},
		"a manifest by the account":  {"GET", "/v1/AUTH_test/c/dlo", "temp_url_sig=" + sign(sha256.New, "k1", "GET", far, "/v1/AUTH_test/c/dlo"), 200},
		"a manifest that leads out of the container": {"GET", "/v1/AUTH_test/c/dlo", "temp_url_sig=" + sign(sha256.New, "ck", "GET", far, "/v1/AUTH_test/c/dlo"), 401},
		"another account's container":                {"GET", "/v1/AUTH_test2/c/o", "temp_url_sig=" + sign(sha256.New, "k1", "GET", far, "/v1/AUTH_test2/c/o"), 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do("-", c.method, fmt.Sprintf("%s?temp_url_expires=%d&%s", c.path, far, c.query), "")
			if a.status != c.status {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
			}
		})
	}
	a := d.want(200, "-", "GET", fmt.Sprintf("%s?temp_url_expires=%d&temp_url_sig=%s&filename=x", p, far, sign(sha256.New, "k1", "GET", far, p)), "")
	if a.head.Get("X-Object-Meta-A") != "" || a.head.Get("X-Object-Meta-Public-B") != "c" || a.head.Get("Content-Disposition") != `attachment; filename="x"; filename*=UTF-8''x` {
		t.Errorf("headers are %v", a.head)
	}
	d.want(401, "-", "GET", fmt.Sprintf("%s?temp_url_expires=1&temp_url_sig=%s", p, sign(sha256.New, "k1", "GET", 1, p)), "")
	put := fmt.Sprintf("/v1/AUTH_test/c/new?temp_url_expires=%d&temp_url_sig=%s", far, sign(sha256.New, "ck", "PUT", far, "/v1/AUTH_test/c/new"))
	d.want(201, "-", "PUT", put, "new")
	d.want(400, "-", "PUT", put, "", "X-Symlink-Target", "other/seg")
}

// form makes the body of a browser's form.
func form(fields [][2]string, files ...[2]string) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "--XX\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", f[0], f[1])
	}
	for i, f := range files {
		fmt.Fprintf(&b, "--XX\r\nContent-Disposition: form-data; name=\"f%d\"; filename=%q\r\nContent-Type: text/x\r\n\r\n%s\r\n", i, f[0], f[1])
	}
	return b.String() + "--XX--\r\n"
}

func TestFormPost(t *testing.T) {
	const p, kind = "/v1/AUTH_test/c/up_", "multipart/form-data; boundary=XX"
	for name, c := range map[string]struct {
		key, size, count string
		expires          int64
		redirect         string
		files            [][2]string
		status           int
		made             int
	}{
		"one file":              {"k1", "10", "2", far, "", [][2]string{{"a", "1"}}, 201, 1},
		"two files":             {"ck", "10", "2", far, "", [][2]string{{"a", "1"}, {"b", "2"}}, 201, 2},
		"redirect":              {"k1", "10", "2", far, "http://e/", [][2]string{{"a", "1"}}, 303, 1},
		"too many":              {"k1", "10", "1", far, "", [][2]string{{"a", "1"}, {"b", "2"}}, 400, 1},
		"too large":             {"k1", "3", "1", far, "", [][2]string{{"a", "1234"}}, 400, 0},
		"as large as it may be": {"k1", "3", "1", far, "", [][2]string{{"a", "123"}}, 201, 1},
		"no file":               {"k1", "3", "1", far, "", nil, 400, 0},
		"expired":               {"k1", "3", "1", 1, "", [][2]string{{"a", "1"}}, 401, 0},
		"another key":           {"zz", "3", "1", far, "", [][2]string{{"a", "1"}}, 401, 0},
		"no number":             {"k1", "x", "1", far, "", [][2]string{{"a", "1"}}, 400, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := keyed(t)
			for _, f := range []func() hash.Hash{sha1.New, sha256.New, sha512.New} {
				sig := sign(f, c.key, p, c.redirect, c.size, c.count, c.expires)
				fields := [][2]string{{"redirect", c.redirect}, {"max_file_size", c.size}, {"max_file_count", c.count}, {"expires", fmt.Sprint(c.expires)}, {"signature", sig}}
				a := d.do("-", "POST", p, form(fields, c.files...), "Content-Type", kind)
				if a.status != c.status {
					t.Errorf("status %d, want %d: %s", a.status, c.status, a.body)
				}
			}
			list := d.do("t", "GET", "/v1/AUTH_test/c?prefix=up_", "")
			if got := strings.Count(list.body, "\n"); got != c.made {
				t.Errorf("%d objects were made, want %d", got, c.made)
			}
		})
	}
}

func archiveOf(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1])), ModTime: time.Unix(1, 0), PAXRecords: map[string]string{
			"SCHILY.xattr.user.mime_type": "text/special", "SCHILY.xattr.user.meta.color": "red",
		}}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExtract(t *testing.T) {
	d := open(t, nil)
	data := archiveOf(t, [2]string{"./c/a", "aa"}, [2]string{"c/d/b", strings.Repeat("b", 300_000)}, [2]string{"loose", "x"}, [2]string{"e/../../f/g", "y"})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(data)
	_ = w.Close()
	a := d.send("t", "PUT", "/v1/AUTH_test?extract-archive=tar.gz", &z, "Accept", "application/json")
	if !strings.Contains(a.body, `"Number Files Created":3`) || !strings.Contains(a.body, "201 Created") {
		t.Errorf("%d %s", a.status, a.body)
	}
	got := d.want(200, "t", "GET", "/v1/AUTH_test/c/d/b", "")
	if len(got.body) != 300_000 || got.head.Get("Content-Type") != "text/special" || got.head.Get("X-Object-Meta-Color") != "red" {
		t.Errorf("%d bytes, %v", len(got.body), got.head)
	}
	d.want(200, "t", "GET", "/v1/AUTH_test/f/g", "")
	a = d.send("t", "PUT", "/v1/AUTH_test/into/sub?extract-archive=tar", bytes.NewReader(archiveOf(t, [2]string{"../../up", "x"})))
	if !strings.Contains(a.body, "Number Files Created: 0") {
		t.Errorf("a name leads out of its place: %s", a.body)
	}
	a = d.send("t", "PUT", "/v1/AUTH_test/into?extract-archive=tar", bytes.NewReader(data[:1500]))
	if !strings.Contains(a.body, "400 Bad Request") {
		t.Errorf("an archive that was cut: %s", a.body)
	}
	a = d.send("2", "PUT", "/v1/AUTH_test/c?extract-archive=tar", bytes.NewReader(archiveOf(t, [2]string{"x", "x"})))
	if strings.Contains(a.body, "201 Created") {
		t.Errorf("another account's: %s", a.body)
	}
}
