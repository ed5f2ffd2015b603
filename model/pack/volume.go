package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"polder.dev/polder/model/registry"
)

// VolumeType is the artifact type of the image that has a model's files as a file
// system.
const VolumeType = "application/vnd.polder.model.volume.v1"

// volumeTag is the tag of that image, followed by the beginning of the model's digest.
const volumeTag = "volume-"

// volumeTagDigits of the model's digest are enough to tell it from others, and short
// enough for a tag.
const volumeTagDigits = 40

// Volume returns the reference, by digest, of an image whose root holds the files of
// the model at reference. Container runtimes mount images as volumes, but pass over
// layers of types that they do not know, as a model's are. The image is made when it is
// first asked for, in the model's repository, and refers to the model; its one layer is
// a tar that is not compressed, and lies in dir until it is pushed. The same model
// always makes the same image.
func Volume(ctx context.Context, c *registry.Client, reference, dir string) (string, error) {
	a, err := Find(ctx, c, reference)
	if err != nil {
		return "", err
	}
	_, ref, err := c.Repository(reference)
	if err != nil {
		return "", err
	}
	repository := ref.Context().RepositoryStr()
	tag := repository + ":" + volumeTag + a.Digest.Encoded()[:volumeTagDigits]
	have, err := c.Digest(ctx, tag)
	if err == nil {
		return repository + "@" + have.String(), nil
	}
	if !errors.Is(err, registry.ErrNotFound) {
		return "", err
	}
	d, err := a.pushVolume(ctx, tag, dir)
	if err != nil {
		return "", fmt.Errorf("making a volume of %s: %w", reference, registry.Reason(err))
	}
	return repository + "@" + d.String(), nil
}

func (a *Artifact) pushVolume(ctx context.Context, tag, dir string) (digest.Digest, error) {
	repo, ref, err := a.client.Repository(tag)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "model-*.tar")
	if err != nil {
		return "", err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	h := digest.Canonical.Digester()
	if err := a.tar(ctx, io.MultiWriter(f, h.Hash())); err != nil {
		return "", err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", err
	}
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: h.Digest(), Size: size}
	err = send(ctx, repo.Blobs(), layer, func() (io.ReadCloser, error) { return os.Open(f.Name()) })
	if err != nil {
		return "", err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: VolumeType,
		Layers:  []ocispec.Descriptor{layer},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: a.Digest, Size: a.size},
	}
	m.Config, err = sendJSON(ctx, repo.Blobs(), ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d.Digest, repo.Manifests().PushReference(ctx, d, bytes.NewReader(b), ref.Identifier())
}

// tar writes the model's files, readable by everybody, and the directories above them.
func (a *Artifact) tar(ctx context.Context, out io.Writer) error {
	w := tar.NewWriter(out)
	made := map[string]bool{".": true}
	layers := slices.SortedFunc(slices.Values(a.Manifest.Layers), func(x, y ocispec.Descriptor) int { return strings.Compare(Path(x), Path(y)) })
	for _, l := range layers {
		name := path.Clean(Path(l))
		if err := directories(w, path.Dir(name), made); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: l.Size, Format: tar.FormatPAX, ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := a.copy(ctx, w, l); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return w.Close()
}

func directories(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := directories(w, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, Format: tar.FormatPAX, ModTime: time.Unix(0, 0)})
}

// copy writes one file of the model to w, and checks it.
func (a *Artifact) copy(ctx context.Context, w io.Writer, l ocispec.Descriptor) error {
	repo, _, err := a.client.Repository(a.ref)
	if err != nil {
		return err
	}
	r, err := repo.Blobs().Fetch(ctx, l)
	if err != nil {
		return err
	}
	defer r.Close()
	v := content.NewVerifyReader(r, l)
	if _, err := io.Copy(w, v); err != nil {
		return err
	}
	return v.Verify()
}
