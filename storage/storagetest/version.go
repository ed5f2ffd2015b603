package storagetest

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

func testVersions(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	put(t, bk, "k", "null")
	if err := bk.Configure(ctx, func(s *storage.Settings) error { s.Versioning = storage.Versioned; return nil }); err != nil {
		t.Fatal(err)
	}
	one := put(t, bk, "k", "one")
	two := put(t, bk, "k", string(random(2, 200_000)))
	if one.Version == two.Version || one.Version == storage.NullVersion {
		t.Errorf("versions are %s and %s", one.Version, two.Version)
	}
	want(t, "one", get(t, bk, "k", one.Version), "one")
	want(t, "null", get(t, bk, "k", storage.NullVersion), "null")
	want(t, "newest", get(t, bk, "k", ""), string(random(2, 200_000)))

	marker, err := bk.Delete(ctx, "k", storage.DeleteOptions{})
	if err != nil || !marker.Marker || !marker.Found {
		t.Fatalf("got %+v, %v", marker, err)
	}
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject, storage.ErrDeleted)
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{Version: marker.Version})
	wantErr(t, err, storage.ErrDeleted)
	want(t, "below the marker", get(t, bk, "k", two.Version), string(random(2, 200_000)))
	wantErr(t, b.DeleteBucket(ctx, "bucket"), storage.ErrNotEmpty)

	remove := func(version string, marker bool) {
		t.Helper()
		d, err := bk.Delete(ctx, "k", storage.DeleteOptions{Version: version})
		if err != nil || !d.Found || d.Marker != marker {
			t.Errorf("got %+v, %v", d, err)
		}
	}
	remove(marker.Version, true)
	want(t, "after the marker", get(t, bk, "k", ""), string(random(2, 200_000)))
	remove(two.Version, false)
	want(t, "after two", get(t, bk, "k", ""), "one")
	remove(storage.NullVersion, false)
	want(t, "after null", get(t, bk, "k", ""), "one")
	remove(one.Version, false)
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	d, err := bk.Delete(ctx, "k", storage.DeleteOptions{Version: one.Version})
	if err != nil || d.Found {
		t.Errorf("got %+v, %v", d, err)
	}
	err = bk.Configure(ctx, func(s *storage.Settings) error { s.Versioning = storage.Unversioned; return nil })
	wantErr(t, err, storage.ErrInvalid)
}

func testSuspended(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	one := put(t, bk, "k", "one")
	if err := bk.Configure(ctx, func(s *storage.Settings) error { s.Versioning = storage.Suspended; return nil }); err != nil {
		t.Fatal(err)
	}
	put(t, bk, "k", "null 1")
	put(t, bk, "k", "null 2")
	want(t, "null", get(t, bk, "k", storage.NullVersion), "null 2")
	want(t, "one", get(t, bk, "k", one.Version), "one")
	l, err := bk.Versions(ctx, storage.ListOptions{})
	if err != nil || len(l.Objects) != 2 {
		t.Fatalf("got %+v, %v", l.Objects, err)
	}
	d, err := bk.Delete(ctx, "k", storage.DeleteOptions{})
	if err != nil || !d.Marker || d.Version != storage.NullVersion {
		t.Errorf("got %+v, %v", d, err)
	}
	_, err = bk.Stat(ctx, "k", storage.ReadOptions{})
	wantErr(t, err, storage.ErrNoObject)
	put(t, bk, "k", "null 3")
	want(t, "over the marker", get(t, bk, "k", ""), "null 3")
	if l, err = bk.Versions(ctx, storage.ListOptions{}); err != nil || len(l.Objects) != 2 || l.Objects[0].Version != storage.NullVersion {
		t.Errorf("got %+v, %v", l.Objects, err)
	}
}

func testVersionPages(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	wanted := []string{}
	for i := range 7 {
		key := fmt.Sprintf("d%d/k", i/2) + strings.Repeat("x", i%3)
		var of []string
		for j := range i {
			of = append([]string{put(t, bk, key, fmt.Sprint(j)).Version}, of...)
		}
		if i%3 == 1 {
			d, err := bk.Delete(ctx, key, storage.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			of = append([]string{d.Version}, of...)
		}
		for j, v := range of {
			wanted = append(wanted, fmt.Sprintf("%s %s %t %t", key, v, j == 0, j == 0 && i%3 == 1))
		}
	}
	list := func(o storage.ListOptions) (storage.Listing, error) { return bk.Versions(ctx, o) }
	for _, limit := range []int{1, 2, 3, 100} {
		l, err := pages(list, storage.ListOptions{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range l.Objects {
			got = append(got, fmt.Sprintf("%s %s %t %t", o.Key, o.Version, o.Latest, o.Deleted))
		}
		want(t, fmt.Sprintf("versions in pages of %d", limit), sorted(got, false), sorted(wanted, false))
		if l, err = pages(list, storage.ListOptions{Limit: limit, Delimiter: "/"}); err != nil {
			t.Fatal(err)
		}
		want(t, "prefixes", l.Prefixes, []string{"d0/", "d1/", "d2/", "d3/"})
	}
}
