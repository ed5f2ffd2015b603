package transfer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func age(t *testing.T, path string, seconds int64) {
	t.Helper()
	tm := time.Unix(1_600_000_000+seconds, 0)
	if err := os.Chtimes(path, tm, tm); err != nil {
		t.Fatal(err)
	}
}

func (w *world) sync(from, to Address, content bool) []string {
	w.t.Helper()
	o := w.all(w.c.Syncing(w.t.Context(), from, to, content, false))
	slices.Sort(o.done)
	for i := range o.done { // without the directories of this test
		action, where, _ := strings.Cut(o.done[i], " ")
		o.done[i] = action + " " + filepath.Base(where)
	}
	return o.done
}

func TestSyncMovesWhatDiffers(t *testing.T) {
	w := newWorld(t)
	dir := write(t, t.TempDir(), map[string]string{"a": "1", "b/c": "22", "b.x": "333", "z": ""})
	if d := cmp.Diff([]string{"upload a", "upload b.x", "upload c", "upload z"}, w.sync(local(dir), at("p"), false)); d != "" {
		t.Errorf("the first time (-want +got):\n%s", d)
	}
	if got := w.sync(local(dir), at("p/"), false); len(got) > 0 {
		t.Errorf("the second time %q", got)
	}
	if got := w.sync(local(dir), at("p/"), true); len(got) > 0 {
		t.Errorf("by content %q", got)
	}
	back := t.TempDir()
	if got := w.sync(at("p"), local(back), false); len(got) != 4 {
		t.Errorf("back: %q", got)
	}
	for _, content := range []bool{false, true} {
		if got := w.sync(at("p"), local(back), content); len(got) > 0 {
			t.Errorf("back, the second time, by content %v: %q", content, got)
		}
	}
	// One has another size, one another time, one other bytes of the same size and time.
	write(t, dir, map[string]string{"a": "111", "b/c": "23"})
	age(t, filepath.Join(dir, "z"), 1)
	was, err := os.Stat(filepath.Join(back, "b/c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "b/c"), was.ModTime(), was.ModTime()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"upload a", "upload z"}, w.sync(local(dir), at("p"), false)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"upload c"}, w.sync(local(dir), at("p"), true)); d != "" {
		t.Errorf("by content (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"copy a", "copy b.x", "copy c", "copy z"}, w.sync(at("p"), at("q"), false)); d != "" {
		t.Errorf("inside the store (-want +got):\n%s", d)
	}
	if got := w.sync(at("p"), at("q"), false); len(got) > 0 {
		t.Errorf("inside the store, the second time: %q", got)
	}
}

// TestObjectsOfOthersHaveNoTime: what no file's time is known of is compared with when
// it was stored.
func TestObjectsOfOthersHaveNoTime(t *testing.T) {
	w := newWorld(t)
	w.put("a", "1") // a stream, without a time
	dir := write(t, t.TempDir(), map[string]string{"a": "1"})
	age(t, filepath.Join(dir, "a"), 0)
	if got := w.sync(local(dir), at(""), false); len(got) > 0 {
		t.Errorf("an older file is sent: %q", got)
	}
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "a"), future, future); err != nil {
		t.Fatal(err)
	}
	if got := w.sync(at(""), local(dir), false); len(got) != 1 {
		t.Errorf("a file of another time stays: %q", got)
	}
	if got := w.sync(at(""), local(dir), false); len(got) > 0 {
		t.Errorf("the second time %q", got)
	}
}

