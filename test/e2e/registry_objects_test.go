//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// largeBytes is the size of the file of a model that is looked for among the objects.
const largeBytes = 20 << 20

// TestRegistryOnObjects: a cloud whose registry kept files is told to keep objects. Nothing
// is lost, what is pushed is there for the administrator and for no tenant, it survives
// that both programs are killed, and goes with its model.
func TestRegistryOnObjects(t *testing.T) {
	c := own(t, "objects")
	c.up(t)
	old := c.imports(t, weights(t, 1, "mit"), "old")
	c.must(t, "down")

	config := write(t, filepath.Join(t.TempDir(), "objects.yaml"), "registry: {storage: objects}\n")
	c.must(t, "up", "--config", config)
	c.must(t, "model", "pull", "old@"+old, filepath.Join(t.TempDir(), "out"))
	waitFor(t, time.Minute, "the files of the registry among the objects", func(context.Context) error {
		return filepath.WalkDir(c.Path("registry"), func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.Contains(p, "/_uploads/") {
				err = fmt.Errorf("%s is a file", p)
			}
			return err
		})
	})
	c.must(t, "model", "pull", "old@"+old, filepath.Join(t.TempDir(), "out"))

	c.tiny(t) // pushes the probe's image
	c.output(t, probePod("default", "from-objects", "look"))
	dir := large(t)
	before := c.blobs(t)
	digest := c.imports(t, dir, "large")
	blob := ""
	for key, size := range c.blobs(t) {
		if _, ok := before[key]; !ok && size >= largeBytes {
			blob = key
		}
	}
	if blob == "" {
		t.Fatalf("the model is no object: there are %d blobs", len(before))
	}
	c.says(t, 1, []string{"denies it"}, "ls", "s3://registry")
	c.says(t, 1, []string{"denies it"}, "rm", "s3://registry/"+blob, "-n", "polder-system")

	c.killed(t, "registry", "object-store")
	out := filepath.Join(t.TempDir(), "out")
	c.must(t, "model", "pull", "large@"+digest, out)
	want, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(out, "model.safetensors")); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d of %d bytes came back, or others: %v", len(got), len(want), err)
	}

	c.must(t, "model", "rm", "large")
	c.isGone(t, &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "large"}})
	c.killed(t, "registry") // it is swept when it starts
	if _, there := c.blobs(t)[blob]; there {
		t.Errorf("%s is there after its model was removed", blob)
	}
	c.must(t, "model", "pull", "old@"+old, filepath.Join(t.TempDir(), "out"))

	c.must(t, "down")
	back := write(t, filepath.Join(t.TempDir(), "files.yaml"), "registry: {storage: files}\n")
	c.says(t, 2, []string{"registry.storage", "objects"}, "up", "--config", back)
}

// large writes a model of which no part is like any other's.
func large(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	header := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%[1]d]}}`, largeBytes)
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	random := make([]byte, largeBytes)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random) // never fails
	write(t, filepath.Join(dir, "model.safetensors"), string(append(b, random...)))
	return dir
}

// blobs are those of the registry's bucket, with their sizes, as the administrator sees them.
func (c *cloud) blobs(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	var list []struct {
		Key  string
		Size int64
	}
	text := c.must(t, "ls", "-r", "s3://registry/docker/registry/v2/blobs/", "-n", "polder-system", "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, o := range list {
		out[o.Key] = o.Size
	}
	return out
}

// killed kills components at once, and waits until they serve again.
func (c *cloud) killed(t *testing.T, names ...string) {
	t.Helper()
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	before := map[string]componentStatus{}
	for _, n := range names {
		if before[n], err = s.component(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range names {
		if err := syscall.Kill(before[n].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, 2*time.Minute, strings.Join(names, " and ")+" serving again", func(context.Context) error {
		s, err := c.status()
		if err != nil {
			return err
		}
		for _, n := range names {
			now, err := s.component(n)
			if err != nil || now.State != "Ready" || now.PID == before[n].PID {
				return fmt.Errorf("%+v, %v", now, err)
			}
		}
		return nil
	})
}
