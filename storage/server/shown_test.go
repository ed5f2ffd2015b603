package server

import (
	"crypto/md5"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

// other is somebody else's store: one of ours, which counts what it is asked for.
type other struct {
	*client
	addr   string // through which the requests are counted
	bodies atomic.Int64
	secret string
}

func newOther(t *testing.T) *other {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Doors(t.Context(), people(t))
	if err != nil {
		t.Fatal(err)
	}
	o := &other{secret: filepath.Join(t.TempDir(), "secret")}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/2024/large") {
			o.bodies.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(o.secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.client, o.addr = newClient(t, web.URL), web.URL
	return o
}

// as shows what is in the bucket theirs there, by each protocol.
func (o *other) as(change func(*Shown)) map[string]Shown {
	out := map[string]Shown{
		"by S3":    {S3: &S3{Endpoint: o.addr, Region: "us-east-1", Bucket: "theirs", Prefix: "2024/", AccessKey: "a:u", SecretKeyFile: o.secret}},
		"by Swift": {Swift: &Swift{AuthURL: o.addr + "/auth/v1.0", AuthVersion: 1, Container: "theirs", Prefix: "2024/", User: "a:u", PasswordFile: o.secret}},
	}
	for name, c := range out {
		c.Bucket, c.Account, c.TimeoutSeconds = "archive", "a", 2
		if change != nil {
			change(&c)
		}
		out[name] = c
	}
	return out
}

// TestShown reads what lies in another store through both doors, and changes nothing there.
func TestShown(t *testing.T) {
	o := newOther(t)
	large := strings.Repeat("0123456789", 300_000)
	tag := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	o.s3("PUT", "/theirs", "", 200)
	o.s3("PUT", "/theirs/2024/a", "theirs", 200, "X-Amz-Meta-Colour", "red", "Content-Type", "text/x")
	o.s3("PUT", "/theirs/2024/d/b", "below", 200)
	o.s3("PUT", "/theirs/2024/large", large, 200)
	o.s3("PUT", "/theirs/2025/c", "not shown", 200)
	for name, shown := range o.as(nil) {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), HotBytes: 32 << 20, Shown: []Shown{shown}}
			_, url, stop := run(t, cfg)
			c := newClient(t, url)

			h, body := c.s3("GET", "/archive/a", "", 200)
			if body != "theirs" || h.Get("ETag") != `"`+tag(body)+`"` || h.Get("X-Amz-Meta-Colour") != "red" || h.Get("Content-Type") != "text/x" {
				t.Errorf("through S3: %q, %v", body, h)
			}
			h, body = c.swift("GET", "/archive/a", "", 200)
			if body != "theirs" || h.Get("ETag") != tag(body) || h.Get("X-Object-Meta-Colour") != "red" || h.Get("Content-Type") != "text/x" {
				t.Errorf("through Swift: %q, %v", body, h)
			}
			if _, body := c.s3("GET", "/archive/large", "", 206, "Range", "bytes=2999995-"); body != "56789" {
				t.Errorf("the end is %q", body)
			}
			if _, body := c.swift("GET", "/archive/large", "", 206, "Range", "bytes=10-14"); body != "01234" {
				t.Errorf("a range is %q", body)
			}
			c.s3("GET", "/archive/a", "", 304, "If-None-Match", `"`+tag("theirs")+`"`)
			c.swift("GET", "/archive/a", "", 412, "If-Match", `"`+tag("other")+`"`)
			c.s3("HEAD", "/archive/none", "", 404)
			c.swift("GET", "/archive/none", "", 404)
			if _, list := c.swift("GET", "/archive", "", 200); list != "a\nd/b\nlarge\n" {
				t.Errorf("a listing of Swift: %q", list)
			}
			if _, list := c.s3("GET", "/archive?list-type=2&delimiter=%2F", "", 200); !strings.Contains(list, "<Key>a</Key>") || !strings.Contains(list, "<Prefix>d/</Prefix>") || strings.Contains(list, "2025") {
				t.Errorf("a listing of S3: %s", list)
			}
			if _, list := c.swift("GET", "", "", 200); list != "archive\n" {
				t.Errorf("containers: %q", list)
			}
			from := map[bool]string{true: "s3 " + o.addr + "/theirs/2024/", false: "swift " + o.addr + "/auth/v1.0/theirs/2024/"}[shown.S3 != nil]
			if _, list := c.s3("GET", "/", "", 200); !strings.Contains(list, "<Shown>"+from+"</Shown>") {
				t.Errorf("buckets: %s", list)
			}
			if h, _ := c.s3("HEAD", "/archive", "", 200); h.Get("X-Polder-Shown") != from || h.Get("X-Polder-Objects") != "" {
				t.Errorf("of the bucket: %v", h)
			}

			if _, text := c.s3("PUT", "/archive/a", "x", 405); !strings.Contains(text, "MethodNotAllowed") || !strings.Contains(text, "may only be read") {
				t.Errorf("S3 refuses a write with %s", text)
			}
			c.s3("DELETE", "/archive/a", "", 405)
			c.s3("POST", "/archive/a?uploads", "", 405)
			c.s3("PUT", "/archive/b", "", 405, "X-Amz-Copy-Source", "/archive/a")
			c.s3("PUT", "/archive/a?tagging", "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>", 405)
			c.s3("DELETE", "/archive", "", 405)
			c.swift("PUT", "/archive/a", "x", 405)
			c.swift("POST", "/archive/a", "", 405, "X-Object-Meta-Colour", "blue")
			c.swift("DELETE", "/archive/a", "", 405)
			c.swift("DELETE", "/archive", "", 405)
			c.s3("PUT", "/archive?lifecycle", "<LifecycleConfiguration><Rule><ID>r</ID><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>", 400)
			c.s3("PUT", "/archive?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", 400)
			c.swift("POST", "/archive", "", 400, "X-Container-Meta-Quota-Bytes", "1")
			if _, body := o.s3("GET", "/theirs/2024/a", "", 200); body != "theirs" {
				t.Errorf("the other store has %q now", body)
			}

			stranger := clientOf(t, url, "b:u")
			stranger.s3("GET", "/archive/a", "", 403)
			stranger.s3("GET", "/archive", "", 403)
			stranger.swift("GET", "/archive/a", "", 403)
			c.s3("PUT", "/archive?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"b"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::archive/*"}]}`, 204)
			stranger.s3("GET", "/archive/a", "", 200)
			stranger.s3("GET", "/archive", "", 403)

			c.s3("GET", "/archive/large", "", 200)
			before := o.bodies.Load()
			for range 3 { // what is read again comes to memory, and is not fetched any more
				before = o.bodies.Load()
				if _, body := c.s3("GET", "/archive/large", "", 200); body != large {
					t.Errorf("%d bytes", len(body))
				}
			}
			if now := o.bodies.Load(); now != before {
				t.Errorf("the body was fetched %d times more", now-before)
			}

			stop()
			_, url, stop = run(t, cfg) // what was given lasts
			clientOf(t, url, "b:u").s3("GET", "/archive/a", "", 200)
			stop()
			elsewhere := shown
			if shown.S3 != nil {
				elsewhere.S3 = &S3{Endpoint: o.addr, Region: "us-east-1", Bucket: "theirs", Prefix: "2025/", AccessKey: "a:u", SecretKeyFile: o.secret}
			} else {
				elsewhere.Swift = &Swift{AuthURL: o.addr + "/auth/v1.0", AuthVersion: 1, Container: "theirs", Prefix: "2025/", User: "a:u", PasswordFile: o.secret}
			}
			cfg.Shown = []Shown{elsewhere}
			_, url, stop = run(t, cfg) // other data is given to nobody yet
			clientOf(t, url, "b:u").s3("GET", "/archive/c", "", 403)
			newClient(t, url).s3("GET", "/archive/c", "", 200)
			stop()
			cfg.Shown = nil
			_, url, _ = run(t, cfg) // it is no empty bucket now
			c = newClient(t, url)
			c.s3("GET", "/archive/c", "", 503)
			c.s3("GET", "/archive", "", 503)
			c.swift("GET", "/archive", "", 503)
			c.s3("PUT", "/archive/c", "x", 503)
			c.s3("DELETE", "/archive", "", 204)
			c.s3("PUT", "/archive", "", 200)
			c.s3("PUT", "/archive/c", "ours", 200)
		})
	}
}

// TestShownToWrite: what is written goes to the other store, as others read it.
func TestShownToWrite(t *testing.T) {
	o := newOther(t)
	o.s3("PUT", "/theirs", "", 200)
	for name, shown := range o.as(func(c *Shown) { c.Writable = true }) {
		t.Run(name, func(t *testing.T) {
			_, url, _ := run(t, Config{Dir: t.TempDir(), Shown: []Shown{shown}})
			c := newClient(t, url)
			c.s3("PUT", "/archive/k", "by S3", 200, "X-Amz-Meta-A", "b")
			if h, body := o.s3("GET", "/theirs/2024/k", "", 200); body != "by S3" || h.Get("X-Amz-Meta-A") != "b" {
				t.Errorf("the other store has %q, %v", body, h)
			}
			c.swift("PUT", "/archive/k", "by Swift", 201)
			if _, body := c.s3("GET", "/archive/k", "", 200); body != "by Swift" {
				t.Errorf("it is %q", body)
			}
			_, text := c.s3("POST", "/archive/parts?uploads", "", 200)
			_, id, _ := strings.Cut(text, "<UploadId>")
			id, _, _ = strings.Cut(id, "</UploadId>")
			h, _ := c.s3("PUT", "/archive/parts?partNumber=1&uploadId="+id, "the only part", 200)
			c.s3("POST", "/archive/parts?uploadId="+id, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+h.Get("ETag")+"</ETag></Part></CompleteMultipartUpload>", 200)
			if _, body := o.s3("GET", "/theirs/2024/parts", "", 200); body != "the only part" {
				t.Errorf("of parts: %q", body)
			}
			c.s3("DELETE", "/archive/parts", "", 204)
			c.swift("DELETE", "/archive/k", "", 204)
			o.s3("HEAD", "/theirs/2024/k", "", 404)
		})
	}
}

// TestShownAway: a store that is gone, or silent, is the protocols' 503 within a bound, and
// tells clients no address.
func TestShownAway(t *testing.T) {
	o := newOther(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	_ = l.Close() // nobody answers there now
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	defer silent.Close()
	defer close(over)
	for name, at := range map[string]string{"gone": gone, "silent": silent.URL, "without the bucket": o.addr} {
		t.Run(name, func(t *testing.T) {
			list := o.as(nil)
			one, two := list["by S3"], list["by Swift"]
			one.S3.Endpoint, two.Swift.AuthURL = at, at+"/auth/v1.0"
			one.TimeoutSeconds, two.TimeoutSeconds, two.Bucket = 1, 1, "container"
			_, url, _ := run(t, Config{Dir: t.TempDir(), Shown: []Shown{one, two}})
			c := newClient(t, url)
			begun := time.Now()
			for _, b := range []string{"/archive", "/container"} {
				if _, text := c.s3("GET", b, "", 503); !strings.Contains(text, "ServiceUnavailable") || strings.Contains(text, strings.TrimPrefix(at, "http://")) {
					t.Errorf("S3 says %s", text)
				}
				c.swift("GET", b, "", 503)
				c.s3("HEAD", b, "", 200) // the bucket itself is ours
			}
			if took := time.Since(begun); took > 2*time.Minute {
				t.Errorf("it took %v", took)
			}
			c.s3("PUT", "/data", "", 200) // all else goes on
			c.s3("PUT", "/data/k", "x", 200)
		})
	}
}

// TestShownRefused: what cannot be is an error that names the field.
func TestShownRefused(t *testing.T) {
	o := newOther(t)
	o.s3("PUT", "/theirs", "", 200)
	good := o.as(nil)["by S3"]
	dir := t.TempDir()
	_, url, stop := run(t, Config{Dir: dir})
	c := newClient(t, url)
	c.s3("PUT", "/archive", "", 200)
	stop()
	refused(t, Config{Dir: dir, Shown: []Shown{good}}, "shown[0].bucket", "archive already")
	good.Bucket = "shown"
	s, _, stop := run(t, Config{Dir: dir, Shown: []Shown{good}})
	b, err := s.Space().Resolve(t.Context(), "a", "shown")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Configure(t.Context(), func(set *storage.Settings) error { set.Residency.Home = "eu/de"; return nil })
	if err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("binding a bucket whose data lies nobody knows where: %v", err)
	}
	stop()
	good.Jurisdiction = "eu/de"
	s, _, stop = run(t, Config{Dir: dir, Jurisdiction: "eu/de", Shown: []Shown{good}})
	if b, err = s.Space().Resolve(t.Context(), "a", "shown"); err == nil {
		err = b.Configure(t.Context(), func(set *storage.Settings) error { set.Residency.Home = "eu/de"; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Configure(t.Context(), func(set *storage.Settings) error { set.Residency.Home = "eu/nl"; return nil }); err == nil || !strings.Contains(err.Error(), "eu/nl") {
		t.Errorf("binding it to where its data is not: %v", err)
	}
	if _, err := s.Warm(t.Context(), "shown", "", func(int64) {}); err == nil || !strings.Contains(err.Error(), "another store") {
		t.Errorf("warming: %v", err)
	}
	stop()
	good.Jurisdiction = "us"
	refused(t, Config{Dir: dir, Jurisdiction: "eu/de", Shown: []Shown{good}}, "shown[0].jurisdiction", "in us", "eu/de")
	good.S3.SecretKeyFile = filepath.Join(dir, "none")
	refused(t, Config{Dir: t.TempDir(), Shown: []Shown{good}}, "shown[0]", "none")
}

func TestParseShown(t *testing.T) {
	const at = "s3: {endpoint: 'http://h', region: r, bucket: b}"
	f, err := ParseStores([]byte("shown:\n- {bucket: archive, account: a, " + at + ", jurisdiction: eu/de, writable: true}\n"))
	if err != nil || len(f.Shown) != 1 || !f.Shown[0].Writable || f.Shown[0].S3.Bucket != "b" {
		t.Errorf("%+v, %v", f, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":   {"{bucket: abc, account: a, " + at + ", size: 1}", "size"},
		"no name":         {"{account: a, " + at + "}", "shown[0].bucket"},
		"a bad name":      {"{bucket: A_B, account: a, " + at + "}", "shown[0].bucket"},
		"nobody's":        {"{bucket: abc, " + at + "}", "shown[0].account"},
		"nowhere":         {"{bucket: abc, account: a}", "shown[0].s3: give one"},
		"twice":           {"{bucket: abc, account: a, " + at + "}, {bucket: abc, account: b, " + at + "}", "shown[1].bucket"},
		"no bucket there": {"{bucket: abc, account: a, s3: {endpoint: 'http://h'}}", "shown[0].s3.bucket"},
		"no container":    {"{bucket: abc, account: a, swift: {authURL: 'http://h'}}", "shown[0].swift.container"},
		"half a key":      {"{bucket: abc, account: a, s3: {endpoint: 'http://h', bucket: b, accessKey: k}}", "shown[0].s3.accessKey"},
		"a jurisdiction":  {"{bucket: abc, account: a, " + at + ", jurisdiction: EU}", "shown[0].jurisdiction"},
		"a time":          {"{bucket: abc, account: a, " + at + ", timeoutSeconds: 601}", "shown[0].timeoutSeconds"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseStores([]byte("shown: [" + c.text + "]")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
