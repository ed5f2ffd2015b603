package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"polder.dev/polder/api/v1alpha1"
)

// Entry is one tag of one repository.
type Entry struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
	// Type is the artifact's media type: an image's configuration, or what the
	// artifact says it is.
	Type string `json:"type"`
	// SizeBytes of all layers, compressed as they are.
	SizeBytes int64 `json:"sizeBytes"`
}

// List lists all tags of the repositories whose name begins with prefix. What
// only refers to an image is not listed.
func (c *Client) List(ctx context.Context, prefix string) ([]Entry, error) {
	host, err := name.NewRegistry(v1alpha1.RegistryHost)
	if err != nil {
		return nil, err
	}
	repos, err := remote.Catalog(ctx, host, c.options(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("listing repositories: %w", Reason(err))
	}
	out := []Entry{}
	for _, r := range repos {
		if !strings.HasPrefix(r, prefix) {
			continue
		}
		es, err := c.tags(ctx, host.Repo(r))
		if err != nil {
			return nil, err
		}
		out = append(out, es...)
	}
	return out, nil
}

func (c *Client) tags(ctx context.Context, repo name.Repository) ([]Entry, error) {
	tags, err := remote.List(repo, c.options(ctx)...)
	if err != nil {
		if strings.Contains(err.Error(), "NAME_UNKNOWN") { // all its tags were removed
			return nil, nil
		}
		return nil, fmt.Errorf("listing %s: %w", repo.RepositoryStr(), Reason(err))
	}
	var out []Entry
	for _, t := range tags {
		if strings.HasPrefix(t, "sha256-") { // OCI's tag for referrers
			continue
		}
		e, err := c.entry(ctx, repo.Tag(t))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (c *Client) entry(ctx context.Context, tag name.Tag) (Entry, error) {
	d, err := remote.Get(tag, c.options(ctx)...)
	if err != nil {
		return Entry{}, fmt.Errorf("reading %s: %w", Short(tag), Reason(err))
	}
	e := Entry{Repository: tag.RepositoryStr(), Tag: tag.TagStr(), Digest: d.Digest.String(), Type: string(d.MediaType)}
	var m struct {
		ArtifactType string
		Config       v1.Descriptor
		Layers       []v1.Descriptor
	}
	if err := json.Unmarshal(d.Manifest, &m); err != nil {
		return Entry{}, fmt.Errorf("reading manifest of %s: %w", Short(tag), err)
	}
	if m.Config.MediaType != "" {
		e.Type = string(m.Config.MediaType)
	}
	if m.ArtifactType != "" {
		e.Type = m.ArtifactType
	}
	for _, l := range m.Layers {
		e.SizeBytes += l.Size
	}
	return e, nil
}
