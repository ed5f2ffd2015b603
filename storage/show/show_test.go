package show

import (
	"errors"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/cache"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
)

// world is a store that shows the bucket archive of another one.
func world(t *testing.T, change func(*Source), hot *cache.Cache) (*Store, storage.Bucket, storage.Bucket) {
	t.Helper()
	there := mem.New(0, time.Now)
	theirs, err := there.CreateBucket(t.Context(), "archive", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	src := Source{Bucket: "archive", Account: "a", Store: there, From: "s3 there", Jurisdiction: "eu/de"}
	if change != nil {
		change(&src)
	}
	s, err := New(t.Context(), Config{Below: mem.New(0, time.Now), Sources: []Source{src}, Cache: hot, CacheJurisdiction: "eu/nl"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := s.Bucket(t.Context(), "archive")
	if err != nil {
		t.Fatal(err)
	}
	return s, b, theirs
}

func put(t *testing.T, b storage.Bucket, key, body string, m storage.Meta) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(body), storage.PutOptions{Meta: m}); err != nil {
		t.Fatal(err)
	}
}

// TestBelieved: who writes to the other store cannot say who reads here.
func TestBelieved(t *testing.T) {
	for _, writable := range []bool{false, true} {
		_, b, theirs := world(t, func(s *Source) { s.Writable = writable }, nil)
		put(t, theirs, "k", "x", storage.Meta{User: map[string]string{"a": "b"}, System: map[string]string{iam.ObjectOwner: "them"}})
		i, err := b.Stat(t.Context(), "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := b.Open(t.Context(), "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := b.List(t.Context(), storage.ListOptions{})
		if err != nil || len(l.Objects) != 1 {
			t.Fatal(l, err)
		}
		for _, i := range []storage.Info{i, o.Info(), l.Objects[0]} {
			if got := i.Meta.System[iam.ObjectOwner]; i.Meta.User["a"] != "b" || (got == "them") != writable {
				t.Errorf("writable %v: owner %q in %+v", writable, got, i.Meta)
			}
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		info, err := b.Info(t.Context())
		if err != nil || info.Settings.Labels[iam.LabelOwner] != "a" || info.Settings.Labels[iam.LabelOwnership] != string(iam.BucketOwnerEnforced) {
			t.Errorf("%+v, %v", info, err)
		}
	}
}

// TestKeeps: what the other store would have to keep is refused, and leaves no trace.
func TestKeeps(t *testing.T) {
	_, b, _ := world(t, nil, nil)
	for name, change := range map[string]func(*storage.Settings){
		"versioning":  func(s *storage.Settings) { s.Versioning = storage.Versioned },
		"copies":      func(s *storage.Settings) { s.Copies = 2 },
		"durability":  func(s *storage.Settings) { s.Durability = storage.Written },
		"a tier":      func(s *storage.Settings) { s.Tiers.Lower = "big" },
		"a quota":     func(s *storage.Settings) { s.Labels[iam.LabelQuota] = "1" },
		"Swift's":     func(s *storage.Settings) { s.Labels[iam.LabelSwiftQuotaCount] = "1" },
		"rules":       func(s *storage.Settings) { s.Labels["s3.lifecycle"] = "x" },
		"a lock":      func(s *storage.Settings) { s.Labels["s3.lock"] = "x" },
		"other place": func(s *storage.Settings) { s.Labels[Label] = "elsewhere" },
	} {
		err := b.Configure(t.Context(), func(s *storage.Settings) error { change(s); return nil })
		if !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := b.Configure(t.Context(), func(s *storage.Settings) error { s.Residency.Home = "us"; return nil })
	if !errors.Is(err, storage.ErrForbiddenPlace) || !strings.Contains(err.Error(), "eu/de") {
		t.Errorf("a place: %v", err)
	}
	if err := b.Configure(t.Context(), func(s *storage.Settings) error { s.Labels[iam.LabelPolicy] = "p"; return nil }); err != nil {
		t.Fatal(err)
	}
	i, err := b.Info(t.Context())
	if err != nil || i.Settings.Labels[iam.LabelPolicy] != "p" || i.Settings.Versioning != storage.Unversioned || i.Settings.Residency.Bound() || len(i.Settings.Labels) != 4 {
		t.Errorf("%+v, %v", i.Settings, err)
	}
}

// TestCacheResidency: bytes of a bucket that may not lie where the cache is do not come
// into it, and those that are there leave it.
func TestCacheResidency(t *testing.T) {
	c, err := cache.New(cache.Config{BytesMax: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	_, b, theirs := world(t, nil, c)
	put(t, theirs, "k", strings.Repeat("x", 10_000), storage.Meta{})
	read := func() {
		t.Helper()
		for range 3 {
			o, err := b.Open(t.Context(), "k", storage.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 10_000)
			if _, err := o.ReadAt(p, 0); err != nil || string(p) != strings.Repeat("x", 10_000) {
				t.Fatal(err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	if c.Bytes() < 10_000 {
		t.Errorf("the cache holds %d bytes", c.Bytes())
	}
	bind := func(allowed ...string) {
		t.Helper()
		err := b.Configure(t.Context(), func(s *storage.Settings) error {
			s.Residency = storage.Residency{Home: "eu/de", Allowed: allowed}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	bind()
	read()
	if c.Bytes() > 0 {
		t.Errorf("the cache in eu/nl holds %d bytes that may lie in eu/de alone", c.Bytes())
	}
	bind("eu/nl")
	read()
	if c.Bytes() < 10_000 {
		t.Errorf("the cache holds %d bytes again", c.Bytes())
	}
}

// TestClash: a name is one bucket's.
func TestClash(t *testing.T) {
	for name, have := range map[string]string{"the name": "archive", "the account's container": "a/archive"} {
		below := mem.New(0, time.Now)
		if _, err := below.CreateBucket(t.Context(), have, storage.Settings{Labels: map[string]string{iam.LabelOwner: "a"}}); err != nil {
			t.Fatal(err)
		}
		_, err := New(t.Context(), Config{Below: below, Sources: []Source{{Bucket: "archive", Account: "a", Store: mem.New(0, time.Now), From: "s3 there"}}})
		if err == nil || !strings.Contains(err.Error(), "shown[0].bucket") || !strings.Contains(err.Error(), "archive already") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
