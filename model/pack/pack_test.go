package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

const reference = "models/ns/digits"

func open(t *testing.T, s *registrytest.Server) *registry.Client {
	t.Helper()
	c, err := registry.New(s.URL, s.Writer)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fileOf(name, text string) File {
	return File{Path: name, Size: int64(len(text)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// some are files of every kind; the weights lie in a directory.
func some() []File {
	return []File{
		fileOf("weights/model.pt", "weights"), fileOf("config.json", "{}"), fileOf("README.md", "# Digits"), fileOf("train.py", "pass"), fileOf("metrics.jsonl", "{}\n"),
	}
}

func push(t *testing.T, c *registry.Client, files ...File) (digest.Digest, int64) {
	t.Helper()
	d, size, err := Push(t.Context(), c, reference+":latest", Model{
		Name: "digits", Format: "pytorch 1.13.1", Licence: "MIT", Annotations: map[string]string{"a": "b"},
	}, files)
	if err != nil {
		t.Fatal(err)
	}
	return d, size
}

func TestPushFindPull(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, size := push(t, c, some()...)
	if want := int64(len("weights{}# Digitspass{}\n")); size != want {
		t.Errorf("size %d, want %d", size, want)
	}
	a, err := Find(t.Context(), c, reference+"@"+d.String())
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest != d || a.Manifest.ArtifactType != ArtifactType || a.Manifest.Annotations["a"] != "b" {
		t.Errorf("found %s %+v", a.Digest, a.Manifest)
	}
	got := map[string]string{}
	for _, l := range a.Manifest.Layers {
		got[Path(l)] = l.MediaType
	}
	want := map[string]string{"weights/model.pt": weightType, "config.json": settingType, "README.md": docType, "train.py": codeType, "metrics.jsonl": docType}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("media types (-want +got):\n%s", diff)
	}
	dir := filepath.Join(t.TempDir(), "new")
	var told []int64
	if err := a.Pull(t.Context(), dir, func(done, total int64) { told = append(told, done, total) }); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2*len(some()) || told[len(told)-2] != size || told[len(told)-1] != size {
		t.Errorf("progress %v must end at %d of %d", told, size, size)
	}
	if diff := cmp.Diff(map[string]string{
		"weights/model.pt": "weights", "config.json": "{}", "README.md": "# Digits", "train.py": "pass", "metrics.jsonl": "{}\n",
	}, tree(t, dir)); diff != "" {
		t.Errorf("pulled (-want +got):\n%s", diff)
	}
}

// tree reads the files below dir.
func tree(t *testing.T, dir string) map[string]string {
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

func TestTheSameFilesAreTheSameDigest(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	files := some()
	a, _ := push(t, c, files...)
	for i, j := 0, len(files)-1; i < j; i, j = i+1, j-1 {
		files[i], files[j] = files[j], files[i]
	}
	if b, _ := push(t, c, files...); a != b {
		t.Errorf("in another order the digest is %s, not %s", b, a)
	}
	files[0] = fileOf(files[0].Path, "other")
	if b, _ := push(t, c, files...); a == b {
		t.Error("other files have the same digest")
	}
}

// TestTheConfigurationIsModelPacks reads the configuration as others would.
func TestTheConfigurationIsModelPacks(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	push(t, c, fileOf("a.pt", "x"))
	a, err := Find(t.Context(), c, reference)
	if err != nil {
		t.Fatal(err)
	}
	if a.Manifest.Config.MediaType != "application/vnd.cncf.model.config.v1+json" {
		t.Errorf("media type %s", a.Manifest.Config.MediaType)
	}
	repo, _, err := c.Repository(reference)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Blobs().Fetch(t.Context(), a.Manifest.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got map[string]any
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"descriptor": map[string]any{"name": "digits", "licenses": []any{"MIT"}},
		"modelfs":    map[string]any{"type": "layers", "diffIds": []any{digest.FromString("x").String()}},
		"config":     map[string]any{"format": "pytorch 1.13.1"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("configuration (-want +got):\n%s", d)
	}
}

func TestPushRefuses(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	broken := errors.New("broken")
	grown := fileOf("a", "four")
	grown.Size = 3
	for name, tc := range map[string]struct {
		ref  string
		file File
		want string
	}{
		"a file that changed":         {reference, grown, "changed while it was read"},
		"a file that cannot be read":  {reference, File{Path: "a", Open: func() (io.ReadCloser, error) { return nil, broken }}, "broken"},
		"a path out of the directory": {reference, fileOf("../a", "x"), "../a"},
		"another registry":            {"docker.io/x/y", fileOf("a", "x"), "another registry"},
	} {
		if _, _, err := Push(t.Context(), c, tc.ref, Model{}, []File{tc.file}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v must say %q", name, err, tc.want)
		}
		if ok, err := c.Exists(t.Context(), reference); ok || err != nil {
			t.Errorf("%s: a model was made all the same: %v", name, err)
		}
	}
	reader, err := registry.New(s.URL, s.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Push(t.Context(), reader, reference, Model{}, some()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("a reader pushing a model: %v", err)
	}
}

// TestATenantIsToldWhy: the registry's words reach the person.
func TestATenantIsToldWhy(t *testing.T) {
	s := registrytest.New(t)
	push(t, open(t, s), some()...) // in namespace ns
	c, err := registry.New(s.URL, s.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, s).Push(t.Context(), "runtimes/x", img, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Push(t.Context(), c, "models/team-a/x", Model{}, some()); err != nil {
		t.Errorf("a tenant may not push a model: %v", err)
	}
	for what, try := range map[string]func() error{
		"pull " + reference:    func() error { _, err := Find(t.Context(), c, reference); return err },
		"push models/team-b/x": func() error { _, _, err := Push(t.Context(), c, "models/team-b/x", Model{}, some()); return err },
		"push runtimes/x":      func() error { return Attach(t.Context(), c, "runtimes/x", img, "application/x", []byte("x")) },
	} {
		if err := try(); !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), `denied: user "ana" may not `+what) {
			t.Errorf("%s: %v must be ErrDenied, in the registry's words", what, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	push(t, c, some()...)
	a, err := Find(t.Context(), c, reference)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := a.ReadFile(t.Context(), "README.md", 100); err != nil || string(b) != "# Digits" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := a.ReadFile(t.Context(), "README.md", 3); err == nil || !strings.Contains(err.Error(), "at most 3") {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := a.ReadFile(t.Context(), "none", 100); !errors.Is(err, ErrNoFile) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFindRefuses(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	if _, err := Find(t.Context(), c, reference); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	img, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), "images/x", img, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), c, "images/x"); err == nil || !strings.Contains(err.Error(), "not a model") {
		t.Errorf("an image was taken for a model: %v", err)
	}
}

// manifest pushes one with a layer per name, each holding its text, and returns
// its digest.
func manifest(t *testing.T, c *registry.Client, names, texts []string) digest.Digest {
	t.Helper()
	repo, _, err := c.Repository(reference)
	if err != nil {
		t.Fatal(err)
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType, Config: ocispec.DescriptorEmptyJSON}
	m.SchemaVersion = 2
	for i, n := range names {
		d := ocispec.Descriptor{MediaType: weightType, Digest: digest.FromString(texts[i]), Size: int64(len(texts[i])), Annotations: map[string]string{pathAnnotation: n}}
		if err := send(t.Context(), repo.Blobs(), d, fileOf(n, texts[i]).Open); err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := repo.Manifests().PushReference(t.Context(), d, bytes.NewReader(b), "latest"); err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func TestNamesThatLeaveTheDirectory(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	for _, name := range []string{"../x", "/etc/x", "a/../../x", "", ".", "a/..", "./"} {
		manifest(t, c, []string{name}, []string{"evil"})
		if _, err := Find(t.Context(), c, reference); err == nil {
			t.Errorf("a model with a file %q was taken", name)
		}
	}
}

func TestNamesThatAreTheSame(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	manifest(t, c, []string{"a", "./a"}, []string{"one", "two"})
	if _, err := Find(t.Context(), c, reference); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a model with the same file twice: %v", err)
	}
}

// TestNoFileIsLostToAnother: no name that a model's file may have is one that
// Pull writes to on the way.
func TestNoFileIsLostToAnother(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	manifest(t, c, []string{"a.part", "a"}, []string{"one", "two"})
	a, err := Find(t.Context(), c, reference)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := a.Pull(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a": "two", "a.part": "one"}, tree(t, dir)); d != "" {
		t.Errorf("pulled (-want +got):\n%s", d)
	}
}

func TestALinkInTheDirectoryLeadsNowhere(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	push(t, c, fileOf("out/x", "evil"))
	a, err := Find(t.Context(), c, reference)
	if err != nil {
		t.Fatal(err)
	}
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := a.Pull(t.Context(), dir, nil); err == nil {
		t.Error("a file was written through a link")
	}
	if got := tree(t, outside); len(got) != 0 {
		t.Errorf("outside of the directory there are %v", got)
	}
}

// change flips a bit of what the registry answers for paths with part in them.
func change(part string) func(http.Handler) http.Handler {
	return func(honest http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			honest.ServeHTTP(rec, r)
			b := rec.Body.Bytes()
			if strings.Contains(r.URL.Path, part) && r.Method == http.MethodGet && len(b) > 0 {
				b[len(b)/2] ^= 1
			}
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(b)
		})
	}
}

func TestWhatIsNotItsDigestIsNotTaken(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	for _, ref := range []string{reference, reference + "@" + d.String()} {
		s.Tamper(change("/manifests/"))
		if _, err := Find(t.Context(), c, ref); err == nil {
			t.Errorf("%s: a changed manifest was taken", ref)
		}
	}
	s.Tamper(nil)
	a, err := Find(t.Context(), c, reference)
	if err != nil {
		t.Fatal(err)
	}
	s.Tamper(change("/blobs/"))
	dir := t.TempDir()
	if err := a.Pull(t.Context(), dir, nil); err == nil {
		t.Error("a changed file was pulled")
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("of what was changed %v is left", got)
	}
	if _, err := a.ReadFile(t.Context(), "README.md", 100); err == nil {
		t.Error("a changed file was read")
	}
}

func TestAttach(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	img, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(t.Context(), "runtimes/x", img, nil); err != nil {
		t.Fatal(err)
	}
	const sbom = "application/vnd.cyclonedx+json"
	for range 2 { // the second is the same, and harmless
		if err := Attach(t.Context(), c, "runtimes/x", img, sbom, []byte(`{"a":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Attach(t.Context(), c, "runtimes/x", img, "application/other", []byte("x")); err != nil {
		t.Fatal(err)
	}
	found, err := c.Referrers(t.Context(), "runtimes/x", sbom)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].ArtifactType != sbom {
		t.Fatalf("referrers %+v; want one of type %s", found, sbom)
	}
	m, err := c.Image(t.Context(), "runtimes/x@"+found[0].Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	layers, err := m.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	if d, err := layers[0].Digest(); err != nil || d.String() != digest.FromString(`{"a":1}`).String() {
		t.Errorf("the text is %s, %v", d, err)
	}
	list, err := c.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Tag != "latest" {
		t.Errorf("what refers to an image is listed beside it: %+v", list)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"artifactType":"` + ArtifactType + `","layers":[{"digest":"` + digest.FromString("").String() + `","annotations":{"` + pathAnnotation + `":"a"}}]}`))
	f.Add([]byte(`{"artifactType":"` + ArtifactType + `","layers":[{"annotations":{"` + pathAnnotation + `":"../a"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &Artifact{ref: "x"}
		if a.parse(b) != nil {
			return
		}
		seen := map[string]bool{}
		for _, l := range a.Manifest.Layers {
			name := filepath.Clean(Path(l))
			if name == "." || !filepath.IsLocal(name) || seen[name] {
				t.Errorf("%q is no file of its own in the directory", Path(l))
			}
			seen[name] = true
			_ = l.Digest.Encoded() // panics on what is none
		}
	})
}

func TestWhatRefersToAModel(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	if got, err := Referrers(t.Context(), c, reference, d, ""); err != nil || len(got) != 0 {
		t.Fatalf("at first %v refers to it, %v", got, err)
	}
	said := map[string]string{"polder.dev/evaluation": "first"}
	report, err := AttachTo(t.Context(), c, reference, d, TypeEvaluation, said, []byte(`{"accuracy":1}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is the same, and harmless
		if _, err := AttachTo(t.Context(), c, reference, d, TypeCard, nil, []byte("# Card")); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := Referrers(t.Context(), c, reference, d, ""); err != nil || len(all) != 2 {
		t.Errorf("of two texts %v are listed, %v", all, err)
	}
	got, err := Referrers(t.Context(), c, reference, d, TypeEvaluation)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Referrer{{Digest: report, ArtifactType: TypeEvaluation, Annotations: said}}, got); diff != "" {
		t.Errorf("evaluations (-want +got):\n%s", diff)
	}
	if text, err := ReadReferrer(t.Context(), c, reference, report, 100); err != nil || string(text) != `{"accuracy":1}` {
		t.Errorf("read %q, %v", text, err)
	}
	if _, err := ReadReferrer(t.Context(), c, reference, report, 3); err == nil || !strings.Contains(err.Error(), "at most 3") {
		t.Errorf("a text that is too long: %v", err)
	}
	if _, err := ReadReferrer(t.Context(), c, reference, d, 100); err == nil {
		t.Error("a model was read as if it referred to one")
	}
	if _, err := AttachTo(t.Context(), c, reference, digest.FromString("none"), TypeCard, nil, nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("attaching to what is not there: %v", err)
	}
}

// TestPut: what refers to nothing is kept, once, and read like what does.
func TestPut(t *testing.T) {
	c := open(t, registrytest.New(t))
	var first digest.Digest
	for range 2 {
		d, err := Put(t.Context(), c, "reports/lab/judge", TypeEvaluation, map[string]string{"polder.dev/evaluation": "judge"}, []byte(`{"accuracy":1}`))
		if err != nil || first != "" && d != first {
			t.Fatalf("kept as %s, before as %s: %v", d, first, err)
		}
		first = d
	}
	if text, err := ReadReferrer(t.Context(), c, "reports/lab/judge@"+first.String(), first, 100); err != nil || string(text) != `{"accuracy":1}` {
		t.Errorf("read %q, %v", text, err)
	}
}

// TestManyAttachAtOnce: nobody loses what another wrote.
func TestManyAttachAtOnce(t *testing.T) {
	s := registrytest.New(t)
	d, _ := push(t, open(t, s), some()...)
	const many = 8
	errs := make(chan error, many)
	for i := range many {
		c := open(t, s)
		go func() {
			_, err := AttachTo(t.Context(), c, reference, d, TypeCard, nil, []byte{byte('a' + i)})
			errs <- err
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got, err := Referrers(t.Context(), open(t, s), reference, d, TypeCard); err != nil || len(got) != many {
		t.Errorf("of %d that were attached, %d are listed, %v", many, len(got), err)
	}
}

// TestRemove: what refers to a model goes with it, and nothing else.
func TestRemove(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	gone, _ := push(t, c, some()...)
	stays, _ := push(t, c, fileOf("other.pt", "other"))
	report, err := AttachTo(t.Context(), c, reference, gone, TypeEvaluation, nil, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := AttachTo(t.Context(), c, reference, report, TypeSignature, nil, []byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	card, err := AttachTo(t.Context(), c, reference, stays, TypeCard, nil, []byte("# x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Volume(t.Context(), c, reference+"@"+gone.String(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := Remove(t.Context(), c, reference, gone); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[digest.Digest]bool{gone: false, report: false, signature: false, stays: true, card: true} {
		if there, err := c.Exists(t.Context(), reference+"@"+d.String()); err != nil || there != want {
			t.Errorf("%s is there: %v, %v", d, there, err)
		}
	}
	if list, err := c.List(t.Context(), "models/"); err != nil || len(list) != 1 || list[0].Tag != "latest" {
		t.Errorf("tags %+v, %v", list, err)
	}
	if err := Remove(t.Context(), c, reference, gone); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}
