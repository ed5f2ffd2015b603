package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var date = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// two returns entries for files in a new directory, made at another time and with
// another mode in each call.
func two(t *testing.T, at time.Time, mode os.FileMode) []entry {
	t.Helper()
	dir := t.TempDir()
	var entries []entry
	for _, name := range []string{"share/polder/LICENSE", "bin/polder"} {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: name, from: file, program: name == "bin/polder"})
	}
	return entries
}

func packed(t *testing.T, entries []entry) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "polder.tar.gz")
	if err := pack(file, "polder-1", date, entries); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPackSameBytes(t *testing.T) {
	one := packed(t, two(t, time.Now(), 0o600))
	other := two(t, time.Unix(1, 0), 0o755)
	slices.Reverse(other)
	if !bytes.Equal(one, packed(t, other)) {
		t.Error("the tarball depends on more than names and content")
	}
}

func TestPackEntries(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(packed(t, two(t, time.Now(), 0o600))))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("gzip says %v and %q; it should say nothing", z.ModTime, z.Name)
	}
	type header struct {
		Name     string
		Mode     int64
		Uid, Gid int
		Content  string
		Regular  bool
	}
	var got []header
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(date) {
			t.Errorf("%s is of %v, not of the commit's time", h.Name, h.ModTime)
		}
		got = append(got, header{h.Name, h.Mode, h.Uid, h.Gid, string(b), h.Typeflag == tar.TypeReg})
	}
	want := []header{
		{"polder-1/bin/polder", 0o755, 0, 0, "content of bin/polder", true},
		{"polder-1/share/polder/LICENSE", 0o644, 0, 0, "content of share/polder/LICENSE", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackLeavesNoHalf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "polder.tar.gz")
	if err := pack(file, "polder-1", date, []entry{{name: "bin/polder", from: file + ".missing"}}); err == nil {
		t.Fatal("a missing program was packed")
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a tarball is left: %v", err)
	}
}
