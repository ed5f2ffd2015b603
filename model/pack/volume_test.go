package pack

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

func TestVolumeHasTheModelsFiles(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	dir := t.TempDir()
	ref, err := Volume(t.Context(), c, reference+"@"+d.String(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	img, err := c.Image(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	if id, err := layers[0].DiffID(); err != nil {
		t.Fatal(err)
	} else if cfg, err := img.ConfigFile(); err != nil || cfg.OS != "linux" || len(cfg.RootFS.DiffIDs) != 1 || cfg.RootFS.DiffIDs[0] != id {
		t.Errorf("the configuration %+v, %v does not name the layer %s", cfg, err, id)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(b)
	}
	want := map[string]string{
		"weights/": "", "weights/model.pt": "weights", "config.json": "{}", "README.md": "# Digits", "train.py": "pass", "metrics.jsonl": "{}\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	found, err := c.Referrers(t.Context(), reference+"@"+d.String(), VolumeType)
	if err != nil || len(found) != 1 || !strings.HasSuffix(ref, found[0].Digest.String()) {
		t.Errorf("what refers to the model is %v, %v; it must be %s", found, err, ref)
	}
	if again, err := Volume(t.Context(), c, reference+"@"+d.String(), dir); err != nil || again != ref {
		t.Errorf("asked again it is %s, %v", again, err)
	}
}

func TestVolumeRefuses(t *testing.T) {
	c := open(t, registrytest.New(t))
	if _, err := Volume(t.Context(), c, reference, t.TempDir()); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("of a model that is not there: %v", err)
	}
}
