package pack

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"polder.dev/polder/model/registry/registrytest"
)

// TestALargeFileIsPulledWholeOrNot: of one that is changed on the way, ends early, goes on
// or that nobody wants any more, nothing is left; what is pulled after that is right.
func TestALargeFileIsPulledWholeOrNot(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	want := large('a', 12345, new(atomic.Int64))
	d, _ := push(t, c, want)
	a, err := Find(t.Context(), c, reference+"@"+d.String())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w http.ResponseWriter, b []byte){
		"changed in the middle": func(w http.ResponseWriter, b []byte) { b[len(b)/2] ^= 1; _, _ = w.Write(b) },
		"changed at the end":    func(w http.ResponseWriter, b []byte) { b[len(b)-1] ^= 1; _, _ = w.Write(b) },
		"cut off":               func(w http.ResponseWriter, b []byte) { _, _ = w.Write(b[:len(b)-1]); panic(http.ErrAbortHandler) },
		"shorter": func(w http.ResponseWriter, b []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)-1))
			_, _ = w.Write(b[:len(b)-1])
		},
		"longer": func(w http.ResponseWriter, b []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
			_, _ = w.Write(append(b, 'a'))
		},
		"of a length that is not told": func(w http.ResponseWriter, b []byte) {
			w.Header().Del("Content-Length")
			_, _ = w.Write(append(b, b...))
		},
	} {
		s.Tamper(tampering(change))
		refused(t, t.Context(), a, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Tamper(tampering(func(w http.ResponseWriter, b []byte) {
		_, _ = w.Write(b[:len(b)/2])
		_ = http.NewResponseController(w).Flush()
		cancel()
		_, _ = w.Write(b[len(b)/2 : len(b)-1])
	}))
	refused(t, ctx, a, "given up")
	s.Tamper(nil)
	dir := t.TempDir()
	if err := a.Pull(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	r, err := want.Open()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if got := tree(t, dir); err != nil || len(got) != 1 || got[want.Path] != string(text) {
		t.Errorf("%d files were pulled, and not what was pushed", len(got))
	}
}

func refused(t *testing.T, ctx context.Context, a *Artifact, name string) {
	t.Helper()
	dir := t.TempDir()
	if err := a.Pull(ctx, dir, nil); err == nil {
		t.Errorf("%s: it was pulled", name)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("%s: %d files are left", name, len(got))
	}
}

// tampering answers with what change makes of large blobs.
func tampering(change func(w http.ResponseWriter, b []byte)) func(http.Handler) http.Handler {
	return func(honest http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			honest.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet && rec.Body.Len() >= streamBytesMin {
				change(w, bytes.Clone(rec.Body.Bytes()))
				return
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}
}
