package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"polder.dev/polder/storage"
)

// testListings compares with a listing that is easily seen to be right.
func testListings(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	word := func(n int) string {
		var s strings.Builder
		for range rng.IntN(n + 1) {
			s.WriteByte("ab/ -z"[rng.IntN(6)])
		}
		return s.String()
	}
	all := map[string]bool{}
	var wg sync.WaitGroup
	for range 600 {
		if k := word(7); k != "" && !all[k] {
			all[k] = true
			wg.Go(func() {
				if _, err := bk.Put(ctx, k, strings.NewReader(k), storage.PutOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	var names []string
	for k := range all {
		names = append(names, k)
	}
	slices.Sort(names)
	list := func(o storage.ListOptions) (storage.Listing, error) { return bk.List(ctx, o) }
	for i := range b.rounds(400) {
		o := storage.ListOptions{Prefix: word(2), Reverse: rng.IntN(3) == 0, Limit: 1 + rng.IntN(40)}
		if i%3 > 0 {
			o.Delimiter = []string{"/", "a", "/ ", "-z"}[rng.IntN(4)]
		}
		if i%4 == 1 {
			o.After = word(5)
		}
		if i%4 == 2 {
			o.From, o.End = word(5), word(5)
		}
		if i < 2 { // a folded name that is the bound itself
			o = storage.ListOptions{Delimiter: "a", End: " a", Reverse: i == 0, Limit: 40}
		}
		got, err := pages(list, o)
		if err != nil {
			t.Fatal(err)
		}
		wantKeys, wantPrefixes := naive(names, o)
		if !slices.Equal(keys(got.Objects), wantKeys) || !slices.Equal(got.Prefixes, wantPrefixes) {
			t.Fatalf("%+v:\ngot  %q %q\nwant %q %q", o, keys(got.Objects), got.Prefixes, wantKeys, wantPrefixes)
		}
	}
}

// naive lists sorted names.
func naive(names []string, o storage.ListOptions) (objects, prefixes []string) {
	objects = []string{}
	less := strings.Compare
	if o.Reverse {
		names = sorted(names, true)
		less = func(a, b string) int { return strings.Compare(b, a) }
	}
	for _, k := range names {
		rest, ok := strings.CutPrefix(k, o.Prefix)
		if !ok || o.After != "" && less(k, o.After) <= 0 || o.From != "" && less(k, o.From) < 0 || o.End != "" && less(k, o.End) >= 0 {
			continue
		}
		i := -1
		if o.Delimiter != "" {
			i = strings.Index(rest, o.Delimiter)
		}
		if i < 0 {
			objects = append(objects, k)
			continue
		}
		p := o.Prefix + rest[:i+len(o.Delimiter)]
		if !o.Reverse && p == o.After {
			continue
		}
		if len(prefixes) == 0 || prefixes[len(prefixes)-1] != p {
			prefixes = append(prefixes, p)
		}
	}
	return objects, prefixes
}

func testUsage(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	usage := func() storage.Usage {
		t.Helper()
		i, err := bk.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return i.Usage
	}
	for i := range 10 {
		put(t, bk, fmt.Sprint("k", i%5), strings.Repeat("x", 100+i))
	}
	want(t, "usage", usage(), storage.Usage{Objects: storage.Count{Number: 5, Bytes: 535}, Older: storage.Count{Number: 5, Bytes: 510}})
	u, err := bk.Begin(ctx, "m", storage.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bk.PutPart(ctx, "m", u.ID, 1, strings.NewReader("part"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, "parts", usage().Parts, storage.Count{Number: 1, Bytes: 4})
	if err := bk.Abort(ctx, "m", u.ID); err != nil {
		t.Fatal(err)
	}
	want(t, "parts", usage().Parts, storage.Count{})
	if _, err := bk.Delete(ctx, "k0", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, "usage", usage(), storage.Usage{Objects: storage.Count{Number: 4, Bytes: 430}, Older: storage.Count{Number: 7, Bytes: 615}})
}
