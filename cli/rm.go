package cli

import (
	"github.com/spf13/cobra"
)

func (o *options) rm() *cobra.Command {
	s := o.objects()
	var deep, versions bool
	cmd := &cobra.Command{
		Use:   "rm s3://BUCKET/KEY",
		Short: "Remove objects",
		Long: `Remove an object, or with -r all objects below a prefix. In a bucket with versioning
they become older versions that can be had back; --versions removes all versions for
good.`,
		Args: exactly("s3://BUCKET/KEY"), ValidArgsFunction: s.completeAddresses,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := address(args[0])
		if err != nil {
			return err
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		p, err := c.Removing(cmd.Context(), a, deep, versions)
		if err != nil {
			return misnamed(err)
		}
		defer p.Close()
		t := newTranscript(cmd, "rm", false)
		if err := t.run(cmd.Context(), c, p); err != nil {
			return err
		}
		return t.close()
	}
	cmd.Flags().BoolVarP(&deep, "recursive", "r", false, "all objects below a prefix")
	cmd.Flags().BoolVar(&versions, "versions", false, "all versions and delete markers, for good")
	return s.flags(cmd)
}
