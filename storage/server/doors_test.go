package server

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/s3/sigv4"
)

// client speaks both protocols to a server, about what is account a's.
type client struct {
	t     *testing.T
	url   string
	user  string
	token string
}

// newClient is the user of account a.
func newClient(t *testing.T, url string) *client { return clientOf(t, url, "a:u") }

func clientOf(t *testing.T, url, user string) *client {
	t.Helper()
	c := &client{t: t, url: url, user: user}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/auth/v1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Auth-User", user)
	req.Header.Set("X-Auth-Key", "secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if c.token = resp.Header.Get("X-Auth-Token"); c.token == "" {
		t.Fatalf("signing in: %s", resp.Status)
	}
	return c
}

func (c *client) do(req *http.Request, want int) (http.Header, string) {
	c.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != want {
		c.t.Fatalf("%s %s: %s, want %d: %s", req.Method, req.URL, resp.Status, want, b)
	}
	return resp.Header, string(b)
}

func (c *client) swift(method, path, body string, want int, head ...string) (http.Header, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+"/v1/AUTH_a"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.token)
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	return c.do(req, want)
}

func (c *client) s3(method, path, body string, want int, head ...string) (http.Header, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	signer := sigv4.Signer{AccessKey: c.user, Secret: "secret", Region: "us-east-1"}
	if err := signer.Sign(req, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		c.t.Fatal(err)
	}
	return c.do(req, want)
}

// TestBothDoors: what comes through one door is there behind the other, with the same
// ETag and metadata.
func TestBothDoors(t *testing.T) {
	_, url, _ := run(t, Config{Dir: t.TempDir()})
	c := newClient(t, url)
	etag := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

	c.swift("PUT", "/photos", "", 201)
	c.swift("PUT", "/photos/a", "by swift", 201, "X-Object-Meta-Colour", "blue", "Content-Type", "text/x")
	h, body := c.s3("GET", "/photos/a", "", 200)
	if body != "by swift" || h.Get("ETag") != `"`+etag(body)+`"` || h.Get("X-Amz-Meta-Colour") != "blue" || h.Get("Content-Type") != "text/x" {
		t.Errorf("through S3: %q, %v", body, h)
	}
	c.s3("PUT", "/photos/b", "by S3", 200, "X-Amz-Meta-Colour", "red")
	h, body = c.swift("GET", "/photos/b", "", 200)
	if body != "by S3" || h.Get("ETag") != etag(body) || h.Get("X-Object-Meta-Colour") != "red" {
		t.Errorf("through Swift: %q, %v", body, h)
	}
	if _, body := c.swift("GET", "/photos", "", 200); body != "a\nb\n" {
		t.Errorf("listed: %q", body)
	}
	c.s3("PUT", "/from-s3", "", 200)
	if _, body := c.swift("GET", "", "", 200); body != "from-s3\nphotos\n" {
		t.Errorf("containers: %q", body)
	}
}

// TestLargeObjectsThroughS3: what Swift's clients make of segments is one object.
func TestLargeObjectsThroughS3(t *testing.T) {
	_, url, _ := run(t, Config{Dir: t.TempDir()})
	c := newClient(t, url)
	c.swift("PUT", "/data", "", 201)
	c.swift("PUT", "/parts", "", 201)
	list := ""
	for i, s := range []string{"first ", "second ", "third"} {
		c.swift("PUT", fmt.Sprintf("/parts/x/%d", i), s, 201)
		list += fmt.Sprintf(`{"path":"/parts/x/%d","etag":"%x","size_bytes":%d},`, i, md5.Sum([]byte(s)), len(s))
	}
	whole := "first second third"
	c.swift("PUT", "/data/static?multipart-manifest=put", "["+strings.TrimSuffix(list, ",")+"]", 201)
	c.swift("PUT", "/data/dynamic", "", 201, "X-Object-Manifest", "parts/x/")
	c.swift("PUT", "/data/link", "", 201, "X-Symlink-Target", "data/static")
	for _, key := range []string{"static", "dynamic", "link"} {
		h, body := c.s3("GET", "/data/"+key, "", 200)
		if body != whole {
			t.Errorf("%s reads %q", key, body)
		}
		head, _ := c.s3("HEAD", "/data/"+key, "", 200)
		if head.Get("Content-Length") != fmt.Sprint(len(whole)) || head.Get("ETag") != h.Get("ETag") {
			t.Errorf("%s: HEAD says %v", key, head)
		}
		if _, body := c.s3("GET", "/data/"+key, "", 206, "Range", "bytes=4-8"); body != whole[4:9] {
			t.Errorf("bytes 4 to 8 of %s are %q", key, body)
		}
		c.s3("PUT", "/data/copy", "", 200, "X-Amz-Copy-Source", "/data/"+key)
		h, body = c.s3("GET", "/data/copy", "", 200)
		sum := md5.Sum([]byte(whole))
		if body != whole || h.Get("ETag") != `"`+hex.EncodeToString(sum[:])+`"` {
			t.Errorf("a copy of %s reads %q, %v", key, body, h)
		}
	}
	c.swift("DELETE", "/parts/x/1", "", 204)
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/data/static", nil)
	if err != nil {
		t.Fatal(err)
	}
	signer := sigv4.Signer{AccessKey: "a:u", Secret: "secret", Region: "us-east-1"}
	if err := signer.Sign(req, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		var b []byte
		b, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == 200 {
			t.Errorf("an object whose segment is gone reads as %q", b)
		}
	}
}

// TestQuotasHoldAtBothDoors: what one door's quota says, the other keeps.
func TestQuotasHoldAtBothDoors(t *testing.T) {
	s, url, _ := run(t, Config{Dir: t.TempDir()})
	c := newClient(t, url)
	c.swift("PUT", "/by-swift", "", 201, "X-Container-Meta-Quota-Bytes", "10")
	c.s3("PUT", "/by-swift/a", "12345678", 200)
	c.s3("PUT", "/by-swift/b", "12345678", 403)
	c.swift("PUT", "/by-swift/b", "12345678", 413)
	if _, err := s.Space().CreateBucket(t.Context(), "a", "by-polder", storage.Settings{Labels: map[string]string{iam.LabelQuota: "10"}}); err != nil {
		t.Fatal(err)
	}
	c.swift("PUT", "/by-polder/a", "12345678", 201)
	c.swift("PUT", "/by-polder/b", "12345678", 413)
	c.s3("PUT", "/by-polder/b", "12345678", 403)
	c.s3("PUT", "/by-polder/c", "12", 200)
}

// TestSites: at the host of web sites everything is a page, also what would be Swift's
// path elsewhere.
func TestSites(t *testing.T) {
	_, url, stop := run(t, Config{Dir: t.TempDir(), Sites: []string{"web.test"}})
	defer stop()
	c := newClient(t, url)
	c.s3("PUT", "/box", "", 200)
	c.s3("PUT", "/box?website", "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>", 200)
	c.s3("PUT", "/box/v1/AUTH_a/index.html", "a page", 200, "X-Amz-Acl", "public-read")
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/AUTH_a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "box.web.test"
	if _, body := c.do(req, 200); body != "a page" {
		t.Errorf("the page is %q", body)
	}
	c.swift("GET", "", "", 200)
}
