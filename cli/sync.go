package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
)

func (o *options) sync() *cobra.Command {
	s := o.objects()
	var remove, dry, content bool
	cmd := &cobra.Command{
		Use:   "sync SOURCE DESTINATION",
		Short: "Make a directory or a prefix like another one",
		Long: `Copy what is missing or differs below DESTINATION from what is below SOURCE; one of
them at least is s3://BUCKET/PREFIX. What has the same size and time is the same: a
file's time is kept with its object, as rclone does. With --checksum contents are
compared, by the checksums that the store has.

With --delete what SOURCE does not have is removed, after all else and only if nothing
failed.`,
		Example: "  polder sync ./dataset s3://data/dataset --delete --dry-run\n  polder sync s3://models/llama /models/llama",
		Args:    exactly("SOURCE", "DESTINATION"), ValidArgsFunction: s.completeAddresses,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, to, err := fromTo(args)
		if err != nil {
			return err
		}
		if from.Stream() || to.Stream() {
			return usage.Errorf("sync compares directories, and - is none")
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		p, err := c.Syncing(cmd.Context(), from, to, content, dry)
		if err != nil {
			return misnamed(err)
		}
		defer p.Close()
		t := newTranscript(cmd, "sync", dry)
		if err := t.run(cmd.Context(), c, p); err != nil {
			return err
		}
		if t.meter.Failed.Load() > 0 {
			if remove {
				fmt.Fprintln(cmd.ErrOrStderr(), "nothing is removed, since not all was copied")
			}
			return t.close()
		}
		if remove {
			extra, err := c.Extra(cmd.Context(), from, to, dry)
			if err != nil {
				return misnamed(err)
			}
			defer extra.Close()
			if err := t.run(cmd.Context(), c, extra); err != nil {
				return err
			}
		}
		return t.close()
	}
	cmd.Flags().BoolVar(&remove, "delete", false, "remove what SOURCE does not have")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	cmd.Flags().BoolVar(&content, "checksum", false, "compare contents instead of times")
	s.moving(cmd)
	return s.flags(cmd)
}
