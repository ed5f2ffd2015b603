package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sirupsen/logrus"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/s3"
)

// onObjects is the variable under which all tests run on the object store.
const onObjects = "POLDER_TEST_OBJECTS"

// TestAllOnObjects runs all other tests on objects.
func TestAllOnObjects(t *testing.T) {
	if os.Getenv(onObjects) != "" {
		t.Skip("it is what runs now")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.skip=^Fuzz")
	cmd.Env = append(os.Environ(), onObjects+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// store is an object store that answers at a socket, and can be away.
type store struct {
	socket, secret string
	dir            string // of files that it may be given
	bucket         storage.Bucket
	away           atomic.Int64 // requests that get no answer yet

	shares bool         // it takes files over
	taken  atomic.Int64 // of them
	silent atomic.Bool  // who hands one over gets no answer
}

const bucketName = "registry"

func newStore(t *testing.T) *store {
	t.Helper()
	dir, err := os.MkdirTemp("", "registry") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &store{socket: filepath.Join(dir, "s"), secret: filepath.Join(dir, "secret")}
	if err := os.WriteFile(s.secret, []byte("a secret of tests"), 0o600); err != nil {
		t.Fatal(err)
	}
	objects := mem.New(0, time.Now)
	space, err := naming.Open(t.Context(), objects)
	if err != nil {
		t.Fatal(err)
	}
	users, err := iam.NewUsers([]iam.User{{Account: "cloud", Name: "registry", AccessKey: "registry", SecretKey: "a secret of tests"}})
	if err != nil {
		t.Fatal(err)
	}
	s.bucket, err = space.CreateContainer(t.Context(), "cloud", bucketName, storage.Settings{PlainETag: true, Labels: map[string]string{
		iam.LabelAccess: iam.EncodeAccess([]iam.Access{{Account: "cloud", User: "registry", Role: iam.Writer}}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := s3.New(s3.Config{Space: space, Directory: users})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.away.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		if s.shares && r.Header.Get(storage.HandoverHeader) != "" {
			s.take(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})}
	go func() { _ = web.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = errors.Join(web.Close(), objects.Close()) })
	return s
}

// take is how the disks' store takes a file over, as far as a client sees.
func (s *store) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	path := filepath.Join(s.dir, r.Header.Get(storage.HandoverHeader))
	b, missing := os.ReadFile(path)
	h, bad := storage.DecodeHandover(path, body)
	if err := errors.Join(err, missing, bad); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var sums storage.Sums
	_, _ = sums.Write(b)
	if int64(len(b)) != h.Size || !slices.Equal(sums.Blocks, h.Sums) {
		http.Error(w, "these are other checksums", http.StatusBadRequest)
		return
	}
	_, err = s.bucket.Put(r.Context(), strings.TrimPrefix(r.URL.Path, "/"+bucketName+"/"), bytes.NewReader(b), storage.PutOptions{})
	if err := errors.Join(err, os.Remove(path)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.taken.Add(1)
	if s.silent.Load() {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Etag", `"1"`)
}

func (s *store) options(dir string) options {
	return options{dir: dir, storeSocket: s.socket, storeKey: "registry", storeSecret: s.secret, bucket: bucketName}
}

// open is the driver, over files in dir.
func (s *store) open(t *testing.T, dir string) *objects {
	t.Helper()
	d, err := openObjects(t.Context(), s.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// keys of all objects.
func (s *store) keys(t *testing.T) []string {
	t.Helper()
	l, err := s.bucket.List(t.Context(), storage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range l.Objects {
		out = append(out, l.Objects[i].Key)
	}
	return out
}

// TestObjectDriver is what Distribution asks of a driver, by what it asks it for.
func TestObjectDriver(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	d := s.open(t, t.TempDir()).checked()
	const up, blob = "/r/a/_uploads/1/data", "/b/x/data"
	missing := func(what string, err error) {
		t.Helper()
		if !isMissing(err) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
	_, err := d.Stat(ctx, blob)
	missing("the size", err)
	_, err = d.GetContent(ctx, blob)
	missing("the content", err)
	_, err = d.List(ctx, "/b")
	missing("a list", err)
	missing("a move", d.Move(ctx, up, blob))
	missing("deleting", d.Delete(ctx, blob))

	w, err := d.Writer(ctx, up, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half ")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = d.Writer(ctx, up, true); err != nil || w.Size() != 5 {
		t.Fatalf("it goes on at %v, %v", w, err)
	}
	if _, err := w.Write([]byte("and half")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Commit(ctx), w.Close()); err != nil {
		t.Fatal(err)
	}
	if k := s.keys(t); len(k) > 0 {
		t.Errorf("an upload is an object: %v", k)
	}
	if err := d.Move(ctx, up, blob); err != nil {
		t.Fatal(err)
	}
	missing("what was moved", func() error { _, err := d.Stat(ctx, up); return err }())
	if k := s.keys(t); !slices.Equal(k, []string{"b/x/data"}) {
		t.Errorf("objects: %v", k)
	}
	if f, err := d.Stat(ctx, blob); err != nil || f.IsDir() || f.Size() != 13 || time.Since(f.ModTime()) > time.Hour {
		t.Errorf("%v, %v", f, err)
	}
	if f, err := d.Stat(ctx, "/b/x"); err != nil || !f.IsDir() {
		t.Errorf("a directory: %v, %v", f, err)
	}
	for off, want := range map[int64]string{0: "half and half", 5: "and half", 13: ""} {
		r, err := d.Reader(ctx, blob, off)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != want || r.Close() != nil {
			t.Errorf("from %d on: %q, %v", off, got, err)
		}
	}
	for p, text := range map[string]string{"/b/xy": "beside", "/b/x/e/link": "", "/c": "c"} {
		if err := d.PutContent(ctx, p, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.GetContent(ctx, p); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	for p, want := range map[string][]string{"/": {"/b", "/c", "/r"}, "/b": {"/b/x", "/b/xy"}, "/b/x": {"/b/x/data", "/b/x/e"}} {
		if got, err := d.List(ctx, p); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s has %v, %v", p, got, err)
		}
	}
	if err := d.Delete(ctx, "/b/x"); err != nil {
		t.Fatal(err)
	}
	if k := s.keys(t); !slices.Equal(k, []string{"b/xy", "c"}) {
		t.Errorf("what is left: %v", k)
	}
	if _, err := d.Writer(ctx, blob, false); err == nil {
		t.Error("a blob was written where it cannot be")
	}
}

// TestStoreComesBack: who asks while the store is away waits for it.
func TestStoreComesBack(t *testing.T) {
	s := newStore(t)
	d := s.open(t, t.TempDir())
	s.away.Store(4)
	large := strings.Repeat("0123456789", bufferBytes/10+1) // is sent as it is read
	err := d.put(t.Context(), "/large", int64(len(large)), storage.Conditions{}, func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(large)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := s.away.Load(); left >= 0 {
		t.Errorf("it did not ask again: %d requests more would have got no answer", left)
	}
	if got, err := d.GetContent(t.Context(), "/large"); err != nil || string(got) != large {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestStoreRefuses: a key that the store does not know ends the registry, which must not ask
// for ever.
func TestStoreRefuses(t *testing.T) {
	o := newStore(t).options(t.TempDir())
	if err := os.WriteFile(o.storeSecret, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := keep(t.Context(), o); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("a wrong secret: %v", err)
	}
	o.storeSecret = filepath.Join(t.TempDir(), "none")
	if _, _, err := keep(t.Context(), o); err == nil || !strings.Contains(err.Error(), o.storeSecret) {
		t.Errorf("no secret: %v", err)
	}
}

// TestFilesBecomeObjects: a registry on files that is given a bucket serves on, and moves
// all of it, once, wherever it is cut.
func TestFilesBecomeObjects(t *testing.T) {
	if os.Getenv(onObjects) != "" {
		t.Skip("it begins with files")
	}
	h := newHouse(t)
	for _, text := range []string{"first", "second", "third"} {
		if code := h.push("ana", "models/team-a/m", text); code != 201 {
			t.Fatal(code)
		}
	}
	sh := newShop(t, h)
	resp, _ := sh.ask("POST", "/v2/models/team-a/m/blobs/uploads/", nil, 202)
	sh.ask("PATCH", resp.Header.Get("Location"), strings.NewReader("not whole"), 202, "Content-Type", "application/octet-stream")

	s := newStore(t)
	d := s.open(t, h.o.dir)
	now := houseAt(t, s.options(h.o.dir))
	whole := func(when string, gone ...string) {
		t.Helper()
		for _, text := range []string{"first", "second", "third"} {
			want := 200
			if slices.Contains(gone, text) {
				want = 404
			}
			for _, target := range []string{"/manifests/" + digestOf(manifestOf(text)), "/blobs/" + digestOf(text)} {
				if w := now.do("ana", "GET", "/v2/models/team-a/m"+target, "", "Accept", manifestType); w.Code != want && (want == 200 || strings.HasPrefix(target, "/m")) {
					t.Errorf("%s, GET %s of %s: %d", when, target, text, w.Code)
				}
			}
		}
	}
	whole("before")
	ctx, cut := context.WithCancel(t.Context())
	n := 0
	err := d.files.Walk(ctx, top, func(f driver.FileInfo) error { // a move that is cut after five files
		if f.IsDir() || uploads(f.Path()) {
			return nil
		}
		if n++; n > 5 {
			cut()
			return ctx.Err()
		}
		_, err := d.moveFile(ctx, f.Path())
		return err
	})
	if err == nil || ctx.Err() == nil || len(s.keys(t)) != 5 {
		t.Fatalf("%d objects, %v", len(s.keys(t)), err)
	}
	whole("half-way")
	if w := now.do("ana", "DELETE", "/v2/models/team-a/m/manifests/"+digestOf(manifestOf("second")), ""); w.Code != 202 {
		t.Errorf("deleting half-way: %d", w.Code)
	}
	whole("half-way, less one", "second")

	var log bytes.Buffer
	logrus.SetOutput(&log)
	d.move(t.Context())
	if !strings.Contains(log.String(), "all files of the registry were moved") {
		t.Errorf("the log says %q", log.String())
	}
	whole("after", "second")
	err = d.files.Walk(t.Context(), top, func(f driver.FileInfo) error {
		if !f.IsDir() && !uploads(f.Path()) {
			t.Errorf("%s is a file still", f.Path())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	uploading, err := d.files.List(t.Context(), top+"/repositories/models/team-a/m/_uploads")
	if err != nil || len(uploading) != 1 {
		t.Errorf("what is uploaded: %v, %v", uploading, err)
	}
	if err := sweep(t.Context(), d.checked()); err != nil {
		t.Fatal(err)
	}
	for _, k := range s.keys(t) {
		if strings.Contains(k, strings.TrimPrefix(digestOf("second"), "sha256:")+"/data") {
			t.Errorf("a blob that nothing refers to is an object still: %s", k)
		}
	}
	whole("swept", "second")
}

// TestNewerObjectStays: a file does not replace an object of its path.
func TestNewerObjectStays(t *testing.T) {
	s := newStore(t)
	d := s.open(t, t.TempDir())
	if err := d.files.PutContent(t.Context(), "/tag/link", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := d.PutContent(t.Context(), "/tag/link", []byte("new")); err != nil {
		t.Fatal(err)
	}
	d.move(t.Context())
	if got, err := d.GetContent(t.Context(), "/tag/link"); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.files.Stat(t.Context(), "/tag/link"); !isMissing(err) {
		t.Errorf("the file: %v", err)
	}
}
