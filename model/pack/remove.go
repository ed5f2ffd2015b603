package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/registry"
)

// Annotations of a model's manifest.
const (
	// AnnotationLineage is a v1alpha1.Lineage as JSON.
	AnnotationLineage = v1alpha1.Group + "/lineage"
	// AnnotationMetrics is an object in JSON of names and values in decimal notation.
	AnnotationMetrics = v1alpha1.Group + "/metrics"
)

// referDepth is how far removal follows what refers to what refers to a manifest.
const referDepth = 4

// Lineage is what the artifact says that it was made of. Who pushed it wrote it.
func (a *Artifact) Lineage() (v1alpha1.Lineage, error) {
	var l v1alpha1.Lineage
	text, ok := a.Manifest.Annotations[AnnotationLineage]
	if !ok {
		return l, nil
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return v1alpha1.Lineage{}, fmt.Errorf("reading the lineage of %s: %w", a.ref, err)
	}
	return l, nil
}

// Remove removes the manifest d of a repository with every tag of it, after what refers
// to it. It may be called again after it failed. What is not there is
// registry.ErrNotFound.
func Remove(ctx context.Context, c *registry.Client, repository string, d digest.Digest) error {
	return remove(ctx, c, repository, d, referDepth)
}

func remove(ctx context.Context, c *registry.Client, repository string, d digest.Digest, depth int) error {
	if depth == 0 {
		return fmt.Errorf("removing %s@%s: more than %d artifacts refer to each other", repository, d, referDepth)
	}
	all, err := Referrers(ctx, c, repository, d, "")
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := remove(ctx, c, repository, r.Digest, depth-1); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	return c.Remove(ctx, repository+"@"+d.String())
}
