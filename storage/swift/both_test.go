package swift_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/swift"
)

// both serves the two doors on one address, as the server does.
func both(t *testing.T) (*door, *minio.Client) {
	t.Helper()
	d := open(t, func(c *swift.Config) { c.Now = time.Now })
	other, err := s3.New(s3.Config{Space: d.space, Directory: d.cfg.Directory, Region: "us-east-1", Now: time.Now, Log: d.cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.h.Handles(r) {
			d.h.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	d.url = s.URL
	c, err := minio.New(strings.TrimPrefix(s.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4("test:tester", "testing", ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

func TestBothDoors(t *testing.T) {
	d, c := both(t)
	ctx := t.Context()
	d.want(201, "t", "PUT", "/v1/AUTH_test/shared", "")
	put := d.want(201, "t", "PUT", "/v1/AUTH_test/shared/by-swift", "swift", "X-Object-Meta-Color", "red", "Content-Type", "text/x", "Content-Encoding", "br")
	o, err := c.GetObject(ctx, "shared", "by-swift", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := o.Stat()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(o)
	if err != nil || string(body) != "swift" || i.ETag != put.head.Get("Etag") || i.UserMetadata["Color"] != "red" || i.ContentType != "text/x" {
		t.Errorf("S3 reads %q, %+v, %v", body, i, err)
	}
	if _, err := c.PutObject(ctx, "shared", "by-s3", strings.NewReader("s3"), 2, minio.PutObjectOptions{UserMetadata: map[string]string{"Size": "small"}, ContentType: "text/y"}); err != nil {
		t.Fatal(err)
	}
	got := d.want(200, "t", "GET", "/v1/AUTH_test/shared/by-s3", "")
	if got.body != "s3" || got.head.Get("X-Object-Meta-Size") != "small" || got.head.Get("Content-Type") != "text/y" || len(got.head.Get("Etag")) != 32 {
		t.Errorf("Swift reads %q, %v", got.body, got.head)
	}
	big := bytes.Repeat([]byte("x"), 11<<20)
	up, err := c.PutObject(ctx, "shared", "parts", bytes.NewReader(big), int64(len(big)), minio.PutObjectOptions{PartSize: 5 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.want(200, "t", "GET", "/v1/AUTH_test/shared/parts", ""); got.body != string(big) || got.head.Get("Etag") != `"`+up.ETag+`"` || !strings.HasSuffix(up.ETag, "-3") {
		t.Errorf("an object of parts: %d bytes, ETag %s", len(got.body), got.head.Get("Etag"))
	}
	if list := d.want(200, "t", "GET", "/v1/AUTH_test/shared", ""); list.body != "by-s3\nby-swift\nparts\n" {
		t.Errorf("listing %q", list.body)
	}
	// What another account may not do by one door it may not do by the other.
	d.want(403, "2", "GET", "/v1/AUTH_test/shared/by-s3", "")
	d.want(401, "-", "GET", "/v1/AUTH_test/shared/by-s3", "")
	// A bucket with a name that begins Swift's paths.
	if err := c.MakeBucket(ctx, "auth", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(ctx, "auth", "v1.0", strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Errorf("a key that looks like Swift's: %v", err)
	}
	d.want(204, "t", "DELETE", "/v1/AUTH_test/auth/v1.0", "")
	d.want(204, "t", "DELETE", "/v1/AUTH_test/auth", "")
}