func TestDeleteRemovesWhatTheSourceDoesNotHave(t *testing.T) {
	w := newWorld(t)
	dir := write(t, t.TempDir(), map[string]string{"a": "1", "d/e": "2"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"p/a", "p/extra", "p/d/extra", "p/marker/", "p/link", "pq", "other"} {
		text := "xxxxxx"
		if strings.HasSuffix(k, "/") {
			text = ""
		}
		w.put(k, text)
	}
	w.sync(local(dir), at("p"), false)
	o := w.all(w.c.Extra(t.Context(), local(dir), at("p"), false))
	slices.Sort(o.done)
	if d := cmp.Diff([]string{"remove s3://data/p/d/extra", "remove s3://data/p/extra"}, o.done); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"other", "p/a", "p/d/e", "p/link", "p/marker/", "pq"}, w.keys()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	back := write(t, t.TempDir(), map[string]string{"extra": "", "gone/deep/x": "", "gone/y": "", "a": "other", ".z" + partialEnd: ""})
	w.all(w.c.Removing(t.Context(), at("p/marker/"), false, false))
	w.sync(at("p"), local(back), false)
	w.all(w.c.Extra(t.Context(), at("p"), local(back), false))
	if _, err := os.Stat(filepath.Join(back, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory is left: %v", err)
	}
	holds(t, back, map[string]string{"a": "1", "d/e": "2", "link": "xxxxxx", ".z" + partialEnd: ""})
}

// TestDeleteDoesNothingWithoutASource: what cannot be read, or is empty, has not lost
// its files.
func TestDeleteDoesNothingWithoutASource(t *testing.T) {
	w := newWorld(t)
	w.put("p/a", "1")
	back := write(t, t.TempDir(), map[string]string{"x": ""})
	for name, tc := range map[string]struct{ from, to Address }{
		"an empty directory": {local(t.TempDir()), at("p")}, "no directory": {local("/nowhere"), at("p")},
		"a prefix of nothing": {at("none"), local(back)}, "no bucket": {Address{Bucket: "nobucket"}, local(back)},
	} {
		if p, err := w.c.Extra(t.Context(), tc.from, tc.to, false); err == nil {
			p.Close()
			t.Errorf("%s: there is a plan", name)
		}
	}
	// The listing breaks in the middle.
	n := 0
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if n++; n > 1 && r.Method == http.MethodGet {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
	p, err := w.c.Extra(t.Context(), at("p"), local(back), false)
	if err == nil {
		o := run(t.Context(), w.c, p, false)
		err = errors.Join(o.failed...)
	}
	if err == nil {
		t.Error("a listing that broke is no error")
	}
	holds(t, back, map[string]string{"x": ""})
}

func TestDryRunDoesNothing(t *testing.T) {
	w := newWorld(t)
	w.put("p/a", "1")
	dir := write(t, t.TempDir(), map[string]string{"b": "1"})
	for name, tc := range map[string]struct {
		from, to Address
		want     []string
	}{
		"up":      {local(dir), at("p"), []string{"upload s3://data/p/b", "remove s3://data/p/a"}},
		"down":    {at("p"), local(dir), []string{"download " + dir + "/a", "remove " + dir + "/b"}},
		"nowhere": {at("p"), local(dir, "new"), []string{"download " + dir + "/new/a"}},
	} {
		var got []string
		for _, plan := range []func() (*Plan, error){
			func() (*Plan, error) { return w.c.Syncing(t.Context(), tc.from, tc.to, false, true) },
			func() (*Plan, error) { return w.c.Extra(t.Context(), tc.from, tc.to, true) },
		} {
			p, err := plan()
			if err != nil {
				t.Fatal(err)
			}
			o := run(t.Context(), w.c, p, true)
			if o.err != nil || len(o.failed) > 0 {
				t.Errorf("%s: %v %v", name, o.err, o.failed)
			}
			got = append(got, o.done...)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	holds(t, dir, map[string]string{"b": "1"})
	if got := w.keys(); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// TestHostileKeys: nothing is written outside the directory, each refusal has a name,
// and what is harmless arrives.
func TestHostileKeys(t *testing.T) {
	w := newWorld(t)
	bad := []string{"p/../../escape", "p//absolute", "p/a//b", "p/x/../../../y", "p/./z", "p/file/below", "p/data/", "p/.f.polder-part", "p/link/through", "p/dir"}
	for _, k := range append(bad, "p/file", "p/good", "p/sub/good", "p/marker/", "p/deep/marker/") {
		text := k
		if strings.HasSuffix(k, "marker/") {
			text = ""
		}
		w.put(k, text)
	}
	parent := t.TempDir()
	dir := write(t, filepath.Join(parent, "a/b"), map[string]string{"dir/x": "x"})
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	p, err := w.c.Copying(t.Context(), at("p"), local(dir), true)
	if err != nil {
		t.Fatal(err)
	}
	o := run(t.Context(), w.c, p, false)
	said := errors.Join(o.failed...)
	if len(o.failed) != len(bad) {
		t.Errorf("%d were refused, want %d: %v", len(o.failed), len(bad), said)
	}
	for _, k := range bad {
		if !strings.Contains(fmt.Sprint(said), strings.TrimPrefix(k, "p/")) {
			t.Errorf("%s is not named in\n%v", k, said)
		}
	}
	holds(t, outside, nil)
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	holds(t, parent, map[string]string{"a/b/file": "p/file", "a/b/good": "p/good", "a/b/sub/good": "p/sub/good", "a/b/dir/x": "x"})
	for _, d := range []string{"marker", "deep/marker"} {
		if info, err := os.Stat(filepath.Join(dir, d)); err != nil || !info.IsDir() {
			t.Errorf("the marker %s makes no directory: %v", d, err)
		}
	}
}

// TestAStoreThatListsWhatWasNotAsked is not obeyed.
func TestAStoreThatListsWhatWasNotAsked(t *testing.T) {
	w := newWorld(t)
	w.put("secret/a", "1")
	w.through(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("list-type") {
			_, _ = rw.Write([]byte(`<ListBucketResult><Contents><Key>../../secret/a</Key><Size>1</Size></Contents></ListBucketResult>`))
			return
		}
		next.ServeHTTP(rw, r)
	})
	dir := t.TempDir()
	for _, prefix := range []string{"", "p"} {
		p, err := w.c.Copying(t.Context(), at(prefix), local(dir), true)
		if err != nil {
			t.Fatal(err)
		}
		if o := run(t.Context(), w.c, p, false); len(o.failed) == 0 || o.Objects.Load() > 0 {
			t.Errorf("with prefix %q: %+v", prefix, o.done)
		}
	}
	holds(t, dir, nil)
}

var many = flag.Int("many", 2000, "how many small files to move")

// TestManySmallFiles are moved in memory that does not grow with their number.
func TestManySmallFiles(t *testing.T) {
	n := *many
	w := newWorld(t)
	dir := t.TempDir()
	for i := range n {
		if i%100 == 0 {
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("d", i/100)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("d", i/100), fmt.Sprint(i)), []byte(fmt.Sprint(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.all(w.c.Copying(t.Context(), local(dir), at(""), true))
	w.count("")
	// Only the client's part is measured: the store in memory grows while it is written.
	back := t.TempDir()
	var before, now runtime.MemStats
	var peak atomic.Uint64
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for pause(ctx, 100*time.Millisecond) == nil {
			runtime.GC()
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc))
		}
	}()
	o := w.all(w.c.Copying(t.Context(), at(""), local(back), true))
	stop()
	<-watched
	if o.Objects.Load() != int64(n) {
		t.Errorf("%d of %d objects came", o.Objects.Load(), n)
	}
	if used := int64(peak.Load()) - int64(before.HeapAlloc); used > 24<<20 {
		t.Errorf("%d bytes of memory were used for %d objects", used, n)
	} else {
		t.Logf("%d KiB of memory at most for %d objects", used>>10, n)
	}
	if lists := w.count("GET /data?"); lists > n/1000+1 {
		t.Errorf("%d listings of %d objects", lists, n)
	}
	if got := w.sync(local(dir), at(""), false); len(got) > 0 {
		t.Errorf("%d differ", len(got))
	}
}
