package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry/remote"

	"polder.dev/polder/model/registry"
)

// Types of what refers to a version of a model; docs/formats/model.md, section 6.
const (
	// TypeLineage is a v1alpha1.Lineage as JSON.
	TypeLineage = "application/vnd.polder.lineage.v1+json"
	// TypeEvaluation is the report of an Evaluation as JSON.
	TypeEvaluation = "application/vnd.polder.evaluation.v1+json"
	// TypeCard is a model card, Markdown.
	TypeCard = "application/vnd.polder.card.v1+markdown"
	// TypeSignature and TypeBundle are what cosign leaves. They are shown, and not
	// verified.
	TypeSignature = "application/vnd.dev.cosign.artifact.sig.v1+json"
	TypeBundle    = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Referrer is an artifact that refers to another.
type Referrer struct {
	// Digest of its manifest.
	Digest digest.Digest `json:"digest"`
	// ArtifactType says what it is.
	ArtifactType string `json:"artifactType"`
	// Annotations of its manifest.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Attach pushes text as an artifact of the given type that refers to img, which is
// in the repository already: a bill of materials, a signature, a card.
func Attach(ctx context.Context, c *registry.Client, repository string, img v1.Image, artifactType string, text []byte) error {
	d, err := img.Digest()
	if err != nil {
		return fmt.Errorf("describing %s: %w", repository, err)
	}
	_, err = AttachTo(ctx, c, repository, digest.Digest(d.String()), artifactType, nil, text)
	return err
}

// Put pushes text as an artifact of the given type that refers to nothing, and returns the
// digest of its manifest. The same words always make the same digest.
func Put(ctx context.Context, c *registry.Client, repository, artifactType string, annotations map[string]string, text []byte) (digest.Digest, error) {
	repo, ref, err := c.Repository(repository)
	if err != nil {
		return "", err
	}
	d, err := put(ctx, repo, nil, artifactType, annotations, text)
	if err != nil {
		return "", fmt.Errorf("pushing to %s: %w", ref.Context().RepositoryStr(), registry.Reason(err))
	}
	return d, nil
}

// put pushes text with its manifest.
func put(ctx context.Context, repo *oras.Repository, subject *ocispec.Descriptor, artifactType string, annotations map[string]string, text []byte) (digest.Digest, error) {
	b, err := manifestOf(ctx, repo, subject, artifactType, annotations, text)
	if err != nil {
		return "", err
	}
	m := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := repo.Manifests().Push(ctx, m, bytes.NewReader(b)); err != nil { // and the index of referrers, where the registry keeps none
		return "", err
	}
	return m.Digest, nil
}

// AttachTo pushes text as an artifact of the given type that refers to the manifest
// subject, which is in the repository already, and returns the digest of its
// manifest. The same words always make the same digest, so that attaching twice is
// attaching once.
func AttachTo(
	ctx context.Context, c *registry.Client, repository string, subject digest.Digest, artifactType string, annotations map[string]string, text []byte,
) (digest.Digest, error) {
	repo, ref, err := c.Repository(repository)
	if err != nil {
		return "", err
	}
	fail := func(err error) (digest.Digest, error) {
		return "", fmt.Errorf("pushing what refers to %s@%s: %w", ref.Context().RepositoryStr(), subject, registry.Reason(err))
	}
	if err := subject.Validate(); err != nil {
		return fail(err)
	}
	to, err := repo.Manifests().Resolve(ctx, subject.String())
	if err != nil {
		return fail(err)
	}
	d, err := put(ctx, repo, &ocispec.Descriptor{MediaType: to.MediaType, Digest: to.Digest, Size: to.Size}, artifactType, annotations, text)
	if err != nil {
		return fail(err)
	}
	return d, nil
}

// manifestOf pushes the blobs of an artifact, and returns the manifest.
func manifestOf(
	ctx context.Context, repo *oras.Repository, subject *ocispec.Descriptor, artifactType string, annotations map[string]string, text []byte,
) ([]byte, error) {
	d := ocispec.Descriptor{MediaType: artifactType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	if err := send(ctx, repo.Blobs(), d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }); err != nil {
		return nil, err
	}
	if err := send(ctx, repo.Blobs(), ocispec.DescriptorEmptyJSON, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(ocispec.DescriptorEmptyJSON.Data)), nil
	}); err != nil {
		return nil, err
	}
	return json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{d}, Subject: subject, Annotations: annotations,
	})
}

// Referrers lists what refers to the manifest subject: what is of the given type, or
// everything if that is empty. It is in the order of digests.
func Referrers(ctx context.Context, c *registry.Client, repository string, subject digest.Digest, artifactType string) ([]Referrer, error) {
	repo, ref, err := c.Repository(repository)
	if err != nil {
		return nil, err
	}
	var out []Referrer
	err = repo.Referrers(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject}, artifactType, func(found []ocispec.Descriptor) error {
		for _, d := range found {
			out = append(out, Referrer{Digest: d.Digest, ArtifactType: d.ArtifactType, Annotations: d.Annotations})
		}
		return nil
	})
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return nil, fmt.Errorf("listing what refers to %s@%s: %w", ref.Context().RepositoryStr(), subject, registry.Reason(err))
	}
	slices.SortFunc(out, func(a, b Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return out, nil
}

// ReadReferrer returns the text, of at most bytesMax bytes, that was attached as d.
func ReadReferrer(ctx context.Context, c *registry.Client, repository string, d digest.Digest, bytesMax int64) ([]byte, error) {
	repo, ref, err := c.Repository(repository)
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("reading %s@%s: %w", ref.Context().RepositoryStr(), d, registry.Reason(err))
	}
	_, b, err := fetchManifest(ctx, repo, d.String())
	if err != nil {
		return fail(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fail(err)
	}
	if len(m.Layers) != 1 || m.Layers[0].Digest.Validate() != nil {
		return fail(fmt.Errorf("it has %d layers, not one", len(m.Layers)))
	}
	if m.Layers[0].Size > bytesMax {
		return fail(fmt.Errorf("it has %d bytes, at most %d are read", m.Layers[0].Size, bytesMax))
	}
	text, err := content.FetchAll(ctx, repo.Blobs(), m.Layers[0])
	if err != nil {
		return fail(err)
	}
	return text, nil
}
