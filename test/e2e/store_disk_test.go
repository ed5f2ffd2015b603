//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestStoreDisks adds a disk and drains another one while clients read and write: none
// of them sees an error, and afterwards the drained disk may go away.
func TestStoreDisks(t *testing.T) {
	old, stay, fresh := t.TempDir(), t.TempDir(), t.TempDir()
	s := serveStore(t, "--disk", old, "--disk", stay)
	s.open(t, "crash")
	writers := newCrew(s, 4, 9)
	fixed := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	for i := range 40 {
		if resp, text, err := s.swift(t.Context(), http.MethodPut, fmt.Sprintf("/crash/fixed/%d", i), fixed); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatal(err, resp, text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	var reads atomic.Int64
	for _, w := range writers {
		g.Go(func() {
			if err := w.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	g.Go(func() {
		for ; ctx.Err() == nil; reads.Add(1) {
			_, body, err := s.send(ctx, http.MethodGet, fmt.Sprintf("/crash/fixed/%d", reads.Load()%40), nil)
			if ctx.Err() == nil && (err != nil || !bytes.Equal(body, fixed)) {
				t.Errorf("reading while disks change: %d bytes, %v", len(body), err)
				return
			}
		}
	})
	k := &talk{t: t, s: s, dir: s.dir, name: "polder"}
	k.head = []string{"--data-dir", s.path("data")}
	k.ok("was added", "disk", "add", fresh, "--wait")
	k.ok("being drained", "disk", "drain", s.disk(k, old), "--wait")
	writers.await(t, max(50, 100-int(writers.count()))) // after the change as before
	waitFor(t, storeLimit, "enough reads to prove something", func(context.Context) error {
		if n := reads.Load(); n < 20 && !t.Failed() {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	})
	cancel()
	g.Wait()
	s.settled(t, k, old)
	s.end(os.Interrupt)
	if err := os.RemoveAll(old); err != nil {
		t.Fatal(err)
	}
	s.args = nil // the store knows its disks
	s.start(t)
	listed, err := s.list(t.Context(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writers {
		if err := w.check(t.Context(), listed); err != nil {
			t.Error(err)
		}
	}
	for i := range 40 {
		if _, body, err := s.send(t.Context(), http.MethodGet, fmt.Sprintf("/crash/fixed/%d", i), nil); err != nil || !bytes.Equal(body, fixed) {
			t.Errorf("object %d without the drained disk: %d bytes, %v", i, len(body), err)
		}
	}
	t.Logf("%d writes and %d reads while disks changed", writers.count(), reads.Load())
	k.no([]string{"no store serves"}, "disk", "ls", "--data-dir", t.TempDir())
}

// TestStoreDiskDies takes a disk away. The store says so and does not begin an empty one;
// told to, it serves what the other disk has a copy of; and a new disk takes the place.
func TestStoreDiskDies(t *testing.T) {
	dead, stay, fresh := t.TempDir(), t.TempDir(), t.TempDir()
	s := serveStore(t, "--disk", dead, "--disk", stay)
	k := &talk{t: t, s: s, dir: things(t), env: s.main(), name: "polder"}
	k.ok("", "bucket", "create", "twice", "--copies", "2")
	k.ok("", "bucket", "create", "once")
	k.ok("9 objects", "cp", "-r", "tree", "s3://twice/tree")
	k.ok("9 objects", "cp", "-r", "tree", "s3://once/tree")
	k.head = []string{"--data-dir", s.path("data")}
	id := s.disk(k, dead)
	s.end(os.Interrupt)
	if err := os.RemoveAll(dead); err != nil {
		t.Fatal(err)
	}
	s.args = nil
	cmd := s.tool(t, s.dir, nil, "polder", "store", "serve", "--data-dir", s.path("data"), "--listen", s.host())
	if out, code := output(t, cmd); code == 0 || !strings.Contains(out, dead) || !strings.Contains(out, "is it mounted?") {
		t.Errorf("without a disk the store ended with %d:\n%s", code, out)
	}
	s.args = []string{"--missing-disks"}
	s.start(t)
	k.ok("away", "disk", "ls")
	k.ok("9 objects", "cp", "-r", "s3://twice/tree", "back")
	k.same("tree", "back")
	k.no([]string{"some buckets have no copies"}, "disk", "add", fresh, "--replace", id)
	k.ok("was added", "disk", "add", fresh, "--replace", id, "--lose-data", "--wait")
	k.ok("uploaded", "cp", "big", "s3://twice/big")
	s.end(os.Interrupt)
	s.args = nil
	s.start(t)
	for _, d := range s.disks(k).Disks {
		if d.Dir != stay && d.Dir != fresh {
			t.Errorf("a disk is in %q", d.Dir)
		}
	}
	s.end(os.Interrupt) // now the other copy has to do
	if err := os.RemoveAll(stay); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--missing-disks"}
	s.start(t)
	k.ok("10 objects", "cp", "-r", "s3://twice", "all")
	k.same("tree", "all/tree")
	k.same("big", "all/big")
	aws := &talk{t: t, s: s, dir: k.dir, env: append(s.main(), "AWS_MAX_ATTEMPTS=1"), name: "aws", head: []string{"--endpoint-url", s.url}}
	aws.no([]string{"ServiceUnavailable", "is away"}, "s3", "ls", "s3://once/tree/") // it cannot know all of them
}

// TestStoreMoves: a copy of the data directory is the store, wherever it lies.
func TestStoreMoves(t *testing.T) {
	s := serveStore(t)
	k := &talk{t: t, s: s, dir: things(t), env: s.main(), name: "polder"}
	k.ok("", "bucket", "create", "kept")
	k.ok("9 objects", "cp", "-r", "tree", "s3://kept/tree")
	s.end(os.Interrupt)
	if err := os.Rename(s.path("data"), s.path("old")); err != nil {
		t.Fatal(err)
	}
	tar := s.tool(t, s.dir, nil, "bash", "-c", "tar --sparse -cp -C old . | (mkdir data && tar -xp -C data) && rm -r old")
	if out, code := output(t, tar); code != 0 {
		t.Fatal(out)
	}
	if err := os.Rename(s.path("data"), s.path("new")); err != nil {
		t.Fatal(err)
	}
	s.data = "new"
	s.start(t)
	k.ok("9 objects", "cp", "-r", "s3://kept/tree", "back")
	k.same("tree", "back")
	if _, err := os.Stat(s.path("data")); err == nil {
		t.Error("the store is at its old place, too")
	}
}

type diskList struct {
	Disks []struct {
		ID, Dir   string
		FreeBytes int64
	}
	Settled bool
}

func (s *store) disks(k *talk) (l diskList) {
	k.t.Helper()
	out := k.ok("", "disk", "ls", "-o", "json")
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		k.t.Fatalf("polder disk ls -o json: %v in %q", err, out)
	}
	return l
}

// disk is the id of the disk in dir.
func (s *store) disk(k *talk, dir string) string {
	k.t.Helper()
	for _, d := range s.disks(k).Disks {
		if d.Dir == dir {
			return d.ID
		}
	}
	k.t.Fatalf("no disk is in %s: %+v", dir, s.disks(k))
	return ""
}

// settled checks that a disk is gone, in the list and in the metrics.
func (s *store) settled(t *testing.T, k *talk, gone string) {
	t.Helper()
	l := s.disks(k)
	for _, d := range l.Disks {
		if d.Dir == gone {
			t.Errorf("the drained disk is there: %+v", l)
		}
	}
	if len(l.Disks) != 2 || !l.Settled {
		t.Errorf("disks %+v", l)
	}
	text := s.metrics(t)
	for _, want := range []string{
		`(?m)^polder_storage_settled 1$`, `(?m)^polder_storage_disk_up\{disk="\w+"\} 1$`, `(?m)^polder_storage_disk_bytes\{disk="\w+",state="free"\} [1-9]`,
		`(?m)^polder_storage_requests_total\{class="2xx",method="PUT",protocol="s3"\} [1-9]`, `(?m)^polder_storage_requests_total\{class="2xx",method="PUT",protocol="swift"\} [1-9]`,
		`(?m)^polder_storage_bytes_total\{direction="in",protocol="s3"\} [1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no metric %s in\n%s", want, grepLines(text, "polder_storage"))
		}
	}
}

// metrics are what the administrator's socket says.
func (s *store) metrics(t *testing.T) string {
	t.Helper()
	client := http.Client{Timeout: callLimit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.path("data/store/store.sock"))
	}}}
	resp, err := client.Get("http://store/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp.Status)
	}
	return b.String()
}

func grepLines(text, word string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return !strings.HasPrefix(l, word) || strings.Contains(l, "_bucket") }), "\n")
}

// TestStoreUsers: users come and go with SIGHUP, and a mistake changes nothing.
func TestStoreUsers(t *testing.T) {
	s := serveStore(t)
	k := &talk{t: t, s: s, dir: s.dir, name: "polder", env: s.keys("new:one", "secret")}
	k.no([]string{"the store does not know this access key"}, "ls")
	reload := func(text, said string) {
		t.Helper()
		if err := os.WriteFile(s.path("users.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waitFor(t, time.Minute, "users that were read again", func(context.Context) error {
			if !strings.Contains(s.said(), said) {
				return fmt.Errorf("the store says %s", s.said())
			}
			return nil
		})
	}
	reload(storeUsers+"- {account: new, name: one, password: secret, roles: [admin]}\n", "the users were read again")
	k.ok("", "ls")
	reload("users: [{account: a:b}]\n", "the users stay as they were")
	k.ok("", "ls")
}
