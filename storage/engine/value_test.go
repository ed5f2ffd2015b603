package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
)

func FuzzValue(f *testing.F) {
	for _, v := range []version{
		{rev: 1, size: 5, modified: 1e18, etag: "00112233445566778899aabbccddeeff"},
		{rev: 1 << 60, null: true, marker: true, etag: "x-3", upload: 7, parts: 3},
		{meta: storage.Meta{ContentType: "a/b", User: map[string]string{"k": "v", "": ""}, Expires: time.Unix(5, 6).UTC()}},
		{rev: 9, size: 5, place: "cold/1", sum: "00ff", state: stateAway, meta: storage.Meta{User: map[string]string{"a": "b"}}},
		{rev: 9, size: 5, upload: 8, parts: 2, state: stateWhole},
	} {
		f.Add(v.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(v.encode())
		if d := cmp.Diff(v, again, cmp.AllowUnexported(version{})); err != nil || d != "" {
			t.Errorf("%v: %s", err, d)
		}
	})
}

func TestParts(t *testing.T) {
	const number = 5
	id := string(currentKey(number, "a/b")[1:])
	for _, k := range [][]byte{
		currentKey(number, "a/b"), olderKey(number, "a/b", 9), uploadKey(number, "a/b", 9), partKey(number, "a/b", 9, 10_000), expiryKey(1, number, 9, "a/b"),
		looseKey(number, 9, 8, "a/b"),
	} {
		got, err := PartOf(k)
		if err != nil || got != id {
			t.Errorf("%q is of part %q, not %q: %v", k, got, id, err)
		}
		in := IsNote(k)
		for _, r := range RangesOf(id) {
			in = in || string(k) >= string(r[0]) && string(k) < string(r[1])
		}
		if !in {
			t.Errorf("%q is in none of the ranges of its part", k)
		}
	}
	for _, r := range RangesOf(id) {
		for _, other := range []string{"a/", "a/b0", "a/b\x01", "a"} {
			for _, k := range [][]byte{currentKey(number, other), olderKey(number, other, 9), partKey(number, other, 9, 1)} {
				if string(k) >= string(r[0]) && string(k) < string(r[1]) {
					t.Errorf("%q is in a range of %q", k, id)
				}
			}
		}
	}
	for _, bad := range [][]byte{nil, {'x'}, {'c'}, []byte("v1234567"), []byte("p12345678k")} {
		if _, err := PartOf(bad); err == nil {
			t.Errorf("%q is of a part", bad)
		}
	}
}
