package pack

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"polder.dev/polder/model/registry"
)

// Copy gives the model at reference another name in the registry: repository gets its
// manifest, its files and all that refers to it (lineage, evaluations, cards), with the
// same digests, and the tag latest. What is there already is not sent, and blobs are
// mounted, not moved. It returns the reference there. Copying twice is copying once.
func Copy(ctx context.Context, c *registry.Client, reference, repository string) (string, error) {
	a, err := Find(ctx, c, reference)
	if err != nil {
		return "", err
	}
	from, ref, err := c.Repository(reference)
	if err != nil {
		return "", err
	}
	to, _, err := c.Repository(repository)
	if err != nil {
		return "", err
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("copying %s to %s: %w", reference, repository, registry.Reason(err))
	}
	d, err := from.Manifests().Resolve(ctx, a.Digest.String())
	if err != nil {
		return fail(err)
	}
	source := ref.Context().RepositoryStr()
	opts := oras.ExtendedCopyGraphOptions{CopyGraphOptions: oras.CopyGraphOptions{
		MountFrom: func(context.Context, ocispec.Descriptor) ([]string, error) { return []string{source}, nil },
	}}
	if err := oras.ExtendedCopyGraph(ctx, from, to, d, opts); err != nil {
		return fail(err)
	}
	if err := to.Tag(ctx, d, "latest"); err != nil {
		return fail(err)
	}
	return repository + "@" + a.Digest.String(), nil
}
