package dataset

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
)

func bucket(t *testing.T, v storage.Versioning, keys ...string) storage.Bucket {
	t.Helper()
	s := mem.New(0, time.Now)
	t.Cleanup(func() { _ = s.Close() })
	b, err := s.CreateBucket(t.Context(), "data", storage.Settings{Versioning: v})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		put(t, b, k, "data of "+k)
	}
	return b
}

func put(t *testing.T, b storage.Bucket, key, data string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(data), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func manifest(t *testing.T, b storage.Bucket, f Frozen) string {
	t.Helper()
	o, err := b.Open(t.Context(), f.Key, storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	text, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFreeze(t *testing.T) {
	for _, v := range []storage.Versioning{storage.Unversioned, storage.Versioned} {
		b := bucket(t, v, "in/b", "in/a/x", "out", "in/<&>")
		f, err := Freeze(t.Context(), b, "data", "in/")
		if err != nil {
			t.Fatal(err)
		}
		if f.Objects != 3 || f.Pinned != (v == storage.Versioned) {
			t.Errorf("frozen: %+v", f)
		}
		var got []string
		text := manifest(t, b, f)
		h, err := Read(strings.NewReader(text), f.Digest, func(_ Head, e Entry) error {
			if (e.Version != "") != f.Pinned || e.ETag == "" {
				t.Errorf("entry %+v", e)
			}
			got = append(got, e.Path)
			return nil
		})
		if err != nil || h.Prefix != "in/" || h.Bucket != "data" {
			t.Errorf("head %+v, %v", h, err)
		}
		if d := cmp.Diff([]string{"<&>", "a/x", "b"}, got); d != "" {
			t.Error(d)
		}
		again, err := Freeze(t.Context(), b, "data", "in/")
		if err != nil || again.Digest != f.Digest {
			t.Errorf("the same objects give %s, then %s, %v", f.Digest, again.Digest, err)
		}
		all, err := Freeze(t.Context(), b, "data", "")
		if err != nil || all.Objects != 4 {
			t.Errorf("all but manifests are 4 objects: %+v, %v", all, err)
		}
		_, err = Read(strings.NewReader(strings.Replace(text, "in/", "un/", 1)), f.Digest, func(Head, Entry) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("a changed manifest: %v", err)
		}
	}
}

// restless changes an object between the two listings of Freeze.
type restless struct {
	storage.Bucket
	t     *testing.T
	lists int
}

func (r *restless) List(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	if r.lists++; r.lists == 2 {
		put(r.t, r.Bucket, "k", "other")
	}
	return r.Bucket.List(ctx, o)
}

func TestFreezeOfWhatChanges(t *testing.T) {
	b := bucket(t, storage.Unversioned, "k")
	if _, err := Freeze(t.Context(), &restless{Bucket: b, t: t}, "data", ""); !errors.Is(err, ErrChanged) {
		t.Errorf("objects that change: %v", err)
	}
	l, err := b.List(t.Context(), storage.ListOptions{Prefix: Own})
	if err != nil || len(l.Objects) != 0 {
		t.Errorf("left behind: %v, %v", l.Objects, err)
	}
}

func TestFile(t *testing.T) {
	for p, ok := range map[string]bool{
		"a": true, "a/b": true, ".a": true, "ä": true, "..a": true,
		"": false, "/a": false, "a/": false, "a//b": false, "..": false, "../a": false, "a/../b": false, "./a": false, "a\x00": false, `a\b`: false,
	} {
		if got, err := File(p); (err == nil) != ok || ok && got != p {
			t.Errorf("%q: %q, %v", p, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("{\"polderDataset\":1,\"bucket\":\"b\"}\n{\"path\":\"a\",\"size\":1,\"etag\":\"e\"}\n")
	f.Add("{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		if _, err := Read(strings.NewReader(text), "sha256:0", func(Head, Entry) error { n++; return nil }); err == nil {
			t.Errorf("a manifest without its digest is good, with %d entries", n)
		}
	})
}
