package storagetest

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
)

// testGuards proves that whoever deletes has the last word on what goes for good.
func testGuards(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	no := errors.New("it must stay")
	put(t, bk, "k", "one")
	refuse := func(v *storage.Info) error {
		if v.Key != "k" || v.Size != 3 {
			t.Errorf("judging %+v", v)
		}
		return no
	}
	_, err := bk.Delete(ctx, "k", storage.DeleteOptions{Guard: refuse})
	wantErr(t, err, no)
	if err := bk.Configure(ctx, func(s *storage.Settings) error { s.Versioning = storage.Versioned; return nil }); err != nil {
		t.Fatal(err)
	}
	two := put(t, bk, "k", "two")
	if d, err := bk.Delete(ctx, "k", storage.DeleteOptions{Guard: refuse}); err != nil || !d.Marker {
		t.Errorf("a marker takes nothing away: %+v, %v", d, err)
	}
	for _, v := range []string{two.Version, storage.NullVersion} {
		_, err = bk.Delete(ctx, "k", storage.DeleteOptions{Version: v, Guard: refuse})
		wantErr(t, err, no)
	}
	want(t, "what was guarded", get(t, bk, "k", two.Version), "two")
	allow := func(*storage.Info) error { return nil }
	if _, err := bk.Delete(ctx, "k", storage.DeleteOptions{Version: two.Version, Guard: allow}); err != nil {
		t.Error(err)
	}
}

// testLocks proves that a bucket with object lock keeps its versions.
func testLocks(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{Versioning: storage.Versioned})
	set := func(change func(*storage.Settings)) error {
		return bk.Configure(ctx, func(s *storage.Settings) error { change(s); return nil })
	}
	enable := func(s *storage.Settings) { s.Labels = map[string]string{lock.Label: (&lock.Config{}).Encode()} }
	if err := set(enable); err != nil {
		t.Fatal(err)
	}
	wantErr(t, set(func(s *storage.Settings) { s.Versioning = storage.Suspended }), storage.ErrInvalid)
	wantErr(t, set(func(s *storage.Settings) { delete(s.Labels, lock.Label) }), storage.ErrInvalid)
	locked, err := bk.Put(ctx, "k", strings.NewReader("locked"), storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until := lock.State{Mode: lock.Compliance, Until: b.now().Add(time.Hour)}
	if _, err := bk.Edit(ctx, "k", storage.EditOptions{Change: func(m *storage.Meta) error { until.Put(m); return nil }}); err != nil {
		t.Fatal(err)
	}
	_, err = bk.Delete(ctx, "k", storage.DeleteOptions{Version: locked.Version, Guard: lock.Guard(b.now(), true)})
	wantErr(t, err, lock.ErrLocked)
	_, err = bk.Delete(ctx, "k", storage.DeleteOptions{Version: locked.Version})
	wantErr(t, err, lock.ErrLocked)
}

// testOpaque proves that the ETag of a body which is not its client's text looks like no
// MD5, however long it is.
func testOpaque(t *testing.T, b *bench) {
	bk := b.bucket(t, storage.Settings{})
	for _, n := range []int{0, 10, 500_000} {
		info, err := bk.Put(ctx, "k", bytes.NewReader(random(1, n)), storage.PutOptions{Opaque: true})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(info.ETag, "-") {
			t.Errorf("%d bytes: the ETag is %s", n, info.ETag)
		}
		want(t, "an opaque body", get(t, bk, "k", ""), string(random(1, n)))
		info, err = bk.Put(ctx, "k", bytes.NewReader(random(1, n)), storage.PutOptions{
			Opaque: true, Text: func() string { return etag([]byte("text")) },
			Meta: storage.Meta{System: map[string]string{storage.SystemSeal: "so"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if info.ETag != etag([]byte("text")) && !strings.Contains(info.ETag, "-") {
			t.Errorf("%d bytes of another text: the ETag is %s", n, info.ETag)
		}
		want(t, "a body of another text", get(t, bk, "k", ""), string(random(1, n)))
	}
}
