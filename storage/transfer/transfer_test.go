package transfer

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
)

func TestADirectoryGoesThereAndComesBack(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{
		"empty": "", "a.txt": "a", "a/b": "b", "a/c/d e.json": "{}", "ü/😀": "smile", "x+y&z=%20?#": "escape", "large": noise(1, 12<<20), "one": noise(2, 5<<20), "a-b": "dash",
	}
	dir := write(t, t.TempDir(), files)
	then := time.Unix(1_700_000_000, 123_456_789)
	if err := os.Chtimes(filepath.Join(dir, "a.txt"), then, then); err != nil {
		t.Fatal(err)
	}
	o := w.all(w.c.Copying(t.Context(), local(dir), at("in/here"), true))
	if n := int64(len(files)); o.Objects.Load() != n || o.ObjectsAll.Load() != n || o.Bytes.Load() != o.BytesAll.Load() || !o.Planned.Load() {
		t.Errorf("the meter has %d of %d objects, %d of %d bytes", o.Objects.Load(), o.ObjectsAll.Load(), o.Bytes.Load(), o.BytesAll.Load())
	}
	back := filepath.Join(t.TempDir(), "not", "there")
	o = w.all(w.c.Copying(t.Context(), at("in/here/"), local(back), true))
	holds(t, back, files)
	if o.Bytes.Load() != o.BytesAll.Load() || o.Unverified.Load() > 0 {
		t.Errorf("the meter has %d of %d bytes, %d unverified", o.Bytes.Load(), o.BytesAll.Load(), o.Unverified.Load())
	}
	info, err := os.Stat(filepath.Join(back, "a.txt"))
	if err != nil || !info.ModTime().Equal(then) {
		t.Errorf("a.txt is of %v, %v; want %v", info.ModTime(), err, then)
	}
	got, err := w.c.stat(t.Context(), at("in/here/a/c/d e.json"), "")
	if err != nil || got.ContentType != "application/json" || got.ChecksumCRC64NVME == "" {
		t.Errorf("%v: type %s, checksum %q", err, got.ContentType, got.ChecksumCRC64NVME)
	}
	large, err := w.c.stat(t.Context(), at("in/here/large"), "")
	if err != nil || large.ChecksumCRC64NVME == "" || !strings.HasSuffix(large.ETag, "-3") {
		t.Errorf("%v: checksum %q, ETag %s; want one of three parts", err, large.ChecksumCRC64NVME, large.ETag)
	}
}

func TestSingleObjectsAndTheirNames(t *testing.T) {
	w := newWorld(t)
	dir := write(t, t.TempDir(), map[string]string{"f": "text", "sub/g": ""})
	for to, want := range map[string]string{"": "f", "p/": "p/f", "p/other": "p/other"} {
		w.all(w.c.Copying(t.Context(), local(dir, "f"), at(to), false))
		if got := w.get(want); got != "text" {
			t.Errorf("copied to %q it is not at %s: %q", to, want, got)
		}
	}
	out := t.TempDir()
	for _, to := range []string{out, filepath.Join(out, "h"), out + "/"} {
		w.all(w.c.Copying(t.Context(), at("p/other"), Address{Path: to}, false))
	}
	holds(t, out, map[string]string{"other": "text", "h": "text"})
	w.all(w.c.Copying(t.Context(), at("p/other"), at("q/"), false))
	if got := w.get("q/other"); got != "text" {
		t.Errorf("copied inside the store it is %q", got)
	}
	for name, tc := range map[string]struct {
		from, to Address
		deep     bool
		want     string
	}{
		"two paths":            {from: local(dir), to: local(out), deep: true, want: "one must be s3://"},
		"a directory":          {from: local(dir), to: at("x"), want: "-r"},
		"no file":              {from: local(dir, "none"), to: at("x"), want: "none"},
		"no object":            {from: at("none"), to: local(out), want: "there is no object s3://data/none"},
		"no bucket":            {from: Address{Bucket: "nobucket", Key: "x"}, to: local(out), want: "there is no"},
		"to itself":            {from: at("f"), to: at("f"), want: "itself"},
		"into itself":          {from: at("p/"), to: at("p/q"), deep: true, want: "one holds the other"},
		"no such directory":    {from: local(dir, "none"), to: at("x"), deep: true, want: "none"},
		"into no directory":    {from: at("f"), to: local(out, "none", "f"), want: "none"},
		"to no bucket":         {from: local(dir), to: Address{Bucket: "nobucket"}, deep: true, want: "there is no bucket nobucket"},
		"a prefix of no files": {from: at("p"), to: local(out), want: "there is no object"},
	} {
		p, err := w.c.Copying(t.Context(), tc.from, tc.to, tc.deep)
		if err == nil {
			o := run(t.Context(), w.c, p, false)
			err = errors.Join(append(o.failed, o.err)...)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v must say %q", name, err, tc.want)
		}
	}
}

