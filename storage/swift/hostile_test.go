package swift_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/seal"
	"polder.dev/polder/storage/swift"
	"polder.dev/polder/storage/swift/header"
)

// TestInternalHeaders: what Swift's own servers say to each other is nothing to this one
// (CVE-2026-50221: containers were updated at a host that a client named).
func TestInternalHeaders(t *testing.T) {
	d := open(t, nil)
	var calls atomic.Int32
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	host := lis.Addr().String()
	hostile := []string{
		"X-Container-Host", host, "X-Container-Partition", "1", "X-Container-Device", "sda", "X-Account-Host", host, "X-Account-Partition", "1",
		"X-Account-Device", "sda", "X-Delete-At-Host", host, "X-Delete-At-Container", "x", "X-Backend-Storage-Policy-Index", "1",
		"X-Object-Sysmeta-Slo-Etag", "x", "X-Container-Sysmeta-Versions-Enabled", "true", "X-Timestamp", "0000000001.00000",
		"X-Backend-Container-Path", "/v1/.x/y", "X-Object-Sysmeta-Symlink-Target", "c/other",
	}
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "", hostile...)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/o", "data", hostile...)
	d.want(202, "t", "POST", "/v1/AUTH_test/c/o", "", append([]string{"X-Delete-After", "100"}, hostile...)...)
	a := d.want(200, "t", "GET", "/v1/AUTH_test/c/o", "", hostile...)
	if a.body != "data" || a.head.Get("X-Timestamp") == "0000000001.00000" {
		t.Errorf("a client's internal headers had an effect: %q %v", a.body, a.head)
	}
	for n := range a.head {
		if strings.Contains(n, "Sysmeta") || strings.HasPrefix(n, "X-Backend") {
			t.Errorf("%s is told to a client", n)
		}
	}
	if h := d.want(204, "t", "HEAD", "/v1/AUTH_test/c", "").head; h.Get("X-Storage-Policy") != "gold" || h.Get("X-Versions-Enabled") != "" {
		t.Errorf("headers of the container: %v", h)
	}
	d.want(204, "t", "DELETE", "/v1/AUTH_test/c/o", "", hostile...)
	if calls.Load() != 0 {
		t.Errorf("%d connections were made to a host that a client named", calls.Load())
	}
}

// worked is the processor's time that this process has had: other than the clock's, it is
// the same on a machine that is busy.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHostileAccept: each header is read in bounded time (CVE-2026-71190).
func TestHostileAccept(t *testing.T) {
	d := open(t, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	for _, h := range []string{
		strings.Repeat("a", 200_000), "text/" + strings.Repeat("*", 100_000), strings.Repeat(`text/plain;x="`, 10_000),
		strings.Repeat("text/plain,", 20_000), strings.Repeat(";", 100_000), "text/plain" + strings.Repeat(";q=1", 30_000),
		`text/plain;a="` + strings.Repeat(`\"`, 50_000),
	} {
		begin := worked(t)
		a := d.do("t", "GET", "/v1/AUTH_test/c", "", "Accept", h)
		if took := worked(t) - begin; took > 2*time.Second || a.status != 400 {
			t.Errorf("%.20s...: %d after %v", h, a.status, took)
		}
	}
}

func TestHandles(t *testing.T) {
	d := open(t, nil)
	for _, c := range []struct {
		url    string
		header string
		want   bool
	}{
		{"http://h/v1/AUTH_test", "", true}, {"http://h/v1/AUTH_test/c/o", "", true}, {"http://h/auth/v1.0", "", true}, {"http://h/info", "", true},
		{"http://h/healthcheck", "", true}, {"http://h/crossdomain.xml", "", true}, {"http://c.auth-test.example.com/o", "", true},
		{"http://h/", "", false}, {"http://h/bucket/key", "", false}, {"http://h/v1/photo.jpg", "", false}, {"http://h/auth/key", "", false}, {"http://h/info/key", "", false},
		{"http://h/v1/AUTH_test", "Authorization: AWS4-HMAC-SHA256 x", false}, {"http://h/info", "X-Amz-Date: x", false}, {"http://h/auth", "Authorization: AWS a:b", false},
		{"http://h/v1/AUTH_x?X-Amz-Signature=1", "", false}, {"http://h/v1/AUTH_x?AWSAccessKeyId=1", "", false}, {"http://h/v1/KEY_test/c", "X-Auth-Token: t", true},
	} {
		r := httptest.NewRequest("GET", c.url, nil)
		if k, v, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(k, v)
		}
		if got := d.h.Handles(r); got != c.want {
			t.Errorf("%s %s: %v", c.url, c.header, got)
		}
	}
}

func TestTokenOutlivesRestart(t *testing.T) {
	d := open(t, nil)
	d.restart()
	d.want(204, "t", "GET", "/v1/AUTH_test", "")
	d.token["t"] = d.token["t"][:len(d.token["t"])-2] + "AA"
	d.want(401, "t", "GET", "/v1/AUTH_test", "")
}

