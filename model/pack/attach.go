package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"polder.dev/polder/model/registry"
)

// Attach pushes text as an artifact of the given type that refers to img, which is
// in the repository already: a bill of materials, a signature, a card.
func Attach(ctx context.Context, c *registry.Client, repository string, img v1.Image, artifactType string, text []byte) error {
	repo, _, err := c.Repository(repository)
	if err != nil {
		return err
	}
	subject, err := subjectOf(img)
	if err != nil {
		return fmt.Errorf("describing %s: %w", repository, err)
	}
	d := ocispec.Descriptor{MediaType: artifactType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if err := send(ctx, repo.Blobs(), d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }); err != nil {
		return fmt.Errorf("pushing what refers to %s: %w", repository, registry.Reason(err))
	}
	if err := send(ctx, repo.Blobs(), ocispec.DescriptorEmptyJSON, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(ocispec.DescriptorEmptyJSON.Data)), nil
	}); err != nil {
		return fmt.Errorf("pushing what refers to %s: %w", repository, registry.Reason(err))
	}
	b, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{d}, Subject: subject,
	})
	if err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	m := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := repo.Manifests().Push(ctx, m, bytes.NewReader(b)); err != nil { // and the index of referrers, where the registry keeps none
		return fmt.Errorf("pushing what refers to %s: %w", repository, registry.Reason(err))
	}
	return nil
}

func subjectOf(img v1.Image) (*ocispec.Descriptor, error) {
	d, err := img.Digest()
	if err != nil {
		return nil, err
	}
	size, err := img.Size()
	if err != nil {
		return nil, err
	}
	media, err := img.MediaType()
	if err != nil {
		return nil, err
	}
	return &ocispec.Descriptor{MediaType: string(media), Digest: digest.Digest(d.String()), Size: size}, nil
}
