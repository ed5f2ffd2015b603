package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is what a test sees of an entry of a layer.
type entry struct {
	Name, Link, Text string
	Mode             int64
}

// entries reads the one layer of an image.
func entries(t *testing.T, img v1.Image) []entry {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []entry
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s carries a time or an owner: %+v", h.Name, h)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{h.Name, h.Linkname, string(b), h.Mode})
	}
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func write(t *testing.T, dir, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestOfDir(t *testing.T) {
	make := func() string {
		dir := t.TempDir()
		write(t, dir, "train.py", "pass", 0o600)
		write(t, dir, "run", "#!/bin/sh", 0o700)
		write(t, dir, "sub/x", "x", 0o644)
		for _, d := range ignored {
			write(t, dir, "sub/"+d+"/secret", "s", 0o644)
		}
		if err := os.Symlink("../run", filepath.Join(dir, "sub", "link")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := make()
	img, done, err := OfDir(first)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	want := []entry{
		{"run", "", "#!/bin/sh", 0o755}, {"sub/", "", "", 0o755}, {"sub/link", "../run", "", 0o644}, {"sub/x", "", "x", 0o644}, {"train.py", "", "pass", 0o644},
	}
	if d := cmp.Diff(want, entries(t, img)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	second := make()
	if err := os.Chtimes(filepath.Join(second, "run"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	again, done2, err := OfDir(second)
	if err != nil {
		t.Fatal(err)
	}
	defer done2()
	if a, b := digestOf(t, img), digestOf(t, again); a != b {
		t.Errorf("the same files are %s and %s", a, b)
	}
	cfg, err := img.ConfigFile()
	if err != nil || cfg.OS != "linux" || cfg.Architecture != runtime.GOARCH {
		t.Errorf("configuration %+v, %v", cfg, err)
	}
}

func TestOfDirRemovesItsFile(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dir := t.TempDir()
	write(t, dir, "a", "a", 0o644)
	_, done, err := OfDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	done()
	if _, _, err := OfDir(t.TempDir()); err == nil {
		t.Fatal("an empty directory was packed")
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestOfDirRefuses(t *testing.T) {
	link := func(to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Symlink(to, filepath.Join(dir, "sub", "link")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		add  func(*testing.T, string)
		want string
	}{
		"an absolute link":      {link("/etc/passwd"), "sub/link"},
		"a link that leads out": {link("../../x"), "leads out"},
		"a pipe": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "sub/a", "a", 0o644)
			tc.add(t, dir)
			if _, _, err := OfDir(dir); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v must name %s and the directory", err, tc.want)
			}
		})
	}
	if _, _, err := OfDir(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there was packed")
	}
}

func TestOfFiles(t *testing.T) {
	img, err := OfFiles([]File{{"pause", 0o755, []byte("x")}}, v1.Config{Entrypoint: []string{"/pause"}, User: "65535"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]entry{{"pause", "", "x", 0o755}}, entries(t, img)); d != "" {
		t.Error(d)
	}
	cfg, err := img.ConfigFile()
	if err != nil || cfg.Config.Entrypoint[0] != "/pause" || cfg.Config.User != "65535" {
		t.Errorf("%+v, %v", cfg, err)
	}
	m, err := img.Manifest()
	if err != nil || m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON || m.Layers[0].MediaType != types.OCILayer {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestOfTar(t *testing.T) {
	dir := t.TempDir()
	text := tarOf(t, tar.Header{Name: "etc/os-release", Mode: 0o644, ModTime: time.Unix(0, 0)}, "debian")
	path := filepath.Join(dir, "root.tar")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var done, total int64
	img, err := OfTar(path, dir, v1.Config{Cmd: []string{"python3"}}, func(d, n int64) { done, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	if done != int64(len(text)) || total != done {
		t.Errorf("progress ended at %d of %d bytes, of %d", done, total, len(text))
	}
	if d := cmp.Diff([]entry{{"etc/os-release", "", "debian", 0o644}}, entries(t, img)); d != "" {
		t.Error(d)
	}
	m, err := img.Manifest()
	if err != nil || m.Layers[0].MediaType != types.OCILayerZStd {
		t.Errorf("%+v, %v", m, err)
	}
	again, err := OfTar(path, dir, v1.Config{Cmd: []string{"python3"}}, nil)
	if err != nil || digestOf(t, again) != digestOf(t, img) {
		t.Errorf("the same tar is another image: %v", err)
	}
	if _, err := OfTar(filepath.Join(dir, "none"), dir, v1.Config{}, nil); err == nil {
		t.Error("a tar that is not there was packed")
	}
}

// tarOf is an archive of one file.
func tarOf(t *testing.T, h tar.Header, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h.Size = int64(len(text))
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarOfDir is what `tar -C dir -cf - .` writes: the root is in it, as ./.
func tarOfDir(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if h.Name = "./" + rel; rel == "." {
			h.Name = "./"
		}
		if err := w.WriteHeader(h); err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zip(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// forMachine is img with a platform in its index.
func forMachine(arch string) layout.Option {
	return layout.WithPlatform(v1.Platform{OS: "linux", Architecture: arch})
}

func TestOfArchive(t *testing.T) {
	img, err := random.Image(500, 2)
	if err != nil {
		t.Fatal(err)
	}
	other, err := random.Image(500, 1)
	if err != nil {
		t.Fatal(err)
	}
	oci := func(add func(layout.Path) error) []byte {
		dir := t.TempDir()
		p, err := layout.Write(dir, empty.Index)
		if err == nil {
			err = add(p)
		}
		if err != nil {
			t.Fatal(err)
		}
		return tarOfDir(t, dir)
	}
	docker := func(imgs ...v1.Image) []byte {
		all := map[name.Tag]v1.Image{}
		for i, one := range imgs {
			tag, err := name.NewTag("x:" + string(rune('a'+i)))
			if err != nil {
				t.Fatal(err)
			}
			all[tag] = one
		}
		var b bytes.Buffer
		if err := tarball.MultiWrite(all, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	inner := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})
	one := oci(func(p layout.Path) error { return p.AppendImage(img) })
	saved := docker(img)
	for what, tc := range map[string]struct {
		text []byte
		want string // of the error; empty for img
	}{
		"an OCI layout":            {one, ""},
		"an OCI layout, gzipped":   {zip(t, one), ""},
		"what docker saved":        {saved, ""},
		"what docker saved, gzip":  {zip(t, saved), ""},
		"an index within an index": {oci(func(p layout.Path) error { return p.AppendIndex(inner) }), ""},
		"one of several architectures": {oci(func(p layout.Path) error {
			return errors.Join(p.AppendImage(img, forMachine(runtime.GOARCH)), p.AppendImage(other, forMachine("mips")))
		}), ""},
		"another architecture":  {oci(func(p layout.Path) error { return p.AppendImage(other, forMachine("mips")) }), "linux/" + runtime.GOARCH},
		"two images":            {oci(func(p layout.Path) error { return errors.Join(p.AppendImage(img), p.AppendImage(other)) }), "it must have one"},
		"two images, of docker": {docker(img, other), "several images"},
		"some other archive":    {tarOf(t, tar.Header{Name: "a", Mode: 0o600}, "x"), "neither"},
		"no archive":            {[]byte("hello"), "reading archive"},
		"nothing":               {nil, "neither"},
		"torn":                  {one[:len(one)/2], "reading archive"},
		"torn gzip":             {zip(t, one)[:100], "reading archive"},
		"a path that leads out": {tarOf(t, tar.Header{Name: "../x", Mode: 0o600}, "x"), "../x"},
		"an absolute path":      {tarOf(t, tar.Header{Name: "/x", Mode: 0o600}, "x"), "/x"},
	} {
		t.Run(what, func(t *testing.T) {
			tmp := t.TempDir()
			t.Setenv("TMPDIR", tmp)
			path := filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(path, tc.text, 0o600); err != nil {
				t.Fatal(err)
			}
			got, done, err := OfArchive(path)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v must name the archive and %s", err, tc.want)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				if a, b := layersOf(t, got), layersOf(t, img); !cmp.Equal(a, b) {
					t.Errorf("layers %v, want %v", a, b)
				}
				done()
			}
			if left, _ := os.ReadDir(tmp); len(left) != 0 {
				t.Errorf("%d files are left", len(left))
			}
		})
	}
}

// layersOf are the digests of what is in the layers: docker saves them bare.
func layersOf(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range layers {
		d, err := l.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d.String())
	}
	return out
}

func TestAnArchiveFromAPipe(t *testing.T) {
	img, err := OfFiles([]File{{"a", 0o644, []byte("x")}}, v1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := tarOfDir(t, dir)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- os.WriteFile(pipe, text, 0o600) }()
	got, done, err := OfArchive(pipe)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	defer done()
	if a, b := digestOf(t, got), digestOf(t, img); a != b {
		t.Errorf("digest %s, want %s", a, b)
	}
}

// TestAnArchiveThatClaimsTooMuch: sizes that add up past what an integer holds
// are too much all the same; a sparse file makes them of a few bytes.
func TestAnArchiveThatClaimsTooMuch(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "a", Size: 1, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteHeader(&tar.Header{Name: "b", Size: math.MaxInt64, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OfArchive(path); err == nil || !strings.Contains(err.Error(), "GiB") {
		t.Errorf("error %v must name the limit", err)
	}
}

// TestAnIndexOfItself: a layout is foreign bytes, and may go round in a circle.
func TestAnIndexOfItself(t *testing.T) {
	dir := t.TempDir()
	if _, err := layout.Write(dir, empty.Index); err != nil {
		t.Fatal(err)
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	text, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{MediaType: types.OCIImageIndex, Digest: hash, Size: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "index.json", string(text), 0o644)
	write(t, dir, "blobs/sha256/"+hash.Hex, string(text), 0o644)
	if _, err := OfLayout(dir); err == nil || !strings.Contains(err.Error(), "indexes") {
		t.Errorf("error %v must say that indexes hold indexes", err)
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{"": "", "OCR digits!": "ocr-digits", "--a__b--": "a-b", "é": "", "x1": "x1"} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("OCR digits!")
	f.Fuzz(func(t *testing.T, s string) {
		got := Name(s)
		if got == "" {
			return
		}
		if _, err := name.NewRepository("host.example/" + got); err != nil && len(got) > 2 && len(got) < 200 || Name(got) != got {
			t.Errorf("Name(%q) = %q, which is no name: %v", s, got, err)
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("x"))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = unpack(path, dir)
		if out, _ := os.ReadDir(filepath.Dir(dir)); len(out) != 1 {
			t.Errorf("something was written outside of the directory: %v", out)
		}
	})
}
