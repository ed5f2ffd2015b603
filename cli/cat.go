package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

func (o *options) cat() *cobra.Command {
	s := o.objects()
	var version string
	cmd := &cobra.Command{
		Use: "cat s3://BUCKET/KEY...", Short: "Write objects to standard output", ValidArgsFunction: s.completeAddresses,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.Errorf("polder cat takes s3://BUCKET/KEY, got none")
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var all []transfer.Address
		for _, arg := range args {
			a, err := address(arg)
			if err == nil && a.Key == "" {
				err = usage.Errorf("%s is no object", a)
			}
			if err != nil {
				return err
			}
			all = append(all, a)
		}
		if version != "" && len(all) > 1 {
			return usage.Errorf("--version-id is of one object, and there are %d", len(all))
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		var failed []error
		var m transfer.Meter
		for _, a := range all {
			failed = append(failed, misnamed(c.Read(cmd.Context(), a, version, cmd.OutOrStdout(), &m)))
		}
		return errors.Join(failed...)
	}
	cmd.Flags().StringVar(&version, "version-id", "", "this version, instead of the newest")
	_ = cmd.RegisterFlagCompletionFunc("version-id", cobra.NoFileCompletions)
	return s.flags(cmd)
}
