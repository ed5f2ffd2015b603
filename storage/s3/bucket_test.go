package s3

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage/mem"
)

func TestBuckets(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/data", ""))
	w.ok(w.main("PUT", "/data", "")) // one's own again
	w.want(w.main("PUT", "/data", "", "X-Amz-Acl", "public-read"), 409, "BucketAlreadyExists")
	w.ok(w.main("PUT", "/data", "", "X-Amz-Acl", "private"))
	w.ok(w.main("PUT", "/logs", ""))
	w.want(w.as("ALT", "PUT", "/data", nil, nil), 409, "BucketAlreadyExists")
	w.want(w.as("", "PUT", "/free", nil, nil), 403, "AccessDenied")
	w.want(w.as("PLAIN", "PUT", "/free", nil, nil), 403, "AccessDenied")
	w.ok(w.main("HEAD", "/data", ""))
	w.want(w.main("HEAD", "/nodata", ""), 404, "")
	w.want(w.as("ALT", "HEAD", "/data", nil, nil), 403, "")
	for _, bad := range []string{"/a", "/Upper", "/under_score", "/" + strings.Repeat("a", 64), "/192.168.5.123", "/dot..dot", "/-a-a", "/.hidden"} {
		w.want(w.main("PUT", bad, ""), 400, "InvalidBucketName")
	}
	var got struct {
		Owner   struct{ ID, DisplayName string }
		Buckets struct{ Bucket []struct{ Name string } }
	}
	if err := xml.Unmarshal(w.ok(w.main("GET", "/", "")).body, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]struct{ Name string }{{"data"}, {"logs"}}, got.Buckets.Bucket); d != "" || got.Owner.ID != "main" || got.Owner.DisplayName != "Main" {
		t.Errorf("owner %+v, buckets %s", got.Owner, d)
	}
	w.want(w.as("ALT", "DELETE", "/logs", nil, nil), 403, "AccessDenied")
	w.want(w.main("DELETE", "/logs", ""), 204, "")
	w.want(w.main("DELETE", "/logs", ""), 404, "NoSuchBucket")
	w.want(w.main("PUT", "/europe", "<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>"), 400, "InvalidLocationConstraint")
	w.want(w.main("PUT", "/europe", "<CreateBucketConf"), 400, "MalformedXML")
	tags := func(k string) string {
		return "<CreateBucketConfiguration><Tags><Tag><Key>" + k + "</Key><Value>v</Value></Tag></Tags></CreateBucketConfiguration>"
	}
	w.want(w.main("PUT", "/tagged", tags("aws:k")), 400, "InvalidTag")
	if arn := w.ok(w.main("PUT", "/tagged", tags("k"))).Header.Get("X-Amz-Bucket-Arn"); arn != "arn:aws:s3:::tagged" {
		t.Errorf("the bucket's name for policies is %q", arn)
	}
	if got := w.tags(w.main("GET", "/tagged?tagging", "")); len(got) != 2 || got[0] != "k" || got[1] != "v" {
		t.Errorf("tags %v", got)
	}
	w.want(w.main("POST", "/data?location", ""), 405, "MethodNotAllowed")
	w.s3.region = "nl-1"
	w.want(w.main("PUT", "/data", ""), 409, "BucketAlreadyOwnedByYou")
	w.s3.region = firstRegion
	w.want(w.main("PUT", "/data?replication", ""), 501, "NotImplemented")
}

func TestNamesOfOnesOwn(t *testing.T) {
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	w := serve(t, m, Config{OwnNames: true})
	w.ok(w.main("PUT", "/data", ""))
	w.ok(w.as("ALT", "PUT", "/data", nil, nil))
	w.ok(w.main("PUT", "/data/k", "main's"))
	w.want(w.as("ALT", "GET", "/data/k", nil, nil), 404, "NoSuchKey")
	w.ok(w.as("ALT", "PUT", "/data/k", []byte("alt's"), nil))
	if got := string(w.ok(w.main("GET", "/data/k", "")).body); got != "main's" {
		t.Errorf("got %q", got)
	}
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		w.want(w.as("ALT", method, "/Not_S3", nil, nil), 400, "InvalidBucketName")
	}
}
