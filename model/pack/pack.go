// Package pack keeps models as OCI artifacts in the CNCF ModelPack format
// (github.com/modelpack/model-spec): one layer per file, each with its own media
// type, so that a client can fetch the weights without the pictures. Clients and
// system import it. The same files and words always make the same digest: there is
// no time in it. What comes out of Pull has been checked against its digest.
package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry/remote"

	"polder.dev/polder/model/registry"
)

// Media types of the ModelPack specification, version 0.0.7.
const (
	ArtifactType   = "application/vnd.cncf.model.manifest.v1+json"
	configType     = "application/vnd.cncf.model.config.v1+json"
	weightType     = "application/vnd.cncf.model.weight.v1.raw"
	settingType    = "application/vnd.cncf.model.weight.config.v1.raw"
	docType        = "application/vnd.cncf.model.doc.v1.raw"
	codeType       = "application/vnd.cncf.model.code.v1.raw"
	pathAnnotation = "org.cncf.model.filepath"
)

// Model is what is said of a model beside its files.
type Model struct {
	// Name of the model.
	Name string
	// Format of the weights: the framework's name.
	Format string
	// Licence is an SPDX expression; may be empty.
	Licence string
	// Annotations of the manifest.
	Annotations map[string]string
	// Progress, if not nil, is told how many bytes are in the registry, and how many are to
	// be.
	Progress func(done, total int64)
}

// File is one file of a model. Open may be called twice: to hash and to send.
type File struct {
	Path string
	Size int64
	Open func() (io.ReadCloser, error)
}

// config is the artifact's configuration blob.
type config struct {
	Descriptor struct {
		Name     string   `json:"name,omitempty"`
		Licenses []string `json:"licenses,omitempty"`
	} `json:"descriptor"`
	ModelFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diffIds"`
	} `json:"modelfs"`
	Config struct {
		Format string `json:"format,omitempty"`
	} `json:"config"`
}

// extensions of files by media type; what is not here is taken for weights.
var extensions = map[string][]string{
	settingType: {".json", ".yaml", ".yml", ".toml", ".model"},
	docType:     {".md", ".txt", ".rst", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".csv", ".log", ".jsonl"},
	codeType:    {".py", ".ipynb", ".sh"},
}

func mediaType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	for t, exts := range extensions {
		if slices.Contains(exts, ext) {
			return t
		}
	}
	return weightType
}

// Push writes the model under reference and returns the manifest's digest and the
// size of all files.
func Push(ctx context.Context, c *registry.Client, reference string, m Model, files []File) (dgst digest.Digest, sizeBytes int64, err error) {
	repo, ref, err := c.Repository(reference)
	if err != nil {
		return "", 0, err
	}
	var cfg config
	cfg.Descriptor.Name, cfg.Config.Format, cfg.ModelFS.Type = m.Name, m.Format, "layers"
	if m.Licence != "" {
		cfg.Descriptor.Licenses = []string{m.Licence}
	}
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType, Annotations: m.Annotations,
	}
	sizes := likely(ctx, repo, ref.Identifier())
	tell := m.progress(files)
	for _, f := range files {
		d, err := pushFile(ctx, repo, f, sizes, tell)
		if err != nil {
			return "", 0, err
		}
		manifest.Layers = append(manifest.Layers, d)
		cfg.ModelFS.DiffIDs = append(cfg.ModelFS.DiffIDs, d.Digest)
		sizeBytes += d.Size
	}
	if manifest.Config, err = sendJSON(ctx, repo.Blobs(), configType, cfg); err != nil {
		return "", 0, fmt.Errorf("pushing configuration of %s: %w", m.Name, registry.Reason(err))
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		return "", 0, fmt.Errorf("writing manifest: %w", err)
	}
	d := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := repo.Manifests().PushReference(ctx, d, bytes.NewReader(b), ref.Identifier()); err != nil {
		return "", 0, fmt.Errorf("pushing manifest of %s: %w", registry.Short(ref), registry.Reason(err))
	}
	return d.Digest, sizeBytes, nil
}

// progress returns what counts the bytes of files that are sent, or nil.
func (m Model) progress(files []File) func(n int) {
	if m.Progress == nil {
		return nil
	}
	var done, total int64
	for _, f := range files {
		total += f.Size
	}
	return func(n int) {
		done += int64(n)
		m.Progress(done, total)
	}
}

// pushFile sends f, unless the registry has it.
func pushFile(ctx context.Context, repo *oras.Repository, f File, sizes map[int64]bool, tell func(n int)) (ocispec.Descriptor, error) {
	fail := func(err error) (ocispec.Descriptor, error) {
		return ocispec.Descriptor{}, fmt.Errorf("pushing %s: %w", f.Path, registry.Reason(err))
	}
	if sizes != nil && f.Size >= streamBytesMin && !sizes[f.Size] {
		d, err := stream(ctx, repo, f, tell)
		if err != nil {
			return fail(err)
		}
		return d, nil
	}
	d, err := describe(f)
	if err != nil {
		return d, err
	}
	if err := send(ctx, repo.Blobs(), d, f.Open); err != nil {
		return fail(err)
	}
	if tell != nil {
		tell(int(f.Size))
	}
	return d, nil
}

// describe hashes f.
func describe(f File) (ocispec.Descriptor, error) {
	if err := place(f.Path); err != nil {
		return ocispec.Descriptor{}, err
	}
	r, err := f.Open()
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("opening %s: %w", f.Path, err)
	}
	defer r.Close()
	h := digest.Canonical.Digester()
	n, err := io.Copy(h.Hash(), r)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading %s: %w", f.Path, err)
	}
	if n != f.Size {
		return ocispec.Descriptor{}, fmt.Errorf("%s changed while it was read: %d bytes instead of %d", f.Path, n, f.Size)
	}
	return describes(f, h.Digest()), nil
}

// store is what blobs are sent to.
type store interface {
	Exists(context.Context, ocispec.Descriptor) (bool, error)
	Push(context.Context, ocispec.Descriptor, io.Reader) error
}

func send(ctx context.Context, to store, d ocispec.Descriptor, open func() (io.ReadCloser, error)) error {
	there, err := to.Exists(ctx, d)
	if there {
		return nil
	}
	if err != nil && !errors.Is(registry.Reason(err), registry.ErrDenied) { // a refusal has its words in the answer to the push
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := to.Push(ctx, d, r); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	return nil
}

func sendJSON(ctx context.Context, to store, media string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: media, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, send(ctx, to, d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
}
