package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/mem"
)

// field is a store with a clock, and a runner over it.
type field struct {
	t      *testing.T
	mu     sync.Mutex
	time   time.Time
	store  storage.Store
	runner *Runner
}

func newField(t *testing.T, o Options) *field {
	f := &field{t: t, time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	f.store = mem.New(0, f.now)
	t.Cleanup(func() { _ = f.store.Close() })
	o.Store, o.Now = f.store, f.now
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.runner = r
	return f
}

func (f *field) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

func (f *field) days(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.AddDate(0, 0, n)
}

func (f *field) bucket(name, rules string, v storage.Versioning) storage.Bucket {
	f.t.Helper()
	c := parse(f.t, rules)
	if err := c.Check(class, func() string { return "id" }); err != nil {
		f.t.Fatal(err)
	}
	b, err := f.store.CreateBucket(f.t.Context(), name, storage.Settings{Versioning: v, Labels: map[string]string{Label: c.Encode()}})
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *field) put(b storage.Bucket, key, body string, m storage.Meta) storage.Info {
	f.t.Helper()
	info, err := b.Put(f.t.Context(), key, strings.NewReader(body), storage.PutOptions{Meta: m})
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

func (f *field) pass() {
	f.t.Helper()
	if err := f.runner.Pass(f.t.Context(), f.now()); err != nil {
		f.t.Fatal(err)
	}
}

// want compares what a bucket holds: keys, with ! behind those of delete markers.
func (f *field) want(b storage.Bucket, keys ...string) {
	f.t.Helper()
	l, err := b.Versions(f.t.Context(), storage.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	got := []string{}
	for _, v := range l.Objects {
		k := v.Key
		if v.Deleted {
			k += "!"
		}
		got = append(got, k)
	}
	if d := cmp.Diff(append([]string{}, keys...), got); d != "" {
		f.t.Error(d)
	}
}

func TestExpire(t *testing.T) {
	f := newField(t, Options{})
	b := f.bucket("b", rule("<Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>2</Days></Expiration>")+
		rule("<ID>2</ID><Filter><And><Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>3</ObjectSizeGreaterThan></And></Filter><Expiration><Days>1</Days></Expiration>")+
		"<Rule><ID>3</ID><Status>Disabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule>", storage.Unversioned)
	tagged := storage.Meta{Tags: map[string]string{"k": "v"}}
	f.put(b, "big", "four", tagged)
	f.put(b, "keep", "four", storage.Meta{})
	f.put(b, "small", "3", tagged)
	f.put(b, "tmp/a", "x", storage.Meta{})
	f.days(1)
	f.put(b, "tmp/new", "x", storage.Meta{})
	f.pass()
	f.want(b, "big", "keep", "small", "tmp/a", "tmp/new") // days end at midnight
	f.days(1)
	f.pass()
	f.want(b, "keep", "small", "tmp/a", "tmp/new")
	f.days(1)
	f.pass()
	f.want(b, "keep", "small", "tmp/new")
	f.days(1)
	f.pass()
	f.want(b, "keep", "small")
	if c := f.runner.Counts(); c.Expired != 3 || c.Rounds != 4 || c.Failed != 0 {
		t.Errorf("counts are %+v", c)
	}
}

func TestVersions(t *testing.T) {
	f := newField(t, Options{})
	b := f.bucket("b", rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>")+
		rule("<ID>2</ID><Filter><Prefix>gone</Prefix></Filter><Expiration><Days>1</Days></Expiration>")+
		rule("<ID>3</ID><Filter><Prefix>marked</Prefix></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), storage.Versioned)
	for i := range 4 {
		f.put(b, "k", fmt.Sprint(i), storage.Meta{})
	}
	f.put(b, "gone", "x", storage.Meta{})
	if _, err := b.Delete(t.Context(), "marked", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.put(b, "marked too", "x", storage.Meta{})
	if _, err := b.Delete(t.Context(), "marked too", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.want(b, "gone", "k", "k", "k", "k", "marked too!", "marked too")
	f.days(2)
	f.pass()
	f.want(b, "gone!", "gone", "k", "k", "k", "k", "marked too!", "marked too")
	f.days(2)
	f.pass()
	f.want(b, "gone!", "gone", "k", "k", "marked too!", "marked too") // one older version of each stays
	if c := f.runner.Counts(); c.Expired != 1 || c.Removed != 3 {
		t.Errorf("counts are %+v", c)
	}
}

// TestMarkers removes the marker that an expiration put, once it hides nothing.
func TestMarkers(t *testing.T) {
	f := newField(t, Options{})
	b := f.bucket("b", rule("<Filter/><Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), storage.Versioned)
	f.put(b, "k", "x", storage.Meta{})
	f.days(2)
	f.pass()
	f.want(b, "k!", "k")
	f.days(2)
	f.pass()
	f.want(b, "k!")
	f.pass()
	f.want(b)
}

func TestLocked(t *testing.T) {
	f := newField(t, Options{})
	b := f.bucket("b", rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), storage.Versioned)
	m := storage.Meta{}
	lock.State{Mode: lock.Governance, Until: f.now().AddDate(0, 0, 10)}.Put(&m)
	f.put(b, "k", "old", m)
	f.put(b, "k", "new", storage.Meta{})
	f.days(5)
	f.pass()
	f.want(b, "k", "k")
	if c := f.runner.Counts(); c.Locked != 1 || c.Removed != 0 {
		t.Errorf("counts are %+v", c)
	}
	f.days(6)
	f.pass()
	f.want(b, "k")
}

func TestUploads(t *testing.T) {
	f := newField(t, Options{})
	b := f.bucket("b", rule("<Filter><Prefix>a</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), storage.Unversioned)
	for _, k := range []string{"a", "a", "b"} {
		if _, err := b.Begin(t.Context(), k, storage.Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	f.pass()
	f.days(2)
	f.pass()
	l, err := b.Uploads(t.Context(), storage.ListOptions{})
	if err != nil || len(l.Uploads) != 1 || l.Uploads[0].Key != "b" {
		t.Errorf("left are %+v, %v", l.Uploads, err)
	}
	if c := f.runner.Counts(); c.Aborted != 2 {
		t.Errorf("counts are %+v", c)
	}
}

// TestBounded walks in passes of few versions, and does the same as one of many.
func TestBounded(t *testing.T) {
	for _, most := range []int{1, 2, 3, 7, 1000} {
		f := newField(t, Options{PassMax: most})
		rules := rule("<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>") +
			rule("<ID>2</ID><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>")
		one, two := f.bucket("one", rules, storage.Versioned), f.bucket("two", rules, storage.Versioned)
		for _, b := range []storage.Bucket{one, two} {
			for i := range 15 {
				f.put(b, fmt.Sprintf("k%d", i%3), "x", storage.Meta{})
			}
			if _, err := b.Delete(t.Context(), "marker", storage.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		f.days(3)
		for range 50 {
			if f.runner.Counts().Rounds == 2 {
				break
			}
			f.pass()
		}
		want := []string{"k0", "k0", "k0", "k1", "k1", "k1", "k2", "k2", "k2"}
		f.want(one, want...)
		f.want(two, want...)
		if f.runner.Counts().Rounds < 1 {
			t.Errorf("passes of %d came to no end", most)
		}
	}
}

func TestMove(t *testing.T) {
	moved := map[string]string{}
	fails := errors.New("the tier is away")
	f := newField(t, Options{Move: func(_ context.Context, _ storage.Bucket, v storage.Info, class string) (bool, error) {
		if v.Key == "bad" {
			return false, fails
		}
		if moved[v.Key] == class {
			return false, nil
		}
		moved[v.Key] = class
		return true, nil
	}})
	b := f.bucket("b", rule("<Filter/><Transition><Days>1</Days><StorageClass>STANDARD_IA</StorageClass></Transition><Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition>"), storage.Unversioned)
	f.put(b, "bad", "x", storage.Meta{})
	f.put(b, "k", "x", storage.Meta{})
	f.days(2)
	f.pass()
	f.pass()
	if d := cmp.Diff(map[string]string{"k": "STANDARD_IA"}, moved); d != "" {
		t.Error(d)
	}
	f.days(2)
	f.pass()
	if d := cmp.Diff(map[string]string{"k": "GLACIER"}, moved); d != "" {
		t.Error(d)
	}
	if c := f.runner.Counts(); c.Moved != 2 || c.Failed != 3 {
		t.Errorf("counts are %+v", c)
	}
}

func TestRun(t *testing.T) {
	f := newField(t, Options{Interval: time.Millisecond, Day: time.Hour})
	b := f.bucket("b", rule("<Filter/><Expiration><Days>1</Days></Expiration>"), storage.Unversioned)
	f.put(b, "k", "x", storage.Meta{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- f.runner.Run(ctx) }()
	f.days(1) // of 24 of these days
	for f.runner.Counts().Expired == 0 {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	f.want(b)
}
