package pack

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/file"

	"polder.dev/polder/model/registry/registrytest"
)

// what some() holds, by path.
var someTexts = map[string]string{"weights/model.pt": "weights", "config.json": "{}", "README.md": "# Digits", "train.py": "pass", "metrics.jsonl": "{}\n"}

// TestReadByTheSpecification reads a model with nothing but HTTP and JSON, by the words of
// OCI distribution 1.1 and of ModelPack 0.0.7.
func TestReadByTheSpecification(t *testing.T) {
	s := registrytest.New(t)
	d, _ := push(t, open(t, s), some()...)
	get := func(path, accept string) []byte {
		t.Helper()
		trust := s.Reader.Clone()
		trust.ServerName, trust.MinVersion = "registry.polder.internal", tls.VersionTLS12
		client := http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/"+reference+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
		return b
	}
	blob := func(path, digest, accept string) []byte {
		t.Helper()
		b := get(path, accept)
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); got != digest {
			t.Errorf("%s is %s", path, got)
		}
		return b
	}
	type descriptor struct {
		MediaType, Digest string
		Size              int
		Annotations       map[string]string
	}
	var m struct {
		SchemaVersion           int
		MediaType, ArtifactType string
		Config                  descriptor
		Layers                  []descriptor
	}
	if err := json.Unmarshal(blob("/manifests/"+d.String(), d.String(), "application/vnd.oci.image.manifest.v1+json"), &m); err != nil {
		t.Fatal(err)
	}
	if m.SchemaVersion != 2 || m.MediaType != "application/vnd.oci.image.manifest.v1+json" || m.ArtifactType != "application/vnd.cncf.model.manifest.v1+json" {
		t.Errorf("manifest %+v", m)
	}
	var config struct {
		Descriptor struct {
			Name     string
			Licenses []string
		}
		ModelFS struct {
			Type    string
			DiffIDs []string `json:"diffIds"`
		}
		Config struct{ Format string }
	}
	if err := json.Unmarshal(blob("/blobs/"+m.Config.Digest, m.Config.Digest, "*/*"), &config); err != nil || m.Config.MediaType != "application/vnd.cncf.model.config.v1+json" {
		t.Fatal(m.Config.MediaType, err)
	}
	if config.ModelFS.Type != "layers" || len(config.ModelFS.DiffIDs) != len(m.Layers) || config.Descriptor.Name != "digits" {
		t.Errorf("configuration %+v", config)
	}
	files := map[string]string{}
	for i, l := range m.Layers {
		if !strings.HasPrefix(l.MediaType, "application/vnd.cncf.model.") || !strings.HasSuffix(l.MediaType, ".v1.raw") {
			t.Errorf("layer %+v", l)
		}
		b := blob("/blobs/"+l.Digest, l.Digest, "*/*")
		if len(b) != l.Size || config.ModelFS.DiffIDs[i] != l.Digest {
			t.Errorf("layer %d: %d bytes, diff %s", i, len(b), config.ModelFS.DiffIDs[i])
		}
		files[l.Annotations["org.cncf.model.filepath"]] = string(b)
	}
	if diff := cmp.Diff(someTexts, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestReadByORAS copies a model, and what refers to it, with the library of ORAS alone, to
// a layout of files as its command line does.
func TestReadByORAS(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	if _, err := AttachTo(t.Context(), c, reference, d, TypeCard, nil, []byte("# Card")); err != nil {
		t.Fatal(err)
	}
	from, _, err := c.Repository(reference)
	if err != nil {
		t.Fatal(err)
	}
	to, err := file.New(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	got, err := oras.ExtendedCopy(t.Context(), from, "latest", to, "latest", oras.DefaultExtendedCopyOptions)
	if err != nil || got.Digest != d {
		t.Fatalf("copied %s, %v", got.Digest, err)
	}
	b, err := content.FetchAll(t.Context(), to, got)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, l := range m.Layers {
		b, err := content.FetchAll(t.Context(), to, l)
		if err != nil {
			t.Fatal(err)
		}
		files[Path(l)] = string(b)
	}
	if diff := cmp.Diff(someTexts, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	about, err := to.Predecessors(t.Context(), got)
	if err != nil || len(about) != 1 {
		t.Fatalf("what refers to the copy: %v, %v", about, err)
	}
}

// TestReadByGoContainerRegistry reads a model with the library of crane.
func TestReadByGoContainerRegistry(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	img, err := c.Image(t.Context(), reference+"@"+d.String())
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, l := range m.Layers {
		layer, err := img.LayerByDigest(l.Digest)
		if err != nil {
			t.Fatal(err)
		}
		r, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
		files[l.Annotations["org.cncf.model.filepath"]] = b.String()
	}
	if diff := cmp.Diff(someTexts, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
