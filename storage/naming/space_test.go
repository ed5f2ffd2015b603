package naming

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
)

func space(t *testing.T) (*Space, storage.Store) {
	t.Helper()
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	s, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

func TestSpace(t *testing.T) {
	s, store := space(t)
	ctx := context.Background()
	must := func(b storage.Bucket, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b.Name()
	}
	for _, c := range []struct {
		made string
		want string
	}{
		{must(s.CreateBucket(ctx, "a", "data", storage.Settings{})), "data"},
		{must(s.CreateContainer(ctx, "b", "data", storage.Settings{})), "b/data"},
		{must(s.CreateContainer(ctx, "b", "free", storage.Settings{})), "free"},
		{must(s.CreateContainer(ctx, "b", "Not For S3", storage.Settings{})), "b/Not For S3"},
		{must(s.CreateContainer(ctx, "b", ".hidden", storage.Settings{})), "b/.hidden"},
	} {
		if c.made != c.want {
			t.Errorf("made %s, want %s", c.made, c.want)
		}
	}
	_, err := s.CreateBucket(ctx, "c", "data", storage.Settings{})
	if !errors.Is(err, storage.ErrBucketExists) || !errors.Is(err, ErrTaken) {
		t.Errorf("a name that another has: %v", err)
	}
	_, err = s.CreateBucket(ctx, "b", "data", storage.Settings{})
	if !errors.Is(err, storage.ErrBucketExists) || errors.Is(err, ErrTaken) {
		t.Errorf("a name that one has: %v", err)
	}
	again, err := Open(ctx, store)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Space{s, again} {
		for _, c := range []struct{ account, name, want string }{
			{"a", "data", "data"}, {"b", "data", "b/data"}, {"c", "data", "data"}, {"", "data", "data"}, {"a", "free", "free"}, {"b", "Not For S3", "b/Not For S3"},
		} {
			if got := must(s.Resolve(ctx, c.account, c.name)); got != c.want {
				t.Errorf("%s of %q is %s, want %s", c.name, c.account, got, c.want)
			}
		}
		for _, c := range []struct{ account, name string }{{"c", "data"}, {"a", "free"}, {"", "data"}, {"a", "b/data"}} {
			if _, err := s.Container(ctx, c.account, c.name); !errors.Is(err, storage.ErrNoBucket) {
				t.Errorf("container %s of %q: %v", c.name, c.account, err)
			}
		}
		if d := cmp.Diff([]string{"b/.hidden", "b/Not For S3", "b/data", "free"}, s.Owned("b")); d != "" {
			t.Error(d)
		}
	}
}

func TestSpaceDelete(t *testing.T) {
	s, _ := space(t)
	ctx := t.Context()
	b, err := s.CreateContainer(ctx, "a", "data", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(ctx, "k", strings.NewReader("v"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, b); !errors.Is(err, storage.ErrNotEmpty) {
		t.Errorf("a bucket with an object: %v", err)
	}
	if _, err := b.Delete(ctx, "k", storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, b); err != nil {
		t.Fatal(err)
	}
	if got := s.Accounts(); len(got) != 0 {
		t.Errorf("accounts without buckets: %v", got)
	}
	if _, err := s.CreateBucket(ctx, "c", "data", storage.Settings{}); err != nil {
		t.Errorf("the name is free again: %v", err)
	}
}

func TestPrivate(t *testing.T) {
	s, store := space(t)
	if _, err := store.CreateBucket(t.Context(), ".accounts", storage.Settings{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(t.Context(), "a", ".accounts"); !errors.Is(err, storage.ErrNoBucket) {
		t.Errorf("a private bucket: %v", err)
	}
	if _, err := s.CreateBucket(t.Context(), "a", ".accounts", storage.Settings{}); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a private name: %v", err)
	}
}
