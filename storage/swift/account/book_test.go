package account

import (
	"errors"
	"testing"
	"time"

	"polder.dev/polder/storage/mem"
)

func TestBook(t *testing.T) {
	m := mem.New(0, time.Now)
	ctx := t.Context()
	b, err := Open(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := b.Find(ctx, "a"); ok || err != nil {
		t.Errorf("an account nobody spoke of: %v, %v", ok, err)
	}
	if err := b.Change(ctx, "a", time.Unix(7, 0), func(r *Record) error { r.Headers["X"] = "y"; return nil }); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	if err := b.Change(ctx, "a", time.Unix(8, 0), func(r *Record) error { r.Headers["X"] = "z"; return no }); !errors.Is(err, no) {
		t.Errorf("a change that was refused: %v", err)
	}
	again, err := Open(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Book{b, again} {
		if r, ok, err := b.Find(ctx, "a"); !ok || err != nil || r.Headers["X"] != "y" || !r.Created.Equal(time.Unix(7, 0)) {
			t.Errorf("found %+v, %v, %v", r, ok, err)
		}
	}
}
