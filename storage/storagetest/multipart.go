package storagetest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
)

func testMultipart(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	u, err := bk.Begin(ctx, "k", storage.Meta{ContentType: "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	whole := random(7, 5*storage.PartBytesMin+1000)
	cut := []int{0, storage.PartBytesMin, 2 * storage.PartBytesMin, 3 * storage.PartBytesMin, 4 * storage.PartBytesMin, 5 * storage.PartBytesMin, len(whole)}
	var refs []storage.PartRef
	sum := md5.New()
	for i, number := range []int{2, 5, 9, 10, 300, storage.PartsMax} {
		for _, body := range [][]byte{[]byte("is replaced"), whole[cut[i]:cut[i+1]]} {
			p, err := bk.PutPart(ctx, "k", u.ID, number, bytes.NewReader(body), storage.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want(t, "part's ETag", p.ETag, etag(body))
		}
		raw, _ := hex.DecodeString(etag(whole[cut[i]:cut[i+1]]))
		sum.Write(raw)
		refs = append(refs, storage.PartRef{Number: number, ETag: etag(whole[cut[i]:cut[i+1]])})
	}
	if _, err := bk.PutPart(ctx, "k", u.ID, 7, strings.NewReader("is not named"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	parts, more, err := bk.Parts(ctx, "k", u.ID, 2, 2)
	if err != nil || !more || len(parts) != 2 || parts[0].Number != 5 || parts[1].Number != 7 || parts[0].Size != storage.PartBytesMin {
		t.Errorf("got parts %+v, %t, %v", parts, more, err)
	}
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	info, err := bk.Complete(ctx, "k", u.ID, refs, storage.CompleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info.Revision = 0
	want(t, "info", info, storage.Info{
		Key: "k", Size: int64(len(whole)), ETag: fmt.Sprintf("%x-6", sum.Sum(nil)), Modified: b.dated(info.Modified),
		Meta: storage.Meta{ContentType: "a/b"}, Version: storage.NullVersion, Latest: true, Parts: 6,
	})
	checkWhole(t, bk, whole)
	_, err = bk.Complete(ctx, "k", u.ID, refs, storage.CompleteOptions{})
	wantErr(t, err, storage.ErrNoUpload)

	i, err := bk.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.counts(t, "parts that are left", i.Usage.Parts.Number, 6)
	o, err := bk.Open(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, bk, "k", "new")
	got, err := io.ReadAll(storage.Reader(o, 0, info.Size))
	if b.replaced(err) {
		got, err = whole, nil
	}
	if err != nil || !bytes.Equal(got, whole) {
		t.Error("the open object changed:", err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if i, err = bk.Info(ctx); err != nil {
		t.Fatal(err)
	}
	b.counts(t, "parts that are left", i.Usage.Parts.Number, 0)
}

func checkWhole(t *testing.T, bk storage.Bucket, whole []byte) {
	t.Helper()
	o, err := bk.Open(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 8 {
		off := rng.IntN(len(whole))
		n := rng.IntN(len(whole) - off)
		got, err := io.ReadAll(storage.Reader(o, int64(off), int64(n)))
		if err != nil || !bytes.Equal(got, whole[off:off+n]) {
			t.Fatalf("bytes %d to %d differ: %v", off, off+n, err)
		}
	}
	if got := joined(t, o, 100, int64(len(whole)-100)); !bytes.Equal(got, whole[100:]) {
		t.Error("extents differ")
	}
	if _, err := storage.CopyPart(ctx, bk, "k", "0000000000000000", 1, o, 0, 1); err == nil {
		t.Error("a part was copied into no upload")
	}
	v, err := bk.Begin(ctx, "copy", storage.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := storage.CopyPart(ctx, bk, "copy", v.ID, 1, o, 5, 1000)
	if err != nil || p.ETag != etag(whole[5:1005]) {
		t.Errorf("the copied part is %+v, %v", p, err)
	}
	if err := bk.Abort(ctx, "copy", v.ID); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func testPartsRefused(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	u, err := bk.Begin(ctx, "k", storage.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := bk.PutPart(ctx, "k", u.ID, n+1, strings.NewReader("small"), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	complete := func(refs ...storage.PartRef) error {
		_, err := bk.Complete(ctx, "k", u.ID, refs, storage.CompleteOptions{})
		return err
	}
	wantErr(t, complete(), storage.ErrPart)
	wantErr(t, complete(storage.PartRef{Number: 3}), storage.ErrPart)
	wantErr(t, complete(storage.PartRef{Number: 1, ETag: "x"}), storage.ErrPart)
	wantErr(t, complete(storage.PartRef{Number: 1}, storage.PartRef{Number: 2}), storage.ErrTooSmall)
	wantErr(t, complete(storage.PartRef{Number: 1, Checksums: map[string]string{"sha256": "x"}}), storage.ErrPart)
	_, err = bk.Complete(ctx, "k", u.ID, []storage.PartRef{{Number: 1}}, storage.CompleteOptions{If: storage.Conditions{Match: []string{"*"}}})
	wantErr(t, err, storage.ErrPrecondition)
	for _, n := range []int{0, -1, storage.PartsMax + 1} {
		_, err := bk.PutPart(ctx, "k", u.ID, n, strings.NewReader("x"), storage.PutOptions{})
		wantErr(t, err, storage.ErrInvalid)
	}
	for _, id := range []string{"", "x", "0000000000000001", u.ID + "0"} {
		_, err := bk.PutPart(ctx, "k", id, 1, strings.NewReader("x"), storage.PutOptions{})
		wantErr(t, err, storage.ErrNoUpload)
		wantErr(t, bk.Abort(ctx, "k", id), storage.ErrNoUpload)
	}
	_, err = bk.PutPart(ctx, "other", u.ID, 1, strings.NewReader("x"), storage.PutOptions{})
	wantErr(t, err, storage.ErrNoUpload)
	wantErr(t, complete(storage.PartRef{Number: 2}, storage.PartRef{Number: 1}), storage.ErrTooSmall)
	if err := complete(storage.PartRef{Number: 2}); err != nil {
		t.Error(err)
	}
	want(t, "body", get(t, bk, "k", ""), "small")
}

func testAbandoned(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{UploadAgeMax: time.Hour})
	var ids []string
	for _, k := range []string{"a/1", "a/1", "a/2", "b"} {
		u, err := bk.Begin(ctx, k, storage.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, u.ID)
		if _, err := bk.PutPart(ctx, k, u.ID, 1, bytes.NewReader(random(1, 200_000)), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		b.pass(20 * time.Minute)
	}
	list := func(o storage.ListOptions) (storage.Listing, error) { return bk.Uploads(ctx, o) }
	for _, limit := range []int{1, 2, 10} {
		l, err := pages(list, storage.ListOptions{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range l.Uploads {
			got = append(got, u.ID)
		}
		want(t, "uploads", got, ids)
		if l, err = pages(list, storage.ListOptions{Limit: limit, Delimiter: "/"}); err != nil || len(l.Uploads) != 1 {
			t.Errorf("got %+v, %v", l, err)
		}
		want(t, "prefixes", l.Prefixes, []string{"a/"})
	}
	b.pass(time.Second)
	s, err := b.Sweep(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "swept", s, storage.Swept{Uploads: 2})
	i, err := bk.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.counts(t, "parts", i.Usage.Parts.Number, 2)
	b.counts(t, "bytes of parts", i.Usage.Parts.Bytes, 400_000)
}

func testExpiry(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	at := b.now().Add(time.Hour)
	for _, k := range []string{"a", "b", "c"} {
		if _, err := bk.Put(ctx, k, strings.NewReader(k), storage.PutOptions{Meta: storage.Meta{Expires: at}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bk.Edit(ctx, "b", storage.EditOptions{Change: func(m *storage.Meta) error { m.Expires = time.Time{}; return nil }}); err != nil {
		t.Fatal(err)
	}
	put(t, bk, "c", "again")
	b.pass(time.Hour)
	_, err := bk.Stat(ctx, "a", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	l, err := bk.List(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "keys", keys(l.Objects), []string{"b", "c"})
	_, err = bk.Put(ctx, "a", strings.NewReader("x"), storage.PutOptions{If: storage.Conditions{Match: []string{"*"}}})
	wantErr(t, err, storage.ErrPrecondition)
	s, err := b.Sweep(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "swept", s, storage.Swept{Objects: 1})
	i, err := bk.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "objects", i.Usage.Objects.Number, 2)
	if s, err = b.Sweep(ctx); err != nil || s != (storage.Swept{}) {
		t.Errorf("swept again: %+v, %v", s, err)
	}
}