func TestReadOnly(t *testing.T) {
	d := open(t, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	d.cfg.ReadOnly = true
	d.restart()
	d.want(204, "t", "GET", "/v1/AUTH_test/c", "")
	for _, c := range [][2]string{{"PUT", "/c/o"}, {"POST", "/c"}, {"DELETE", "/c"}, {"COPY", "/c/o"}, {"POST", "?bulk-delete"}} {
		d.want(405, "t", c[0], "/v1/AUTH_test"+c[1], "")
	}
}

func TestForbidden(t *testing.T) {
	d := open(t, func(c *swift.Config) { c.Forbidden = `<>` })
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	d.want(400, "t", "PUT", "/v1/AUTH_test/c/a%3Cb", "")
	if a := d.want(200, "-", "GET", "/info", ""); !strings.Contains(a.body, `"name_check"`) {
		t.Errorf("/info does not tell: %s", a.body)
	}
}

func TestLocked(t *testing.T) {
	d := open(t, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/locked", "", "X-Versions-Enabled", "true")
	b, err := d.store.Bucket(t.Context(), "locked")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Configure(t.Context(), func(s *storage.Settings) error {
		s.Labels[lock.Label] = (&lock.Config{Mode: lock.Governance, Days: 1}).Encode()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v := d.want(201, "t", "PUT", "/v1/AUTH_test/locked/o", "1").head.Get("X-Object-Version-Id")
	d.want(201, "t", "PUT", "/v1/AUTH_test/locked/o", "2")
	d.want(204, "t", "DELETE", "/v1/AUTH_test/locked/o", "")
	d.want(403, "t", "DELETE", "/v1/AUTH_test/locked/o?version-id="+v, "")
	d.want(409, "t", "POST", "/v1/AUTH_test/locked", "", "X-Versions-Enabled", "false")
	if a := d.want(200, "t", "GET", "/v1/AUTH_test/locked/o?version-id="+v, ""); a.body != "1" {
		t.Errorf("the version reads %q", a.body)
	}
}

// TestSealed: a container that S3's door encrypts keeps what comes through this one
// encrypted, and what is sealed by a client's key is refused.
func TestSealed(t *testing.T) {
	keys, err := seal.ParseKeys([]byte("keys: [{id: k, key: "+strings.Repeat("A", 43)+"=, jurisdictions: ['']}]"), func(storage.Settings) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, func(c *swift.Config) { c.Keys = keys })
	d.want(201, "t", "PUT", "/v1/AUTH_test/sealed", "")
	b, err := d.store.Bucket(t.Context(), "sealed")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Configure(t.Context(), func(s *storage.Settings) error {
		s.Labels["s3.encryption"] = "<C><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></C>"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range [][]string{{"PUT", "/o", "plain text"}, {"PUT", "/copy", "", "X-Copy-From", "sealed/o"}, {"PUT", "/slo?multipart-manifest=put", `[{"path":"/sealed/o"}]`}} {
		d.want(201, "t", f[0], "/v1/AUTH_test/sealed"+f[1], f[2], f[3:]...)
	}
	for _, key := range []string{"o", "copy", "slo"} {
		if a := d.want(200, "t", "GET", "/v1/AUTH_test/sealed/"+key, ""); a.body != "plain text" {
			t.Errorf("%s reads %q", key, a.body)
		}
		o, err := b.Open(t.Context(), key, storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
		if err != nil || bytes.Contains(raw, []byte("plain")) || bytes.Contains(raw, []byte("sealed")) {
			t.Errorf("%s is kept as %q, %v", key, raw, err)
		}
		_ = o.Close()
	}
	var m storage.Meta
	if err := seal.Lock(&m, seal.Customer, "", bytes.Repeat([]byte{1}, seal.KeyBytes)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "theirs", strings.NewReader("x"), storage.PutOptions{Meta: m}); err != nil {
		t.Fatal(err)
	}
	d.want(403, "t", "GET", "/v1/AUTH_test/sealed/theirs", "")
	d.want(403, "t", "HEAD", "/v1/AUTH_test/sealed/theirs", "")
	d.want(403, "t", "COPY", "/v1/AUTH_test/sealed/theirs", "", "Destination", "sealed/z")
}

// TestPolicy: S3's rules hold here as well.
func TestPolicy(t *testing.T) {
	d := open(t, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/shared", "", "X-Container-Read", ".r:*,.rlistings", "X-Container-Write", "test2")
	d.want(201, "t", "PUT", "/v1/AUTH_test/shared/a", "a")
	d.want(201, "t", "PUT", "/v1/AUTH_test/shared/b", "b")
	b, err := d.store.Bucket(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Configure(t.Context(), func(s *storage.Settings) error {
		s.Labels[iam.LabelPolicy] = `{"Version":"2012-10-17","Statement":[
			{"Effect":"Deny","Principal":"*","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::shared/a"},
			{"Effect":"Deny","Principal":"*","Action":"s3:DeleteBucket","Resource":"arn:aws:s3:::shared"}]}`
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.want(401, "-", "GET", "/v1/AUTH_test/shared/a", "")
	d.want(403, "t", "GET", "/v1/AUTH_test/shared/a", "")
	d.want(403, "2", "DELETE", "/v1/AUTH_test/shared/a", "")
	d.want(403, "t", "COPY", "/v1/AUTH_test/shared/a", "", "Destination", "shared/c")
	d.want(200, "-", "GET", "/v1/AUTH_test/shared/b", "")
	d.want(204, "2", "DELETE", "/v1/AUTH_test/shared/b", "")
	d.want(403, "t", "DELETE", "/v1/AUTH_test/shared", "")
}

// TestForeignNames: metadata may have a name in any language.
func TestForeignNames(t *testing.T) {
	d := open(t, nil)
	s := httptest.NewUnstartedServer(d.h)
	s.Listener = header.Listener(s.Listener)
	s.Start()
	t.Cleanup(s.Close)
	ask := func(method, path, name, value, body string) string {
		t.Helper()
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: h\r\nX-Auth-Token: %s\r\n%s: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			method, path, d.token["t"], name, value, len(body), body)
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range [][3]string{{"/v1/AUTH_test", "X-Account-Meta-", "POST"}, {"/v1/AUTH_test/c", "X-Container-Meta-", "PUT"}, {"/v1/AUTH_test/c/o", "X-Object-Meta-", "PUT"}} {
		if a := ask(c[2], c[0], c[1]+"uni\u0e12", "\u0e12", ""); !strings.HasPrefix(a, "HTTP/1.1 20") {
			t.Errorf("%s %s: %s", c[2], c[0], a)
		}
		if a := ask("HEAD", c[0], "X", "y", ""); !strings.Contains(strings.ToLower(a), strings.ToLower(c[1])+"uni\u0e12: \u0e12\r\n") || !strings.HasSuffix(a, "\r\n\r\n") {
			t.Errorf("HEAD %s: %q", c[0], a)
		}
	}
	ask("PUT", "/v1/AUTH_test/c/o", "X-Object-Meta-uni\u0e12", "x", "the body")
	if a := ask("GET", "/v1/AUTH_test/c/o", "X", "y", ""); !strings.HasSuffix(a, "\r\n\r\nthe body") {
		t.Errorf("GET: %q", a)
	}
}

// TestLarge puts and reads more than any buffer, by one body and by segments.
func TestLarge(t *testing.T) {
	d := open(t, nil)
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	var whole []byte
	var list []string
	for i := range 7 {
		part := bytes.Repeat([]byte{byte('a' + i)}, 300_000+i)
		whole = append(whole, part...)
		d.want(201, "t", "PUT", fmt.Sprintf("/v1/AUTH_test/c/seg/%d", i), string(part))
		list = append(list, fmt.Sprintf(`{"path":"/c/seg/%d"}`, i))
	}
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/slo?multipart-manifest=put", "["+strings.Join(list, ",")+"]")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/dlo", "", "X-Object-Manifest", "c/seg/")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/plain", string(whole))
	for _, n := range []string{"slo", "dlo", "plain"} {
		for _, r := range [][2]int{{0, len(whole) - 1}, {299_999, 300_000}, {5, 1_400_000}, {len(whole) - 3, len(whole) - 1}} {
			a := d.want(206, "t", "GET", "/v1/AUTH_test/c/"+n, "", "Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))
			if a.body != string(whole[r[0]:r[1]+1]) {
				t.Errorf("%s, bytes %d to %d: %d bytes that are others", n, r[0], r[1], len(a.body))
			}
		}
	}
	// A segment that is gone cuts the body, so that its client cannot take it for whole.
	d.want(204, "t", "DELETE", "/v1/AUTH_test/c/seg/3", "")
	if a := d.do("t", "GET", "/v1/AUTH_test/c/slo", ""); !strings.HasSuffix(a.body, "<cut>") {
		t.Errorf("a body without a segment ends as if it were whole: %d bytes", len(a.body))
	}
	d.want(204, "t", "DELETE", "/v1/AUTH_test/c/seg/0", "")
	d.want(409, "t", "GET", "/v1/AUTH_test/c/slo", "")
}

// endless is a body that fails when more is read than allowed.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left -= int64(len(p)); e.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

func TestTooLarge(t *testing.T) {
	d := open(t, func(c *swift.Config) { c.ObjectBytesMax = 1 << 20 })
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	d.want(413, "t", "PUT", "/v1/AUTH_test/c/o", strings.Repeat("x", 1<<20+1))
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/o", strings.Repeat("x", 1<<20))
	r := httptest.NewRequest("PUT", "/v1/AUTH_test/c/chunked", &endless{left: 4 << 20})
	r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	r.Header.Set("X-Auth-Token", d.token["t"])
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	if w.Code != 413 {
		t.Errorf("a body without a length: %d", w.Code)
	}
	d.want(404, "t", "GET", "/v1/AUTH_test/c/chunked", "")
	var _ http.Handler = d.h
}
