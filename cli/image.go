package cli

import (
	"errors"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/image"
	"polder.dev/polder/model/registry"
)

func (o *options) image() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "List, push and remove images of the cloud's registry"}
	cmd.AddCommand(o.imageList(), o.imagePush(), o.imageRemove())
	return cmd
}

// registry opens the registry of the cloud.
func (o *options) registry(cmd *cobra.Command) (*registry.Client, error) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, err
	}
	return store(cmd.Context(), c)
}

func (o *options) imageList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls [PREFIX]", Short: "List images, models and other artifacts",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("polder image ls takes at most one PREFIX, got %d", len(args))
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		images, err := o.registry(cmd)
		if err != nil {
			return err
		}
		prefix := ""
		if len(args) > 0 {
			prefix = args[0]
		}
		list, err := images.List(cmd.Context(), prefix)
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list)
		}
		rows := [][]string{{"REPOSITORY", "TAG", "SIZE", "DIGEST"}}
		for _, e := range list {
			rows = append(rows, []string{e.Repository, e.Tag, term.Bytes(e.SizeBytes), e.Digest})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

func (o *options) imagePush() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push FILE|DIR REPOSITORY[:TAG]",
		Short: "Push an archive that docker or an OCI tool saved, or the files of a directory",
		Long: `Push an image to the cloud's registry. FILE is an archive as docker save or
skopeo copy oci-archive: write it, for machines that reach no registry. DIR is an
OCI layout, or any directory, whose files become an image of one layer: that is
how data sets get to training jobs.

What lies below code/, data/ or images/ belongs to the namespace that comes next,
as in images/NAMESPACE/NAME: who may edit the namespace may push there, and only
its pods may use it. All else is for everybody to use, and for administrators to
push.`,
		Example: "  polder image push ./digits data/team-a/digits\n  docker save alpine | polder image push /dev/stdin library/alpine:3",
		Args:    exactly("FILE or DIR", "REPOSITORY[:TAG]"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := registry.Parse(args[1]); err != nil {
			return usage.Error(err)
		}
		img, done, err := openImage(args[0])
		if err != nil {
			return usage.Error(err)
		}
		defer done()
		images, err := o.registry(cmd)
		if err != nil {
			return err
		}
		progress, end := meter(cmd.ErrOrStderr(), args[1])
		digest, err := images.Push(cmd.Context(), args[1], img, progress)
		end()
		if err != nil {
			return err
		}
		ref, err := registry.Parse(args[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s@%s\n", registry.Short(ref), digest)
		return nil
	}
	return o.flags(cmd)
}

// openImage reads what is at path as an image.
func openImage(path string) (img v1.Image, done func(), err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	if !info.IsDir() {
		return image.OfArchive(path)
	}
	if image.IsLayout(path) {
		img, err := image.OfLayout(path)
		return img, func() {}, err
	}
	return image.OfDir(path)
}

func (o *options) imageRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm REPOSITORY[:TAG|@DIGEST]", Short: "Remove an image; its space is free after the registry's next start",
		Args: exactly("REPOSITORY[:TAG|@DIGEST]"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := registry.Parse(args[0]); err != nil {
			return usage.Error(err)
		}
		images, err := o.registry(cmd)
		if err != nil {
			return err
		}
		err = images.Remove(cmd.Context(), args[0])
		if errors.Is(err, registry.ErrNotFound) {
			return usage.Error(err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is removed.\n", args[0])
		return nil
	}
	return o.flags(cmd)
}
