package swift_test

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/accesslog"
	"polder.dev/polder/storage/swift"
)

// The fields of a record that are looked at, by their places.
const (
	fOwner, fBucket, fRequester, fID, fOperation, fKey, fLine, fStatus = 0, 1, 4, 5, 6, 7, 8, 9
	fSent, fSize, fTotal, fTurn, fAuth, fieldCount                     = 11, 12, 13, 14, 21, 27
)

// shelf is where logs are put.
type shelf struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *shelf) put(_ context.Context, from *accesslog.Source, bucket, key string, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(text)
	return nil
}

var fieldsOf = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|[^ ]+`)

// TestRecords: an access log tells of Swift's requests as of S3's.
func TestRecords(t *testing.T) {
	var s shelf
	log, err := accesslog.New(accesslog.Options{Put: s.put})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, func(c *swift.Config) { c.Access = log })
	logs := func(name string) {
		t.Helper()
		d.want(201, "t", "PUT", "/v1/AUTH_test/"+name, "")
		b, err := d.space.Container(t.Context(), "test", name)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Configure(t.Context(), func(set *storage.Settings) error {
			set.Labels[accesslog.Label] = (&accesslog.Config{Bucket: "logs"}).Encode()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	logs("data")
	logs("parts")
	const at = "/v1/AUTH_test/data"
	var want []string // BUCKET OPERATION KEY STATUS
	expect := func(records ...string) { want = append(want, records...) }

	d.want(201, "t", "PUT", at+"/a%20b", "0123456789")
	expect("data SWIFT.PUT.OBJECT a%20b 201")
	d.want(206, "t", "GET", at+"/a%20b", "", "Range", "bytes=2-4")
	expect("data SWIFT.GET.OBJECT a%20b 206")
	d.want(404, "t", "HEAD", at+"/none", "")
	expect("data SWIFT.HEAD.OBJECT none 404")
	d.want(401, "-", "GET", at+"/a%20b", "")
	expect("data SWIFT.GET.OBJECT a%20b 401")
	d.want(401, "-", "DELETE", at+"/a%20b", "", "X-Auth-Token", "bad-token")
	expect("data SWIFT.DELETE.OBJECT a%20b 401")
	d.want(202, "t", "POST", at+"/a%20b", "", "X-Object-Meta-X", "y")
	expect("data SWIFT.POST.OBJECT a%20b 202")
	d.want(200, "t", "GET", at, "")
	expect("data SWIFT.GET.CONTAINER - 200")
	d.want(204, "t", "POST", at, "", "X-Container-Meta-Temp-URL-Key", "key-of-urls")
	expect("data SWIFT.POST.CONTAINER - 204")

	// A temporary address, whose signature must not be told.
	expires := d.now().Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, []byte("key-of-urls"))
	fmt.Fprintf(mac, "GET\n%d\n%s/a b", expires, at)
	signature := hex.EncodeToString(mac.Sum(nil))
	d.want(200, "-", "GET", fmt.Sprintf("%s/a%%20b?temp_url_sig=%s&temp_url_expires=%d", at, signature, expires), "")
	expect("data SWIFT.GET.OBJECT a%20b 200")
	d.want(401, "-", "GET", at+"/a%20b?temp_url_sig=secretbutwrong&temp_url_expires=9", "")
	expect("data SWIFT.GET.OBJECT a%20b 401")

	// Both ends of a copy, by both verbs.
	d.want(201, "t", "COPY", at+"/a%20b", "", "Destination", "parts/1")
	expect("data SWIFT.COPY.OBJECT a%20b 201", "parts SWIFT.COPY.OBJECT_PUT 1 201")
	d.want(201, "t", "PUT", "/v1/AUTH_test/parts/2", "", "X-Copy-From", "data/a%20b")
	expect("parts SWIFT.PUT.OBJECT 2 201", "data SWIFT.COPY.OBJECT_GET a%20b 201")

	// What large objects are made of.
	list := fmt.Sprintf(`[{"path":"/parts/1","size_bytes":10,"etag":"%x"}]`, md5.Sum([]byte("0123456789")))
	d.want(201, "t", "PUT", at+"/static?multipart-manifest=put", list)
	expect("data SWIFT.PUT.OBJECT static 201")
	if a := d.want(200, "t", "GET", at+"/static", ""); a.body != "0123456789" {
		t.Errorf("the large object is %q", a.body)
	}
	expect("data SWIFT.GET.OBJECT static 200", "parts SWIFT.GET.SEGMENT 1 200")

	// A request for each object of many.
	d.want(200, "t", "POST", "/v1/AUTH_test?bulk-delete", "data/static\ndata/none\n", "Content-Type", "text/plain")
	expect("data SWIFT.DELETE.OBJECT static 204", "data SWIFT.DELETE.OBJECT none 404")
	d.want(204, "t", "DELETE", at+"/a%20b", "")
	expect("data SWIFT.DELETE.OBJECT a%20b 204")

	var got []string
	var all [][]string
	for deadline := time.Now().Add(30 * time.Second); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		log.Deliver(t.Context()) // a request is recorded after its answer was sent
		got, all = nil, nil
		s.mu.Lock()
		for line := range strings.Lines(s.text.String()) {
			f := fieldsOf.FindAllString(strings.TrimSpace(line), -1)
			if len(f) != fieldCount {
				t.Fatalf("%d fields in %q", len(f), line)
			}
			all, got = append(all, f), append(got, strings.Join([]string{f[fBucket], f[fOperation], f[fKey], f[fStatus]}, " "))
		}
		s.mu.Unlock()
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("recorded are\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, secret := range []string{signature, "secretbutwrong", "key-of-urls", "bad-token", d.token["t"]} {
		if strings.Contains(s.text.String(), secret) {
			t.Errorf("the log holds the secret %s", secret)
		}
	}
	for _, f := range all {
		if f[fOwner] != "test" || !strings.HasPrefix(f[fID], "tx") {
			t.Errorf("what all have in common: %v", f)
		}
		switch {
		case f[fStatus] == "206" && (f[fSent] != "3" || f[fSize] != "10" || f[fRequester] != "arn:aws:iam::test:user/tester" || f[fAuth] != "AuthHeader"):
			t.Errorf("a part that was read: %v", f)
		case f[fStatus] == "200" && f[fRequester] == "-" && (f[fAuth] != "QueryString" || !strings.Contains(f[fLine], "temp_url_sig=REDACTED&")):
			t.Errorf("a temporary address: %v", f)
		case f[fStatus] == "206" && (f[fTotal] == "-" || f[fTurn] == "-"):
			t.Errorf("times: %v", f)
		}
	}
}

// TestRecordsOfArchive: old versions are written to a container that another one names.
func TestRecordsOfArchive(t *testing.T) {
	var s shelf
	log, err := accesslog.New(accesslog.Options{Put: s.put})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, func(c *swift.Config) { c.Access = log })
	d.want(201, "t", "PUT", "/v1/AUTH_test/old", "")
	b, err := d.space.Container(t.Context(), "test", "old")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Configure(t.Context(), func(set *storage.Settings) error {
		set.Labels[accesslog.Label] = (&accesslog.Config{Bucket: "logs"}).Encode()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	d.want(201, "t", "PUT", "/v1/AUTH_test/data", "", "X-Versions-Location", "old")
	d.want(201, "t", "PUT", "/v1/AUTH_test/data/k", "one")
	d.want(201, "t", "PUT", "/v1/AUTH_test/data/k", "two")
	d.want(204, "t", "DELETE", "/v1/AUTH_test/data/k", "")
	log.Deliver(t.Context()) // these are recorded before the answer
	var got []string
	for line := range strings.Lines(s.text.String()) {
		f := fieldsOf.FindAllString(strings.TrimSpace(line), -1)
		got = append(got, f[fOperation]+" "+f[fStatus]+" "+f[fSize])
	}
	if want := []string{"SWIFT.PUT.ARCHIVE 201 3", "SWIFT.DELETE.ARCHIVE 204 3"}; !slices.Equal(got, want) {
		t.Errorf("recorded are %v", got)
	}
}
