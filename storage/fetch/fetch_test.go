package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/transfer"
)

// serve is an S3 server with a bucket, and a client of it.
func serve(t *testing.T, set storage.Settings) (storage.Bucket, *transfer.Client) {
	t.Helper()
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	space, err := naming.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	users, err := iam.NewUsers([]iam.User{{Account: "a", Name: "job", AccessKey: "AK", SecretKey: "SK", Roles: []string{"writer"}}})
	if err != nil {
		t.Fatal(err)
	}
	door, err := s3.New(s3.Config{Space: space, Directory: users})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(door)
	t.Cleanup(h.Close)
	b, err := space.CreateBucket(t.Context(), "a", "data", set)
	if err != nil {
		t.Fatal(err)
	}
	c, err := transfer.New(transfer.Config{Endpoint: h.URL, AccessKey: "AK", SecretKey: "SK", StateDir: t.TempDir(), Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}

func put(t *testing.T, b storage.Bucket, key, data string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(data), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// files reads a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDataOfABucket(t *testing.T) {
	b, c := serve(t, storage.Settings{})
	for k, v := range map[string]string{"in/a": "1", "in/d/b": "22", "in/": "", "out": "x", ".polder/m": "m"} {
		put(t, b, k, v)
	}
	dir, all := t.TempDir(), t.TempDir()
	var done, of int64
	err := Data(t.Context(), c, []dataset.Source{{Dir: dir, Bucket: "data", Prefix: "in/"}, {Dir: all, Bucket: "data"}}, func(d, a int64) { done, of = d, a })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a": "1", "d/b": "22"}, files(t, dir)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"in/a": "1", "in/d/b": "22", "out": "x"}, files(t, all)); d != "" {
		t.Error(d)
	}
	if done != 7 || of != 7 {
		t.Errorf("told of %d of %d bytes", done, of)
	}
}

func TestDataThatCannotBeFiles(t *testing.T) {
	b, c := serve(t, storage.Settings{})
	put(t, b, "in/ok", "1")
	put(t, b, "in/../escape", "2")
	dir := filepath.Join(t.TempDir(), "below")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := Data(t.Context(), c, []dataset.Source{{Dir: dir, Bucket: "data", Prefix: "in/"}}, func(int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "escape") {
		t.Errorf("a key that leads outside: %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "escape")); err == nil {
		t.Error("it was written outside of the directory")
	}
	if err := Data(t.Context(), c, []dataset.Source{{Dir: dir, Bucket: "nowhere"}}, func(int64, int64) {}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

func TestDataOfADataset(t *testing.T) {
	for name, set := range map[string]storage.Settings{"pinned": {Versioning: storage.Versioned}, "not pinned": {}} {
		t.Run(name, func(t *testing.T) {
			b, c := serve(t, set)
			put(t, b, "in/a", "old")
			put(t, b, "in/b", "same")
			f, err := dataset.Freeze(t.Context(), b, "data", "in/")
			if err != nil {
				t.Fatal(err)
			}
			put(t, b, "in/c", "later")
			s := dataset.Source{Bucket: "data", Prefix: "in/", Manifest: f.Key, Digest: f.Digest}
			copied := func() (map[string]string, error) {
				s.Dir = t.TempDir()
				err := Data(t.Context(), c, []dataset.Source{s}, func(int64, int64) {})
				return files(t, s.Dir), err
			}
			want := map[string]string{"a": "old", "b": "same"}
			if got, err := copied(); err != nil || !cmp.Equal(want, got) {
				t.Errorf("%v, %v", got, err)
			}
			put(t, b, "in/a", "new")
			got, err := copied()
			if f.Pinned && (err != nil || !cmp.Equal(want, got)) {
				t.Errorf("after a change: %v, %v", got, err)
			}
			if !f.Pinned && (err == nil || !strings.Contains(err.Error(), "in/a")) {
				t.Errorf("a changed object of a set that pins no versions: %v", err)
			}
			s.Digest = "sha256:" + strings.Repeat("0", 64)
			if _, err := copied(); err == nil || !strings.Contains(err.Error(), "digest") {
				t.Errorf("another digest: %v", err)
			}
		})
	}
}

// save writes a checkpoint as a program has to.
func save(t *testing.T, dir, name, data string) {
	t.Helper()
	sum := sha256.Sum256([]byte(data))
	for n, v := range map[string]string{name: data, name + sumSuffix: hex.EncodeToString(sum[:]) + "  " + name} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func keys(t *testing.T, b storage.Bucket) []string {
	t.Helper()
	l, err := b.List(t.Context(), storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range l.Objects {
		out = append(out, l.Objects[i].Key)
	}
	return out
}

func TestCheckpoints(t *testing.T) {
	b, c := serve(t, storage.Settings{})
	dir := t.TempDir()
	to := transfer.Address{Bucket: "data", Key: "runs/1/"}
	s := &Saver{Log: slog.New(slog.DiscardHandler), Client: c, Dir: dir, To: to}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Save(t.Context()))
	save(t, dir, "epoch-00001.pt", "one")
	must(os.WriteFile(filepath.Join(dir, "epoch-00002.pt"), []byte("half"), 0o644)) // not whole yet
	must(os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o644))
	must(s.Save(t.Context()))
	want := []string{"runs/1/epoch-00001.pt", "runs/1/epoch-00001.pt.sha256"}
	if got := keys(t, b); !slices.Equal(want, got) {
		t.Errorf("in the store: %v", got)
	}
	for _, n := range []string{"2", "3", "4", "5"} {
		save(t, dir, "epoch-0000"+n+".pt", "data "+n)
	}
	must(s.Save(t.Context()))
	if got := keys(t, b); len(got) != 2*keep || got[0] != "runs/1/epoch-00003.pt" {
		t.Errorf("of five the newest stay: %v", got)
	}
	again := &Saver{Log: s.Log, Client: c, Dir: dir, To: to} // after a restart
	must(again.look(t.Context()))
	if len(again.saved) != keep {
		t.Errorf("a new one knows %v", again.saved)
	}

	empty := t.TempDir()
	name, err := Restore(t.Context(), s.Log, c, to, empty)
	if err != nil || name != "epoch-00005.pt" || files(t, empty)[name] != "data 5" {
		t.Errorf("restored %q, %v: %v", name, err, files(t, empty))
	}
	if got, err := wholeIn(empty); err != nil || !slices.Equal(got, []string{name}) {
		t.Errorf("whole: %v, %v", got, err)
	}
	if name, err := Restore(t.Context(), s.Log, c, to, empty); err != nil || name != "" {
		t.Errorf("a directory that has one: %q, %v", name, err)
	}
	put(t, b, "runs/1/epoch-00005.pt", "rotten")
	bad := t.TempDir()
	if name, err := Restore(t.Context(), s.Log, c, to, bad); err != nil || name != "epoch-00004.pt" || len(files(t, bad)) != 2 {
		t.Errorf("past a damaged one: %q, %v: %v", name, err, files(t, bad))
	}
}

func TestCheckpointThatIsNotWhatItsHashSays(t *testing.T) {
	b, c := serve(t, storage.Settings{})
	dir := t.TempDir()
	save(t, dir, "epoch-00001.pt", "one")
	if err := os.WriteFile(filepath.Join(dir, "epoch-00001.pt"), []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &Saver{Log: slog.New(slog.DiscardHandler), Client: c, Dir: dir, To: transfer.Address{Bucket: "data", Key: "x/"}}
	if err := s.Save(t.Context()); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("saved: %v", err)
	}
	if got := keys(t, b); slices.Contains(got, "x/epoch-00001.pt.sha256") {
		t.Errorf("it passes for whole: %v", got)
	}
}

func TestRunSavesAtTheEnd(t *testing.T) {
	b, c := serve(t, storage.Settings{})
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	s := &Saver{Log: slog.New(slog.DiscardHandler), Client: c, Dir: dir, To: transfer.Address{Bucket: "data", Key: "x/"}}
	if err := s.Save(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, time.Hour, 10*time.Second) }()
	save(t, dir, "epoch-00001.pt", "one")
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := keys(t, b); len(got) != 2 {
		t.Errorf("in the store: %v", got)
	}
}

func TestTeller(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics", "metrics.jsonl")
	tell := Teller(path, func() time.Time { return time.Unix(0, 0) })
	tell(1, 3)
	tell(3, 3)
	b, err := os.ReadFile(path)
	want := `{"bytes":1,"bytes_all":3,"event":"data","time":"1970-01-01T00:00:00Z"}` + "\n" + `{"bytes":3,"bytes_all":3,"event":"data","time":"1970-01-01T00:00:00Z"}` + "\n"
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