func TestStreams(t *testing.T) {
	w := newWorld(t)
	for _, n := range []int{0, 1, PartBytesMin - 1, PartBytesMin, PartBytesMin + 1, 3*PartBytesMin + 7} {
		text := noise(uint64(n), n)
		m := &Meter{}
		if err := w.c.Write(t.Context(), slowly{strings.NewReader(text)}, at("s"), m); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got := w.get("s"); got != text || m.Bytes.Load() != int64(n) {
			t.Errorf("of %d bytes %d came back; the meter has %d", n, len(got), m.Bytes.Load())
		}
	}
	broken := errors.New("the pipe broke")
	err := w.c.Write(t.Context(), &failing{strings.NewReader(noise(1, 7<<20)), broken}, at("broken"), &Meter{})
	if !errors.Is(err, broken) || slices.Contains(w.keys(), "broken") {
		t.Errorf("a stream that broke: %v; %q", err, w.keys())
	}
	if ups := uploads(t, w); ups > 0 {
		t.Errorf("%d uploads are left behind", ups)
	}
}

func uploads(t *testing.T, w *world) int {
	t.Helper()
	page, err := w.c.core.ListMultipartUploads(t.Context(), bucketName, "", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Uploads)
}

// slowly yields a few bytes at a time, as pipes do.
type slowly struct{ r *strings.Reader }

func (s slowly) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 60_000)]) }

type failing struct {
	r   *strings.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}

// TestLargeCopiesKeepWhatObjectsSay: a copy by parts does not take it over by itself.
func TestLargeCopiesKeepWhatObjectsSay(t *testing.T) {
	w := newWorld(t)
	text := noise(3, 11<<20)
	dir := write(t, t.TempDir(), map[string]string{"f.json": text})
	w.all(w.c.Copying(t.Context(), local(dir, "f.json"), at("f.json"), false))
	w.c.copyOneMax, w.c.copyPart = 5<<20, 5<<20
	m := &Meter{}
	if err := w.c.copyObject(t.Context(), at("f.json"), "", int64(len(text)), at("g"), m); err != nil {
		t.Fatal(err)
	}
	if w.get("g") != text || m.Bytes.Load() != int64(len(text)) {
		t.Error("the copy is another one")
	}
	a, err := w.c.stat(t.Context(), at("f.json"), "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.c.stat(t.Context(), at("g"), "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.UserMetadata, b.UserMetadata); d != "" || a.ContentType != b.ContentType || a.UserMetadata[mtimeKey] == "" {
		t.Errorf("type %s, %s; metadata (-want +got):\n%s", a.ContentType, b.ContentType, d)
	}
	if err := w.c.copyObject(t.Context(), at("none"), "", 6<<20, at("h"), m); !errors.Is(err, ErrNotFound) {
		t.Errorf("a copy of nothing: %v", err)
	}
}

