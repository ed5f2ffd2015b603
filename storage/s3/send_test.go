package s3

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/budget"
	"polder.dev/polder/storage/disk"
)

// TestDamage sees that damaged bytes never come with a status that says yes, or that the
// answer is cut where it was too late for a status.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(disk.Config{Dirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := serve(t, d, Config{})
	w.ok(w.main("PUT", "/data", ""))
	data := noise(4 << 20)
	w.ok(w.as("MAIN", "PUT", "/data/k", data, head{"Content-Encoding", "gzip"}))
	if got := w.ok(w.main("GET", "/data/k", "")); !bytes.Equal(got.body, data) {
		t.Fatal("not what was put")
	}
	file := fileWith(t, dir, data)
	flip(t, file, 10)
	r := w.want(w.main("GET", "/data/k", ""), 500, "InternalError")
	if r.Header.Get("Content-Encoding") != "" || r.Header.Get("Etag") != "" {
		t.Errorf("the error bears the object's head: %v", r.Header)
	}
	flip(t, file, 10)
	flip(t, file, int64(len(data)-1))
	w.want(w.main("GET", "/data/k", "", "Range", "bytes=0-9"), 206, "")
	res, err := w.http.Client().Do(w.signedGet("/data/k"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d bytes of a damaged object came without an error", len(got))
	}
}

// TestSmallBuffers sends while all large buffers are taken.
func TestSmallBuffers(t *testing.T) {
	w := bucketed(t)
	data := noise(300_000)
	w.ok(w.as("MAIN", "PUT", "/data/k", data[:200_000], nil))
	w.s3.memory = budget.New(storage.CopyBytes)
	if got := w.ok(w.main("GET", "/data/k", "")); !bytes.Equal(got.body, data[:200_000]) {
		t.Errorf("%d bytes, not those that were put", len(got.body))
	}
	if got := w.want(w.main("GET", "/data/k", "", "Range", "bytes=100-180000"), 206, ""); !bytes.Equal(got.body, data[100:180_001]) {
		t.Errorf("%d bytes of a range", len(got.body))
	}
}

// fileWith finds the file that begins with data.
func fileWith(t *testing.T, dir string, data []byte) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, 64)
		if _, err := io.ReadFull(f, b); err == nil && bytes.Equal(b, data[:64]) {
			found = path
		}
		return nil
	})
	if err != nil || found == "" {
		t.Fatalf("no file has the object: %v", err)
	}
	return found
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
