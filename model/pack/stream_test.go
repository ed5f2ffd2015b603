package pack

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

// large is a file that is worth sending at once, of the letter c, and opened counts how
// often it was read.
func large(c byte, more int, opened *atomic.Int64) File {
	text := bytes.Repeat([]byte{c}, streamBytesMin+more)
	return File{Path: "model.safetensors", Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		opened.Add(1)
		return io.NopCloser(bytes.NewReader(text)), nil
	}}
}

// TestALargeFileIsReadOnce where it is new, and not sent where it is there.
func TestALargeFileIsReadOnce(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	var sent atomic.Int64
	s.Tamper(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength >= streamBytesMin {
				sent.Add(1)
			}
			h.ServeHTTP(w, r)
		})
	})
	var last [2]int64
	push := func(f File) digest.Digest {
		t.Helper()
		d, _, err := Push(t.Context(), c, reference+":latest", Model{Name: "digits", Progress: func(done, total int64) { last = [2]int64{done, total} }}, []File{f, fileOf("a", "b")})
		if err != nil {
			t.Fatal(err)
		}
		if want := f.Size + 1; last != [2]int64{want, want} {
			t.Errorf("progress ended at %d, want %d", last, want)
		}
		return d
	}
	for _, tc := range []struct {
		name                   string
		letter                 byte
		more                   int
		wantOpened, wantSent   int64
		sameAsTheOneBeforeThis bool
	}{
		{"the first", 'a', 0, 1, 1, false},
		{"the same again", 'a', 0, 1, 0, true},
		{"another of the same size", 'b', 0, 2, 1, false},
		{"another of another size", 'c', 9, 1, 1, false},
	} {
		var opened atomic.Int64
		before, _ := c.Digest(t.Context(), reference)
		sent.Store(0)
		d := push(large(tc.letter, tc.more, &opened))
		if opened.Load() != tc.wantOpened || sent.Load() != tc.wantSent || (before.String() == d.String()) != tc.sameAsTheOneBeforeThis {
			t.Errorf("%s: read %d times, sent %d times", tc.name, opened.Load(), sent.Load())
		}
		a, err := Find(t.Context(), c, reference+"@"+d.String())
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := a.Pull(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{tc.letter}, streamBytesMin+tc.more)) {
			t.Errorf("%s: %d other bytes came back, %v", tc.name, len(got), err)
		}
	}
}

// TestTheWayDoesNotMatter: a file that was hashed first and one that was hashed on the way
// make the same version.
func TestTheWayDoesNotMatter(t *testing.T) {
	var digests []digest.Digest
	for range 2 {
		s := registrytest.New(t)
		c := open(t, s)
		if len(digests) == 1 { // the repository has one of this size
			if _, _, err := Push(t.Context(), c, reference+":latest", Model{}, []File{large('z', 0, new(atomic.Int64))}); err != nil {
				t.Fatal(err)
			}
		}
		d, _, err := Push(t.Context(), c, reference+":latest", Model{}, []File{large('a', 0, new(atomic.Int64))})
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	if d := cmp.Diff(digests[0], digests[1]); d != "" {
		t.Error(d)
	}
}

func TestALargeFileThatFails(t *testing.T) {
	broken := errors.New("broken")
	whole := large('a', 0, new(atomic.Int64))
	longer, shorter := whole, whole
	longer.Size--
	shorter.Size++
	fails := whole
	fails.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("a", 1<<20)), failing{broken})), nil
	}
	outside := whole
	outside.Path = "../x"
	for name, tc := range map[string]struct {
		f    File
		says string
	}{
		"grew": {longer, "changed while it was read"}, "shrank": {shorter, "changed while it was read"}, "cannot be read": {fails, "broken"}, "lies outside": {outside, "../x"},
	} {
		s := registrytest.New(t)
		c := open(t, s)
		if _, _, err := Push(t.Context(), c, reference+":latest", Model{}, []File{tc.f}); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
		if ok, err := c.Exists(t.Context(), reference); ok || err != nil {
			t.Errorf("%s: a model was made all the same: %v", name, err)
		}
	}
	s := registrytest.New(t)
	c, err := registry.New(s.URL, s.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Push(t.Context(), c, "models/team-b/x:latest", Model{}, []File{whole})
	if !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), `user "ana" may not push models/team-b/x`) {
		t.Errorf("another's: %v", err)
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestARegistryThatLeadsAway: an upload does not go on at another place.
func TestARegistryThatLeadsAway(t *testing.T) {
	s := registrytest.New(t)
	for _, place := range []string{"https://elsewhere.example/v2/x", "", "://"} {
		s.Tamper(func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set("Location", place)
					w.WriteHeader(http.StatusAccepted)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		_, _, err := Push(t.Context(), open(t, s), reference+":latest", Model{}, []File{large('a', 0, new(atomic.Int64))})
		if err == nil || !strings.Contains(err.Error(), "which is another") && !strings.Contains(err.Error(), "does not say where") {
			t.Errorf("led to %q: %v", place, err)
		}
	}
}