func TestRemoving(t *testing.T) {
	w := newWorld(t)
	for _, k := range []string{"a", "a/b", "a/c", "ab", "odd\x01key", "z"} {
		w.put(k, k)
	}
	for _, a := range []Address{at("none"), at("a/"), at(""), local("x")} {
		if p, err := w.c.Removing(t.Context(), a, false, false); err == nil {
			p.Close()
			t.Errorf("%v may be removed", a)
		}
	}
	w.all(w.c.Removing(t.Context(), at("z"), false, false))
	w.all(w.c.Removing(t.Context(), at("a"), true, false))
	if d := cmp.Diff([]string{"a", "ab", "odd\x01key"}, w.keys()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	o := w.all(w.c.Removing(t.Context(), at(""), true, false))
	if got := w.keys(); len(got) > 0 || o.Objects.Load() != 3 {
		t.Errorf("%d were removed, %q are left", o.Objects.Load(), got)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	if err := w.c.SetVersioning(t.Context(), bucketName, true); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1", "2", "3"} {
		w.put("k", text)
	}
	w.put("k2", "other")
	w.all(w.c.Removing(t.Context(), at("k"), false, false))
	var got []string
	var oldest string
	for e, err := range w.c.Versions(t.Context(), at(""), true) {
		if err != nil {
			t.Fatal(err)
		}
		line := e.Key
		if e.Deleted {
			line += " deleted"
		}
		if e.Latest {
			line += " latest"
		}
		got = append(got, line)
		if e.Key == "k" {
			oldest = e.Version
		}
	}
	if d := cmp.Diff([]string{"k deleted latest", "k", "k", "k", "k2 latest"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var b bytes.Buffer
	if err := w.c.Read(t.Context(), at("k"), oldest, &b, &Meter{}); err != nil || b.String() != "1" {
		t.Errorf("the oldest version is %q, %v", b.String(), err)
	}
	w.all(w.c.Removing(t.Context(), at("k"), false, true))
	n := 0
	for range w.c.Versions(t.Context(), at(""), true) {
		n++
	}
	if n != 1 {
		t.Errorf("%d versions are left, want that of k2", n)
	}
}

func TestBuckets(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if err := w.c.CreateBucket(ctx, "second", BucketOptions{Versioning: true, Durability: "written", Copies: 1, PlainETag: true}); err != nil {
		t.Fatal(err)
	}
	// What S3 has no word for is heard: an ETag that is no MD5 has a dash.
	if err := w.c.Write(ctx, strings.NewReader("x"), Address{Bucket: "second", Key: "x"}, &Meter{}); err != nil {
		t.Fatal(err)
	}
	if o, err := w.c.stat(ctx, Address{Bucket: "second", Key: "x"}, ""); err != nil || !strings.Contains(o.ETag, "-") {
		t.Errorf("the ETag is %s, %v", o.ETag, err)
	}
	if p, err := w.c.Removing(ctx, Address{Bucket: "second", Key: "x"}, false, true); err != nil || run(ctx, w.c, p, false).Failed.Load() > 0 {
		t.Errorf("removing: %v", err)
	}
	if err := w.c.CreateBucket(ctx, "third", BucketOptions{Copies: 9}); err == nil {
		t.Error("a store in memory keeps nine copies")
	}
	if err := w.c.CreateBucket(ctx, "second", BucketOptions{}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a bucket that is there is made: %v", err)
	}
	if err := w.c.CreateBucket(ctx, "Not_A-Bucket", BucketOptions{}); err == nil {
		t.Error("a bucket with a bad name was made")
	}
	list, err := w.c.Buckets(ctx)
	if err != nil || len(list) != 2 || list[1].Name != "second" || list[1].Created.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::second/*"}]}`
	if err := w.c.SetPolicy(ctx, "second", policy); err != nil {
		t.Fatal(err)
	}
	if got, err := w.c.Policy(ctx, "second"); err != nil || !strings.Contains(got, "arn:aws:s3:::second/*") {
		t.Errorf("policy %s, %v", got, err)
	}
	w.put("x", "12345")
	b, err := w.c.ShowBucket(ctx, "second", true)
	if err != nil || b.Versioning != "on" || !b.Policy || b.Objects == nil || *b.Objects != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	b, err = w.c.ShowBucket(ctx, bucketName, true)
	if err != nil || b.Versioning != "off" || b.Policy || b.Objects == nil || *b.Objects != 1 || b.Bytes == nil || *b.Bytes != 5 {
		t.Errorf("%+v, %v", b, err)
	}
	if err := w.c.SetPolicy(ctx, "second", ""); err != nil {
		t.Error(err)
	}
	if _, err := w.c.Policy(ctx, "second"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the policy is there still: %v", err)
	}
	if err := w.c.RemoveBucket(ctx, bucketName); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a bucket that holds something: %v", err)
	}
	if err := w.c.RemoveBucket(ctx, "second"); err != nil {
		t.Error(err)
	}
	if _, err := w.c.ShowBucket(ctx, "second", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("a bucket that is gone: %v", err)
	}
}

func TestErrorsDoNotTellSecrets(t *testing.T) {
	w := newWorld(t)
	c, err := New(Config{Endpoint: w.url, AccessKey: "KEY", SecretKey: "hunter2-hunter2", Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.stat(t.Context(), at("x"), "")
	err = errors.Join(explain(err, at("x")), func() error {
		for _, err := range c.List(t.Context(), at(""), true) {
			return err
		}
		return nil
	}())
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "secret key is not") {
		t.Errorf("a wrong secret: %v", err)
	}
	for _, bad := range []string{"", "x", "ftp://h", "https://user:hunter2@h", "https://h/path", "http://h?x"} {
		if _, err := New(Config{Endpoint: bad}); err == nil {
			t.Errorf("%q is taken for an endpoint", bad)
		}
	}
}

// TestAStoreThatIsBusyIsAskedAgain, and one that never answered is not waited for.
func TestAStoreThatIsBusyIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	dir := write(t, t.TempDir(), map[string]string{"small": "s", "large": noise(5, 11<<20)})
	var n atomic.Int64
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if n.Add(1)%3 != 0 {
			rw.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusTooManyRequests}[n.Load()%3])
			return
		}
		next.ServeHTTP(rw, r)
	})
	w.all(w.c.Copying(t.Context(), local(dir), at(""), true))
	back := t.TempDir()
	w.all(w.c.Copying(t.Context(), at(""), local(back), true))
	holds(t, back, map[string]string{"small": "s", "large": noise(5, 11<<20)})
	c, err := New(Config{Endpoint: "http://127.0.0.1:1", AccessKey: "KEY", SecretKey: "x", Backoff: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.stat(t.Context(), at("x"), ""); err == nil {
		t.Error("nobody answered, and that is no error")
	}
}

func TestTemporaryErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"slow down": {minio.ErrorResponse{Code: "SlowDown", StatusCode: 503}, true}, "denied": {minio.ErrorResponse{Code: "AccessDenied", StatusCode: 403}, false},
		"bad gateway": {minio.ErrorResponse{Code: "x", StatusCode: 502}, true}, "cut": {errShort, true}, "changed": {ErrChanged, false}, "full disk": {&os.PathError{Err: errors.New("full")}, false},
	} {
		if got := temporary(tc.err); got != tc.want {
			t.Errorf("%s: temporary is %v", name, got)
		}
	}
}
