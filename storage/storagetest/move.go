package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

// mover is a store whose objects' data can lie elsewhere; a test of others is skipped.
func (b *bench) mover(t *testing.T) storage.Mover {
	m, ok := b.Store.(storage.Mover)
	if !ok {
		t.Skip("the store does not move data")
	}
	return m
}

// move relocates a version from where it is, or ends the test.
func move(t *testing.T, b storage.Bucket, i storage.Info, to storage.Whereabouts, data io.Reader, claim string) storage.Info {
	t.Helper()
	i, err := b.(storage.Relocator).Relocate(ctx, i.Key, storage.Relocation{
		Revision: i.Revision, From: i.Whereabouts, To: to, Data: data, Claim: claim,
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func away(place string) storage.Whereabouts { return storage.Whereabouts{Place: place, Away: true} }
func also(place string) storage.Whereabouts { return storage.Whereabouts{Place: place} }

// loose are the places of all notes.
func loose(t *testing.T, m storage.Mover) []string {
	t.Helper()
	out := []string{}
	for after := ""; ; {
		l, err := m.Loose(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range l {
			out = append(out, n.Place)
			after = n.ID
		}
		if len(l) == 0 {
			return sorted(out, false)
		}
	}
}

// made stores a body, of parts if there are several.
func made(t *testing.T, b storage.Bucket, key string, bodies ...[]byte) storage.Info {
	t.Helper()
	if len(bodies) == 1 {
		return put(t, b, key, string(bodies[0]))
	}
	u, err := b.Begin(ctx, key, storage.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	var refs []storage.PartRef
	for i, body := range bodies {
		if _, err := b.PutPart(ctx, key, u.ID, i+1, bytes.NewReader(body), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, storage.PartRef{Number: i + 1})
	}
	i, err := b.Complete(ctx, key, u.ID, refs, storage.CompleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func testElsewhere(t *testing.T, b *bench) {
	b.mover(t)
	bk := b.bucket(t, storage.Settings{})
	for n, bodies := range [][][]byte{
		{[]byte("small")}, {random(1, 300_000)}, {random(2, storage.PartBytesMin), random(3, 1000)}, {random(4, storage.PartBytesMin), random(5, 200_000)},
	} {
		key := fmt.Sprint("k", n)
		whole := bytes.Join(bodies, nil)
		native := made(t, bk, key, bodies...)
		usage := func() storage.Usage {
			i, err := bk.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return i.Usage
		}
		before := usage()
		open, err := bk.Open(ctx, key, storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		copied := move(t, bk, native, also("p1"), nil, "")
		want(t, "a copy elsewhere", get(t, bk, key, ""), string(whole))
		gone := move(t, bk, copied, away("p1"), nil, "")
		_, err = bk.Open(ctx, key, storage.ReadOptions{})
		wantErr(t, err, storage.ErrAway)
		if got, err := io.ReadAll(storage.Reader(open, 0, native.Size)); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("the open object changed: %v", err)
		}
		if err := open.Close(); err != nil {
			t.Error(err)
		}
		stat, err := bk.Stat(ctx, key, storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "where it is", stat.Whereabouts, away("p1"))
		stat.Whereabouts = storage.Whereabouts{}
		want(t, "info", stat, native)
		want(t, "usage", usage(), before)
		if _, err = bk.Edit(ctx, key, storage.EditOptions{Change: func(m *storage.Meta) error { m.ContentType = "a/b"; return nil }}); err != nil {
			t.Error(err)
		}
		move(t, bk, gone, also("p1"), bytes.NewReader(whole), "")
		if got, i, err := read(bk, key, ""); err != nil || !bytes.Equal(got, whole) || i.Meta.ContentType != "a/b" || i.ETag != native.ETag {
			t.Errorf("what came back is %d bytes, %+v, %v", len(got), i, err)
		}
		want(t, "usage", usage(), before)
	}
}

func testLoose(t *testing.T, b *bench) {
	m := b.mover(t)
	bk := b.bucket(t, storage.Settings{})
	r := bk.(storage.Relocator)
	a, c := put(t, bk, "a", "body of a"), made(t, bk, "c", random(1, storage.PartBytesMin), []byte("end"))
	var claims []storage.Loose
	for i, o := range []storage.Info{a, c, a} {
		l, err := r.Claim(ctx, o.Key, o.Revision, fmt.Sprint("p", i))
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, l)
	}
	want(t, "claimed", loose(t, m), []string{"p0", "p1", "p2"})
	a = move(t, bk, a, away("p0"), nil, claims[0].ID)
	move(t, bk, c, away("p1"), nil, claims[1].ID)
	want(t, "what was not used", loose(t, m), []string{"p2"})
	a = move(t, bk, a, away("p2"), nil, claims[2].ID)
	want(t, "what was left", loose(t, m), []string{"p0"})

	_, err := r.Relocate(ctx, "a", storage.Relocation{Revision: a.Revision, From: away("p0"), To: also("")})
	wantErr(t, err, storage.ErrPrecondition)
	for _, body := range []string{"short", "body of a that is too long"} {
		_, err = r.Relocate(ctx, "a", storage.Relocation{Revision: a.Revision, From: a.Whereabouts, Data: strings.NewReader(body)})
		wantErr(t, err, storage.ErrDigest)
	}
	broke := errors.New("the lower tier broke")
	_, err = r.Relocate(ctx, "a", storage.Relocation{Revision: a.Revision, From: a.Whereabouts, Data: &broken{strings.NewReader("bo"), broke}})
	wantErr(t, err, broke)
	_, err = bk.Open(ctx, "a", storage.ReadOptions{})
	wantErr(t, err, storage.ErrAway)

	put(t, bk, "a", "new")
	_, err = r.Relocate(ctx, "a", storage.Relocation{Revision: a.Revision, From: a.Whereabouts, Data: strings.NewReader("body of a")})
	wantErr(t, err, storage.ErrNoVersion)
	if _, err := bk.Delete(ctx, "c", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	i, err := bk.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "parts that are left", i.Usage.Parts.Number, 0)
	want(t, "after overwriting and deleting", loose(t, m), []string{"p0", "p1", "p2"})
	if _, err := bk.Delete(ctx, "a", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteBucket(ctx, "bucket"); err != nil {
		t.Fatal(err)
	}
	want(t, "without the bucket", loose(t, m), []string{"p0", "p1", "p2"})
	if err := m.Flush(); err != nil {
		t.Error(err)
	}
	l, err := m.Loose(ctx, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range l {
		if err := m.Forget(ctx, n.ID); err != nil {
			t.Error(err)
		}
	}
	want(t, "forgotten", loose(t, m), []string{})
	wantErr(t, m.Forget(ctx, "b"), storage.ErrInvalid)
}

func testVersionsElsewhere(t *testing.T, b *bench) {
	m := b.mover(t)
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	one := move(t, bk, put(t, bk, "k", "one"), away("p1"), nil, "")
	two := put(t, bk, "k", "two")
	two = move(t, bk, two, also("p2"), nil, "")
	if _, err := bk.Delete(ctx, "k", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, "nothing is loose", loose(t, m), []string{})
	two = move(t, bk, two, away("p2"), nil, "")
	l, err := bk.Versions(ctx, storage.ListOptions{})
	if err != nil || len(l.Objects) != 3 {
		t.Fatalf("%d versions, %v", len(l.Objects), err)
	}
	want(t, "where they are", []storage.Whereabouts{l.Objects[0].Whereabouts, l.Objects[1].Whereabouts, l.Objects[2].Whereabouts},
		[]storage.Whereabouts{{}, away("p2"), away("p1")})
	for _, v := range []string{l.Objects[0].Version, two.Version} {
		if _, err := bk.Delete(ctx, "k", storage.DeleteOptions{Version: v}); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "of the version that went", loose(t, m), []string{"p2"})
	_, err = bk.Open(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrAway)
	move(t, bk, one, also(""), strings.NewReader("one"), "")
	want(t, "it came up", get(t, bk, "k", ""), "one")
	want(t, "its place is loose too", loose(t, m), []string{"p1", "p2"})
	_, err = bk.(storage.Relocator).Relocate(ctx, "k", storage.Relocation{Revision: l.Objects[0].Revision, To: also("p")})
	wantErr(t, err, storage.ErrNoVersion)
}

func testPreview(t *testing.T, b *bench) {
	b.mover(t)
	bk := b.bucket(t, storage.Settings{})
	u, err := bk.Begin(ctx, "k", storage.Meta{ContentType: "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[int][]byte{1: random(1, storage.PartBytesMin), 2: random(2, 10), 3: random(3, 200_000)}
	for n, body := range bodies {
		if _, err := bk.PutPart(ctx, "k", u.ID, n, bytes.NewReader(body), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r := bk.(storage.Relocator)
	_, err = r.Preview(ctx, "k", u.ID, []storage.PartRef{{Number: 2}, {Number: 3}})
	wantErr(t, err, storage.ErrTooSmall)
	_, err = r.Preview(ctx, "k", "x", []storage.PartRef{{Number: 1}})
	wantErr(t, err, storage.ErrNoUpload)
	refs := []storage.PartRef{{Number: 1}, {Number: 3}}
	o, err := r.Preview(ctx, "k", u.ID, refs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err := errors.Join(err, o.Close()); err != nil || !bytes.Equal(got, append(bodies[1], bodies[3]...)) {
		t.Errorf("the preview has %d bytes, %v", len(got), err)
	}
	info, err := bk.Complete(ctx, "k", u.ID, refs, storage.CompleteOptions{})
	if err != nil || info.ETag != o.Info().ETag || info.Size != o.Info().Size || info.Meta.ContentType != o.Info().Meta.ContentType {
		t.Errorf("it became %+v, %v; the preview was %+v", info, err, o.Info())
	}
}
