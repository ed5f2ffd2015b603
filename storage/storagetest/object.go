package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

func testBuckets(t *testing.T, b *bench) {
	for _, n := range []string{"b", "a", "c"} {
		if _, err := b.CreateBucket(ctx, n, storage.Settings{Labels: map[string]string{"name": n}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.CreateBucket(ctx, "a", storage.Settings{})
	wantErr(t, err, storage.ErrBucketExists)
	l, err := b.Buckets(ctx, "a", 1)
	if err != nil || len(l) != 1 || l[0].Name != "b" || l[0].Settings.Labels["name"] != "b" || !l[0].Created.Equal(b.dated(l[0].Created)) {
		t.Errorf("got buckets %+v, %v", l, err)
	}
	a, _ := b.Bucket(ctx, "a")
	put(t, a, "k", "old")
	wantErr(t, b.DeleteBucket(ctx, "a"), storage.ErrNotEmpty)
	if _, err := a.Delete(ctx, "k", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Begin(ctx, "k", storage.Meta{}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteBucket(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, b.DeleteBucket(ctx, "a"), storage.ErrNoBucket)
	_, err = b.Bucket(ctx, "a")
	wantErr(t, err, storage.ErrNoBucket)
	_, err = a.Put(ctx, "k", strings.NewReader("x"), storage.PutOptions{})
	wantErr(t, err, storage.ErrNoBucket)
	again, err := b.CreateBucket(ctx, "a", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = again.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	if l, err := again.Uploads(ctx, storage.ListOptions{}); err != nil || len(l.Uploads) > 0 {
		t.Errorf("the new bucket has uploads %v, %v", l.Uploads, err)
	}
	err = again.Configure(ctx, func(s *storage.Settings) error { s.Copies = 1000; return nil })
	wantErr(t, err, storage.ErrInvalid)
}

func testNames(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	for _, n := range []string{"", "a\x00", "\xff", strings.Repeat("n", storage.BucketNameBytesMax+1)} {
		_, err := b.CreateBucket(ctx, n, storage.Settings{})
		wantErr(t, err, storage.ErrInvalid)
	}
	for _, k := range []string{"", "a\x00b", "a\xffb", strings.Repeat("k", 1025)} {
		_, err := bk.Put(ctx, k, strings.NewReader("x"), storage.PutOptions{})
		wantErr(t, err, storage.ErrInvalid)
	}
	odd := []string{"/", "//", ".", "..", "a/../b", " ", "a b", "ä/ö", "\x01", "a\n", strings.Repeat("k", 1024), "a", "a/", "a/b"}
	for _, k := range odd {
		put(t, bk, k, "body of "+k)
	}
	for _, k := range odd {
		want(t, "body", get(t, bk, k, ""), "body of "+k)
	}
	l, err := bk.List(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "keys", keys(l.Objects), sorted(odd, false))
}

func testObjects(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	_, err := bk.Open(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	i := put(t, bk, "k", "one")
	if i.Revision == 0 {
		t.Error("the version has no revision")
	}
	i.Revision = 0
	want(t, "info", i, storage.Info{Key: "k", Size: 3, ETag: etag([]byte("one")), Modified: b.dated(i.Modified), Version: storage.NullVersion, Latest: true})
	b.pass(time.Hour)
	put(t, bk, "k", "two!")
	want(t, "body", get(t, bk, "k", ""), "two!")
	want(t, "body", get(t, bk, "k", storage.NullVersion), "two!")
	j, err := bk.Stat(ctx, "k", storage.ReadOptions{})
	if err != nil || j.Size != 4 || !j.Modified.Equal(b.dated(j.Modified)) {
		t.Errorf("got %+v, %v", j, err)
	}
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{Version: "0123456789abcdef"})
	wantErr(t, err, storage.ErrNoVersion)
	d, err := bk.Delete(ctx, "k", storage.DeleteOptions{})
	if err != nil || !d.Found || d.Marker {
		t.Errorf("got %+v, %v", d, err)
	}
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	d, err = bk.Delete(ctx, "k", storage.DeleteOptions{})
	if err != nil || d.Found {
		t.Errorf("got %+v, %v", d, err)
	}
}

func testBodies(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	rng := rand.New(rand.NewPCG(1, 1))
	for i, n := range bodySizes {
		body := random(uint64(i), n)
		for _, size := range []int64{0, int64(n)} {
			info, err := bk.Put(ctx, "k", &dribble{bytes.NewReader(body), rng}, storage.PutOptions{Size: size, MD5: etag(body)})
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			got, again, err := read(bk, "k", "")
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
			}
			want(t, "info", again, info)
			want(t, "ETag", info.ETag, etag(body))
		}
	}
}

func testFailingBodies(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	put(t, bk, "k", "old")
	gone := errors.New("the client is gone")
	stopped, stop := context.WithCancel(ctx)
	stop()
	for i, n := range bodySizes {
		body := random(uint64(i), n)
		for what, try := range map[string]func() (storage.Info, error){
			"reader": func() (storage.Info, error) {
				return bk.Put(ctx, "k", &broken{bytes.NewReader(body), gone}, storage.PutOptions{})
			},
			"length": func() (storage.Info, error) {
				return bk.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{Size: int64(n) + 1})
			},
			"too long": func() (storage.Info, error) {
				return bk.Put(ctx, "k", io.MultiReader(bytes.NewReader(body), strings.NewReader("ab")), storage.PutOptions{Size: int64(n) + 1})
			},
			"digest": func() (storage.Info, error) {
				return bk.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{MD5: etag([]byte("other"))})
			},
			"seal": func() (storage.Info, error) {
				return bk.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{Seal: func(*storage.Meta) error { return gone }})
			},
			"context": func() (storage.Info, error) {
				return bk.Put(stopped, "k", bytes.NewReader(body), storage.PutOptions{})
			},
		} {
			if _, err := try(); err == nil {
				t.Errorf("%d bytes, %s: no error", n, what)
			}
			want(t, what, get(t, bk, "k", ""), "old")
		}
	}
}

func testRanges(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	rng := rand.New(rand.NewPCG(2, 2))
	for i, n := range bodySizes {
		body := random(uint64(i), n)
		put(t, bk, "k", string(body))
		o, err := bk.Open(ctx, "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			off := rng.IntN(n + 1)
			k := rng.IntN(n - off + 1)
			got, err := io.ReadAll(storage.Reader(o, int64(off), int64(k)))
			if err != nil || !bytes.Equal(got, body[off:off+k]) {
				t.Errorf("bytes %d to %d of %d differ: %v", off, off+k, n, err)
			}
			if got := joined(t, o, int64(off), int64(k)); !bytes.Equal(got, body[off:off+k]) {
				t.Errorf("extents of bytes %d to %d of %d differ", off, off+k, n)
			}
		}
		if m, err := o.ReadAt(make([]byte, 1), int64(n)); m != 0 || err != io.EOF {
			t.Errorf("reading at the end gave %d, %v", m, err)
		}
		_, err = o.Extents(0, int64(n)+1)
		wantErr(t, err, storage.ErrRange)
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// joined reads what extents name.
func joined(t *testing.T, o storage.Object, off, n int64) []byte {
	t.Helper()
	out := []byte{}
	for int64(len(out)) < n {
		es, err := o.Extents(off+int64(len(out)), n-int64(len(out)))
		if err != nil || len(es) == 0 {
			t.Fatalf("%d extents, %v", len(es), err)
		}
		for _, e := range es {
			if e.File == nil {
				out = append(out, e.Bytes...)
				continue
			}
			p := make([]byte, e.Length)
			if _, err := e.File.ReadAt(p, e.Offset); err != nil {
				t.Fatal(err)
			}
			out = append(out, p...)
		}
	}
	return out
}

func testConditions(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	try := func(key string, c storage.Conditions) error {
		_, err := bk.Put(ctx, key, strings.NewReader("new"), storage.PutOptions{If: c})
		return err
	}
	any := []string{"*"}
	wantErr(t, try("k", storage.Conditions{Match: any}), storage.ErrPrecondition, storage.ErrNoObject)
	wantErr(t, try("k", storage.Conditions{NoneMatch: any}), nil)
	wantErr(t, try("k", storage.Conditions{NoneMatch: any}), storage.ErrPrecondition)
	old := put(t, bk, "k", "old")
	wantErr(t, try("k", storage.Conditions{Match: []string{`"other"`}}), storage.ErrPrecondition)
	wantErr(t, try("k", storage.Conditions{UnmodifiedSince: old.Modified.Add(-time.Hour)}), storage.ErrPrecondition)
	want(t, "body", get(t, bk, "k", ""), "old")
	_, err := bk.Delete(ctx, "k", storage.DeleteOptions{If: storage.Conditions{Match: []string{"other"}}})
	wantErr(t, err, storage.ErrPrecondition)
	wantErr(t, try("k", storage.Conditions{Match: []string{"x", `"` + old.ETag + `"`}}), nil)

	stat := func(c storage.Conditions) error {
		_, err := bk.Stat(ctx, "k", storage.ReadOptions{If: c})
		return err
	}
	now := []string{etag([]byte("new"))}
	i, err := bk.Stat(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := i.Modified
	wantErr(t, stat(storage.Conditions{NoneMatch: now}), storage.ErrNotModified)
	wantErr(t, stat(storage.Conditions{Match: []string{"x"}}), storage.ErrPrecondition)
	wantErr(t, stat(storage.Conditions{ModifiedSince: at}), storage.ErrNotModified)
	wantErr(t, stat(storage.Conditions{UnmodifiedSince: at.Add(-time.Second)}), storage.ErrPrecondition)
	wantErr(t, stat(storage.Conditions{ModifiedSince: at.Add(-time.Second), Match: now, UnmodifiedSince: at}), nil)
	// A list of ETags that holds none of the object's makes its time not count.
	wantErr(t, stat(storage.Conditions{NoneMatch: []string{"x"}, ModifiedSince: at}), nil)
	wantErr(t, stat(storage.Conditions{Match: now, UnmodifiedSince: at.Add(-time.Hour)}), nil)
}

func testMetadata(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	m := storage.Meta{
		ContentType: "text/plain", Headers: map[string]string{"Cache-Control": "no-store"}, User: map[string]string{"a": "1", "ü": ""},
		Tags: map[string]string{"t": "v"}, System: map[string]string{"manifest": strings.Repeat("m", b.metaBytes())},
	}
	o := storage.PutOptions{Meta: m, Seal: func(m *storage.Meta) error {
		m.Checksums = map[string]string{"crc32c": "AAAAAA=="}
		return nil
	}}
	for _, body := range []string{"small", string(random(1, 300_000))} {
		if _, err := bk.Put(ctx, "k", strings.NewReader(body), o); err != nil {
			t.Fatal(err)
		}
		m.Checksums = map[string]string{"crc32c": "AAAAAA=="}
		before, err := bk.Stat(ctx, "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "metadata", before.Meta, m)
		b.pass(time.Minute)
		after, err := bk.Edit(ctx, "k", storage.EditOptions{Touch: true, Change: func(m *storage.Meta) error {
			m.User, m.Tags["t"] = map[string]string{"b": "2"}, "w"
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "edited", after.Meta.User, map[string]string{"b": "2"})
		want(t, "tags", after.Meta.Tags, map[string]string{"t": "w"})
		if after.ETag != before.ETag || after.Version != before.Version || !after.Modified.Equal(b.dated(after.Modified)) {
			t.Errorf("edited from %+v to %+v", before, after)
		}
		want(t, "body", get(t, bk, "k", ""), body)
	}
	_, err := bk.Edit(ctx, "none", storage.EditOptions{Change: func(*storage.Meta) error { return nil }})
	wantErr(t, err, storage.ErrNoObject)
}

func testReaders(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	for i, n := range []int{4096, 1 << 20} {
		body := random(uint64(i), n)
		put(t, bk, "k", string(body))
		o, err := bk.Open(ctx, "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, bk, "k", "new")
		if _, err := bk.Delete(ctx, "k", storage.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(storage.Reader(o, 0, int64(n)))
		if b.replaced(err) {
			got, err = body, nil
		}
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("the open object of %d bytes changed: %v", n, err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testPlainETag(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{PlainETag: true})
	seen := map[string]bool{}
	for i, n := range bodySizes {
		body := random(uint64(i), n)
		for range 2 {
			info, err := bk.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(info.ETag, "-") || seen[info.ETag] {
				t.Errorf("ETag %s is of a hash, or of another version", info.ETag)
			}
			seen[info.ETag] = true
		}
		if got, _, err := read(bk, "k", ""); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back wrong: %v", n, err)
		}
		_, err := bk.Put(ctx, "k", bytes.NewReader(body), storage.PutOptions{MD5: etag([]byte("other"))})
		wantErr(t, err, storage.ErrDigest)
	}
}

func testClosed(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := bk.Put(ctx, "k", strings.NewReader("x"), storage.PutOptions{})
	wantErr(t, err, storage.ErrClosed)
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrClosed)
	_, err = b.Bucket(ctx, "bucket")
	wantErr(t, err, storage.ErrClosed)
	wantErr(t, b.Close(), storage.ErrClosed)
}
