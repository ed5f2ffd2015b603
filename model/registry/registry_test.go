package registry

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"polder.dev/polder/model/registry/registrytest"
)

func TestParse(t *testing.T) {
	const digest = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for in, want := range map[string]string{
		"runtimes/pytorch-cpu":         "runtimes/pytorch-cpu:latest",
		"x:1":                          "x:1",
		"registry.polder.internal/a/b": "a/b:latest",
		"a/b" + digest:                 "a/b" + digest,
		"models/ns/name:v2" + digest:   "models/ns/name" + digest,
	} {
		ref, err := Parse(in)
		if err != nil || Short(ref) != want {
			t.Errorf("%s is %v, %v; want %s", in, ref, err, want)
		}
	}
	for in, why := range map[string]string{
		"": "empty", "registry.polder.internal/": "empty", "docker.io/library/alpine": "another registry", "host:5000/x": "another registry",
		"localhost/x": "another registry", "Upper/case": "Upper/case", "a b": "a b", "a@sha256:12": "sha256", "../x": "another registry", "a/../b": "a/../b", "a//b": "a//b", "-a": "-a",
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: error %v must say %s", in, err, why)
		}
	}
	for in, want := range map[string]bool{"docker.io/x/y": true, "localhost/x": true, "host:5000/x": true, "A b": false, "": false} {
		if _, err := Parse(in); errors.Is(err, ErrElsewhere) != want {
			t.Errorf("%q is elsewhere: %v, want %v", in, !want, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a/b:c@sha256:aa")
	f.Add("docker.io/x")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := Parse(s)
		if err == nil && ref.Context().RegistryStr() != "registry.polder.internal" {
			t.Errorf("%q leaves the cloud's registry: %s", s, ref)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"", "http://x", "x:5000", "https://", "https://a b", ":"} {
		if _, err := New(address, &tls.Config{}); err == nil {
			t.Errorf("accepted %q", address)
		}
	}
}

func open(t *testing.T, s *registrytest.Server, trust *tls.Config) *Client {
	t.Helper()
	c, err := New(s.URL, trust)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPushPullListRemove(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s, s.Writer)
	img := randomImage(t)
	var done, total int64
	digest, err := c.Push(t.Context(), "runtimes/a:1", img, func(d, n int64) { done, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	if done == 0 || done != total {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	if _, err := c.Push(t.Context(), "data/b", img, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Digest(t.Context(), "runtimes/a:1"); err != nil || got != digest {
		t.Errorf("digest %s, %v; want %s", got, err, digest)
	}
	pulled, err := c.Image(t.Context(), "runtimes/a@"+digest.String())
	if err != nil {
		t.Fatal(err)
	}
	layers, err := pulled.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		size += n
	}
	const docker = "application/vnd.docker.container.image.v1+json"
	want := []Entry{{"data/b", "latest", digest.String(), docker, size}, {"runtimes/a", "1", digest.String(), docker, size}}
	if d := cmp.Diff(want, list, cmpopts.SortSlices(func(a, b Entry) bool { return a.Repository < b.Repository })); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	if list, err = c.List(t.Context(), "data/"); err != nil || len(list) != 1 {
		t.Errorf("with a prefix: %v, %v", list, err)
	}
	if ok, err := c.Exists(t.Context(), "data/b@"+digest.String()); err != nil || !ok {
		t.Errorf("exists: %v, %v", ok, err)
	}
	if err := c.Remove(t.Context(), "data/b"); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.Exists(t.Context(), "data/b@"+digest.String()); err != nil || ok {
		t.Errorf("exists after its removal: %v, %v", ok, err)
	}
}

func TestAnEmptyRegistryListsNothing(t *testing.T) {
	s := registrytest.New(t)
	list, err := open(t, s, s.Reader).List(t.Context(), "")
	if err != nil || list == nil || len(list) != 0 {
		t.Errorf("%v, %v; want an empty list, which is [] in JSON", list, err)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s, s.Writer)
	if _, err := c.Push(t.Context(), "there", randomImage(t), nil); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"nowhere", "there:2"} {
		for what, try := range map[string]func() error{
			"Digest": func() error { _, err := c.Digest(t.Context(), ref); return err },
			"Image":  func() error { _, err := c.Image(t.Context(), ref); return err },
			"Remove": func() error { return c.Remove(t.Context(), ref) },
			"Referrers": func() error {
				_, err := c.Referrers(t.Context(), ref, "")
				return err
			},
		} {
			if err := try(); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "there") && !strings.Contains(err.Error(), "nowhere") {
				t.Errorf("%s %s: error %v must be ErrNotFound and name the reference", what, ref, err)
			}
		}
		if ok, err := c.Exists(t.Context(), ref); ok || err != nil {
			t.Errorf("Exists %s: %v, %v", ref, ok, err)
		}
	}
}

func TestAReaderMayNotWrite(t *testing.T) {
	s := registrytest.New(t)
	if _, err := open(t, s, s.Writer).Push(t.Context(), "a", randomImage(t), nil); err != nil {
		t.Fatal(err)
	}
	c := open(t, s, s.Reader)
	if _, err := c.Digest(t.Context(), "a"); err != nil {
		t.Errorf("a reader may not read: %v", err)
	}
	if _, err := c.Push(t.Context(), "a", randomImage(t), nil); !errors.Is(err, ErrDenied) {
		t.Errorf("pushing: %v, want ErrDenied", err)
	}
	if err := c.Remove(t.Context(), "a"); !errors.Is(err, ErrDenied) {
		t.Errorf("removing: %v, want ErrDenied", err)
	}
}

// TestATenantIsToldWhy: the registry's words reach the person, whatever was tried.
func TestATenantIsToldWhy(t *testing.T) {
	s := registrytest.New(t)
	writer, c := open(t, s, s.Writer), open(t, s, s.Tenant)
	for _, ref := range []string{"code/team-b/x", "runtimes/x"} {
		if _, err := writer.Push(t.Context(), ref, randomImage(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Push(t.Context(), "code/team-a/x", randomImage(t), nil); err != nil {
		t.Errorf("a tenant may not push: %v", err)
	}
	if err := c.Remove(t.Context(), "code/team-a/x"); err != nil {
		t.Errorf("a tenant may not remove: %v", err)
	}
	if _, err := c.Digest(t.Context(), "runtimes/x"); err != nil {
		t.Errorf("a tenant may not read a runtime: %v", err)
	}
	for what, try := range map[string]func() error{
		"pull code/team-b/x":   func() error { _, err := c.Image(t.Context(), "code/team-b/x"); return err },
		"pull code/team-b/y":   func() error { _, err := c.Digest(t.Context(), "code/team-b/y"); return err },
		"push code/team-b/x":   func() error { _, err := c.Push(t.Context(), "code/team-b/x", randomImage(t), nil); return err },
		"push models/team-b/x": func() error { _, err := c.Push(t.Context(), "models/team-b/x", randomImage(t), nil); return err },
		"push library/x":       func() error { _, err := c.Push(t.Context(), "library/x", randomImage(t), nil); return err },
		"delete runtimes/x":    func() error { return c.Remove(t.Context(), "runtimes/x") },
	} {
		if err := try(); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), `denied: user "ana" may not `+what) {
			t.Errorf("%s: %v must be ErrDenied, in the registry's words", what, err)
		}
	}
}

func TestNobodyReadsWithoutACertificate(t *testing.T) {
	s := registrytest.New(t)
	anonymous := s.Reader.Clone()
	anonymous.Certificates = nil
	if _, err := open(t, s, anonymous).Digest(t.Context(), "a"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("without a certificate: %v", err)
	}
	stranger := s.Reader.Clone()
	stranger.RootCAs = nil
	if _, err := open(t, s, stranger).Digest(t.Context(), "a"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a registry of an authority that is not ours was believed: %v", err)
	}
}

// TestALayerThatIsNotItsDigest: what a registry, or somebody on the way, changed
// is not taken.
func TestALayerThatIsNotItsDigest(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s, s.Writer)
	digest, err := c.Push(t.Context(), "a", randomImage(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Tamper(func(honest http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			honest.ServeHTTP(rec, r)
			b := rec.Body.Bytes()
			if strings.Contains(r.URL.Path, "/blobs/") && len(b) > 0 {
				b[len(b)/2] ^= 1
			}
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(b)
		})
	})
	img, err := c.Image(t.Context(), "a@"+digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.ConfigFile(); err == nil {
		t.Error("a changed configuration was taken")
	}
	layers, err := img.Layers()
	if err != nil {
		return // the configuration is part of it
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err == nil {
			t.Error("a changed layer was taken")
		}
	}
}

func TestAManifestThatIsNotItsDigest(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s, s.Writer)
	digest, err := c.Push(t.Context(), "a", randomImage(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), "a:other", randomImage(t), nil); err != nil {
		t.Fatal(err)
	}
	s.Tamper(func(honest http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = strings.Replace(r.URL.Path, digest.String(), "other", 1)
			honest.ServeHTTP(w, r)
		})
	})
	if _, err := c.Image(t.Context(), "a@"+digest.String()); err == nil {
		t.Error("another manifest was taken for this digest")
	}
}

func TestReason(t *testing.T) {
	const words = "user \"ana\" may not"
	for code, want := range map[int]error{http.StatusNotFound: ErrNotFound, http.StatusForbidden: ErrDenied, http.StatusUnauthorized: ErrDenied} {
		for _, bare := range []error{&transport.Error{StatusCode: code}, &errcode.ErrorResponse{StatusCode: code}} {
			if err := Reason(bare); !errors.Is(err, want) {
				t.Errorf("%T %d is %v, want %v", bare, code, err, want)
			}
		}
	}
	for _, said := range []error{
		&transport.Error{StatusCode: http.StatusForbidden, Errors: []transport.Diagnostic{{Code: "DENIED", Message: words}}},
		&errcode.ErrorResponse{StatusCode: http.StatusForbidden, Errors: errcode.Errors{{Code: "DENIED", Message: words}}},
	} {
		if err := Reason(said); !errors.Is(err, ErrDenied) || err.Error() != "denied: "+words {
			t.Errorf("%T is %v, and must say what the registry said", said, err)
		}
	}
	busy := &transport.Error{StatusCode: http.StatusServiceUnavailable, Errors: []transport.Diagnostic{{Code: "UNAVAILABLE", Message: words}}}
	if err := Reason(busy); err.Error() != words || errors.Is(err, ErrDenied) {
		t.Errorf("a registry that cannot tell now is %v", err)
	}
	other := &transport.Error{StatusCode: http.StatusInternalServerError}
	if err := Reason(other); !errors.Is(err, error(other)) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrDenied) {
		t.Errorf("another answer is %v", err)
	}
	if Reason(nil) != nil {
		t.Error("nothing is an error")
	}
}
