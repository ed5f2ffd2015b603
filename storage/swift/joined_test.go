package swift_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	client "github.com/ncw/swift/v2"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/swift"
)

// TestJoined: clients of Swift read and delete what S3's clients made of parts, whose
// ETag is no MD5.
func TestJoined(t *testing.T) {
	d := open(t, func(c *swift.Config) { c.Now = time.Now })
	d.want(201, "t", "PUT", "/v1/AUTH_test/c", "")
	b, err := d.space.Container(t.Context(), "test", "c")
	if err != nil {
		t.Fatal(err)
	}
	up, err := b.Begin(t.Context(), "parts", storage.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), storage.PartBytesMin/16)
	var refs []storage.PartRef
	for n, text := range [][]byte{body, []byte("tail")} {
		p, err := b.PutPart(t.Context(), "parts", up.ID, n+1, bytes.NewReader(text), storage.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, storage.PartRef{Number: n + 1, ETag: p.ETag})
	}
	info, err := b.Complete(t.Context(), "parts", up.ID, refs, storage.CompleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(info.ETag, "-2") {
		t.Fatalf("ETag %s", info.ETag)
	}
	a := d.want(200, "t", "HEAD", "/v1/AUTH_test/c/parts", "")
	if a.head.Get("X-Static-Large-Object") != "True" || a.head.Get("Etag") != `"`+info.ETag+`"` {
		t.Errorf("HEAD says %v", a.head)
	}
	if a := d.want(200, "t", "GET", "/v1/AUTH_test/c/parts?multipart-manifest=get", ""); a.body != "[]" || !strings.HasPrefix(a.head.Get("Content-Type"), "application/json") {
		t.Errorf("its manifest is %q, %v", a.body, a.head)
	}
	c := &client.Connection{UserName: "test:tester", ApiKey: "testing", AuthUrl: d.url + "/auth/v1.0", Retries: 1}
	f, _, err := c.ObjectOpen(t.Context(), "c", "parts", true, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, append(body, "tail"...)) {
		t.Errorf("a client reads %d bytes, %v", len(got), err)
	}
	if err := f.Close(); err != nil { // it compares MD5s, but of what is not large
		t.Error(err)
	}
	if err := c.LargeObjectDelete(t.Context(), "c", "parts"); err != nil {
		t.Error(err)
	}
	d.want(404, "t", "HEAD", "/v1/AUTH_test/c/parts", "")
	d.want(201, "t", "PUT", "/v1/AUTH_test/c/plain", "x")
	if a := d.want(200, "t", "DELETE", "/v1/AUTH_test/c/plain?multipart-manifest=delete", ""); !strings.Contains(a.body, "Not an SLO manifest") {
		t.Errorf("what is no large object was deleted as one: %s", a.body)
	}
}
