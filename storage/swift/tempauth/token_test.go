package tempauth

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
)

func TestToken(t *testing.T) {
	now := time.Unix(1000, 0)
	s, err := New(make([]byte, 32), time.Hour, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	who := iam.Identity{Account: "a", User: "u", DisplayName: "A", Admin: true, Groups: []string{"g"}}
	token, _ := s.Issue(who)
	got, err := s.Read(token)
	if d := cmp.Diff(who, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for i := len(Prefix); i < len(token); i++ {
		b := []byte(token)
		b[i] ^= 1
		if _, err := s.Read(string(b)); !errors.Is(err, iam.ErrNoIdentity) {
			t.Fatalf("a token that was changed at %d is taken: %v", i, err)
		}
	}
	other, _ := New(bytes.Repeat([]byte{1}, 32), time.Hour, time.Now)
	if _, err := other.Read(token); !errors.Is(err, iam.ErrNoIdentity) {
		t.Errorf("another's key: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := s.Read(token); !errors.Is(err, iam.ErrNoIdentity) {
		t.Errorf("after its time: %v", err)
	}
}

func TestKeyStays(t *testing.T) {
	m := mem.New(0, time.Now)
	a, err := Key(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Key(t.Context(), m)
	if err != nil || !bytes.Equal(a, b) || len(a) != keyBytes {
		t.Errorf("the key changed, or is short (%d bytes): %v", len(b), err)
	}
}

func FuzzRead(f *testing.F) {
	s, err := New(make([]byte, 32), time.Hour, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(Prefix)
	f.Add(Prefix + "AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.Read(token); err == nil {
			t.Errorf("%q is taken", token)
		}
	})
}
