package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry/remote"

	"polder.dev/polder/internal/bulk"
	"polder.dev/polder/model/registry"
)

const manifestBytesMax = 4 << 20

// ErrNoFile says that a model has no file of that name.
var ErrNoFile = errors.New("no such file")

// Artifact is a model in the registry.
type Artifact struct {
	Digest   digest.Digest
	Manifest ocispec.Manifest
	size     int64 // of the manifest
	client   *registry.Client
	ref      string
}

// Find reads the model under reference.
func Find(ctx context.Context, c *registry.Client, reference string) (*Artifact, error) {
	repo, ref, err := c.Repository(reference)
	if err != nil {
		return nil, err
	}
	d, b, err := fetchManifest(ctx, repo, ref.Identifier())
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, fmt.Errorf("reading %s: %w in the cloud's registry; `polder model ls` shows what is there", registry.Short(ref), registry.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", registry.Short(ref), registry.Reason(err))
	}
	a := &Artifact{Digest: d.Digest, size: d.Size, client: c, ref: reference}
	return a, a.parse(b)
}

// fetchManifest reads the manifest that identifier, a tag or a digest, means.
func fetchManifest(ctx context.Context, repo *oras.Repository, identifier string) (ocispec.Descriptor, []byte, error) {
	d, r, err := repo.Manifests().FetchReference(ctx, identifier)
	if err != nil {
		return d, nil, err
	}
	defer r.Close()
	if d.Size > manifestBytesMax {
		return d, nil, fmt.Errorf("its manifest has %d bytes, at most %d are read", d.Size, manifestBytesMax)
	}
	b, err := content.ReadAll(r, d) // checks size and digest
	return d, b, err
}

func (a *Artifact) parse(b []byte) error {
	if err := json.Unmarshal(b, &a.Manifest); err != nil {
		return fmt.Errorf("reading manifest of %s: %w", a.ref, err)
	}
	if a.Manifest.ArtifactType != ArtifactType {
		return fmt.Errorf("%s is not a model but %q", a.ref, a.Manifest.ArtifactType)
	}
	seen := map[string]bool{}
	for _, l := range a.Manifest.Layers {
		name := filepath.Clean(Path(l))
		if err := errors.Join(place(Path(l)), l.Digest.Validate()); err != nil {
			return fmt.Errorf("%s: %w", a.ref, err)
		}
		if seen[name] {
			return fmt.Errorf("%s has the file %q twice", a.ref, name)
		}
		seen[name] = true
	}
	return nil
}

// place refuses what is not the name of a file in a directory.
func place(name string) error {
	if !filepath.IsLocal(name) || filepath.Clean(name) == "." {
		return fmt.Errorf("the file %q would not lie in the model's directory", name)
	}
	return nil
}

// Path is the name of the file that layer holds.
func Path(layer ocispec.Descriptor) string { return layer.Annotations[pathAnnotation] }

// ReadFile returns one of the model's files, of at most bytesMax bytes.
func (a *Artifact) ReadFile(ctx context.Context, name string, bytesMax int64) ([]byte, error) {
	for _, l := range a.Manifest.Layers {
		if Path(l) != name {
			continue
		}
		if l.Size > bytesMax {
			return nil, fmt.Errorf("%s of %s has %d bytes, at most %d are read", name, a.ref, l.Size, bytesMax)
		}
		repo, _, err := a.client.Repository(a.ref)
		if err != nil {
			return nil, err
		}
		b, err := content.FetchAll(ctx, repo.Blobs(), l)
		if err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", name, a.ref, registry.Reason(err))
		}
		return b, nil
	}
	return nil, fmt.Errorf("reading %s of %s: %w", name, a.ref, ErrNoFile)
}

// Pull writes all files of the model into dir, which is made. A file appears
// under its name only when all of it has come and has the right digest. progress,
// if not nil, is told the bytes written so far and in all.
func (a *Artifact) Pull(ctx context.Context, dir string, progress func(done, total int64)) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer root.Close()
	var total, done int64
	for _, l := range a.Manifest.Layers {
		total += l.Size
	}
	for _, l := range a.Manifest.Layers {
		if err := a.pullFile(ctx, root, l); err != nil {
			return fmt.Errorf("pulling %s of %s: %w", Path(l), a.ref, registry.Reason(err))
		}
		if done += l.Size; progress != nil {
			progress(done, total)
		}
	}
	return nil
}

func (a *Artifact) pullFile(ctx context.Context, root *os.Root, l ocispec.Descriptor) error {
	repo, _, err := a.client.Repository(a.ref)
	if err != nil {
		return err
	}
	r, err := repo.Blobs().Fetch(ctx, l)
	if err != nil {
		return err
	}
	defer r.Close()
	name := filepath.Clean(Path(l))
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	part := filepath.Join(filepath.Dir(name), "."+l.Digest.Encoded()+".part") // no name of a model's file
	f, err := root.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err = save(f, r, l); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return err
}

// save writes r to f while it is checked to be what l says. Only after no error it is.
func save(f *os.File, r io.Reader, l ocispec.Descriptor) error {
	sum := l.Digest.Verifier()
	n, err := bulk.Copy(io.LimitReader(r, l.Size+1), sum, bulk.NewFile(f, true)) // the file is needed soon
	switch {
	case err != nil:
		return err
	case n < l.Size:
		return io.ErrUnexpectedEOF
	case n > l.Size:
		return content.ErrTrailingData
	case !sum.Verified():
		return content.ErrMismatchedDigest
	}
	return nil
}
