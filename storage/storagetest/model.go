package storagetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"polder.dev/polder/storage"
)

// testModel does the same to the store and to lists of versions, and compares.
func testModel(t *testing.T, b *bench) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	model := map[string][]version{} // newest first
	mode := storage.Versioned
	for i := range b.rounds(700) {
		key := fmt.Sprint("k", rng.IntN(6))
		switch n := rng.IntN(100); {
		case n < 3:
			mode = storage.Versioned + storage.Versioning(rng.IntN(2))
			if err := bk.Configure(ctx, func(s *storage.Settings) error { s.Versioning = mode; return nil }); err != nil {
				t.Fatal(err)
			}
		case n < 45:
			body := string(random(uint64(i), 20+rng.IntN(2)*150_000))
			info := put(t, bk, key, body)
			model[key] = above(model[key], version{id: info.Version, etag: info.ETag}, mode)
		case n < 65:
			d, err := bk.Delete(ctx, key, storage.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			model[key] = above(model[key], version{id: d.Version, marker: true}, mode)
		default:
			if vs := model[key]; len(vs) > 0 {
				at := rng.IntN(len(vs))
				if _, err := bk.Delete(ctx, key, storage.DeleteOptions{Version: vs[at].id}); err != nil {
					t.Fatal(err)
				}
				model[key] = append(append([]version(nil), vs[:at]...), vs[at+1:]...)
			}
		}
		if i%50 == 49 {
			compare(t, bk, model)
		}
	}
}

type version struct {
	id, etag string
	marker   bool
}

// above puts a version on top; one without an id takes the place of the one there is.
func above(old []version, v version, mode storage.Versioning) []version {
	out := []version{v}
	for _, o := range old {
		if mode == storage.Suspended && o.id == storage.NullVersion {
			continue
		}
		out = append(out, o)
	}
	return out
}

func compare(t *testing.T, bk storage.Bucket, model map[string][]version) {
	t.Helper()
	l, err := bk.Versions(ctx, storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]version{}
	for _, o := range l.Objects {
		if o.Latest != (len(got[o.Key]) == 0) {
			t.Fatalf("%s: version %s is latest: %t", o.Key, o.Version, o.Latest)
		}
		got[o.Key] = append(got[o.Key], version{o.Version, o.ETag, o.Deleted})
	}
	for k := 0; k < 6; k++ {
		key := fmt.Sprint("k", k)
		if fmt.Sprint(got[key]) != fmt.Sprint(model[key]) {
			t.Fatalf("%s:\ngot  %v\nwant %v", key, got[key], model[key])
		}
		for _, v := range model[key] {
			body, _, err := read(bk, key, v.id)
			if v.marker {
				wantErr(t, err, storage.ErrDeleted)
			} else if err != nil || etag(body) != v.etag {
				t.Fatalf("%s, version %s: %v", key, v.id, err)
			}
		}
	}
}

func testConcurrent(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	seed := rand.Uint64()
	t.Log("seed", seed)
	var h History
	var wg sync.WaitGroup
	for i := range 8 {
		c := &Client{Bucket: bk, History: &h, Rng: rand.New(rand.NewPCG(seed, uint64(i))), Keys: 4, Sizes: []int{20, 5000, 200_000}, Name: uint32(i), Broken: b.replaced}
		wg.Go(func() {
			for range 150 {
				if err := c.Step(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, s := range h.Check() {
		t.Error(s)
	}
}
