package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

func (o *options) bucketLogging() *cobra.Command {
	cmd := &cobra.Command{Use: "logging", Short: "Read and write where the bucket's access logs go: who asked what of it"}
	cmd.AddCommand(o.loggingGet(), o.loggingSet(), o.loggingRemove())
	return cmd
}

func (o *options) loggingGet() *cobra.Command {
	s := o.objects()
	cmd := &cobra.Command{Use: "get NAME", Short: "Show where the access logs of a bucket go", Args: exactly("NAME"), ValidArgsFunction: s.completeBuckets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		l, err := c.Logging(cmd.Context(), args[0])
		if err != nil {
			return misnamed(err)
		}
		if s.json() {
			return printJSON(cmd.OutOrStdout(), l)
		}
		return term.Table(cmd.OutOrStdout(), [][]string{
			{"Bucket", transfer.Printable(l.Bucket)}, {"Prefix", or(transfer.Printable(l.Prefix), "none")}, {"Days apart", or(l.Day, "no")},
		})
	}
	return s.flags(cmd, "json")
}

func (o *options) loggingSet() *cobra.Command {
	s := o.objects()
	var l transfer.Logging
	cmd := &cobra.Command{Use: "set NAME", Short: "Log the accesses to a bucket into another of the same owner", Args: exactly("NAME"), ValidArgsFunction: s.completeBuckets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if l.Bucket == "" {
			return usage.Errorf("--to is missing; name the bucket that the logs go to")
		}
		if l.Day != "" && l.Day != "event" && l.Day != "delivery" {
			return usage.Errorf("--day %s is not known; write event or delivery", l.Day)
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if err := c.SetLogging(cmd.Context(), args[0], &l); err != nil {
			return misnamed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Accesses to bucket %s are logged to s3://%s/%s.\n", args[0], l.Bucket, l.Prefix)
		return nil
	}
	f := cmd.Flags()
	f.StringVar(&l.Bucket, "to", "", "the bucket that the logs go to")
	f.StringVar(&l.Prefix, "prefix", "", "what the logs' keys begin with, such as data/")
	f.StringVar(&l.Day, "day", "", "put owner, region, bucket and day behind the prefix: event, the day of the requests, or delivery, that of the log")
	_ = cmd.RegisterFlagCompletionFunc("to", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return s.completeBuckets(cmd, nil, typed)
	})
	_ = cmd.RegisterFlagCompletionFunc("prefix", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("day", cobra.FixedCompletions([]string{"event", "delivery"}, cobra.ShellCompDirectiveNoFileComp))
	return s.flags(cmd)
}

func (o *options) loggingRemove() *cobra.Command {
	s := o.objects()
	cmd := &cobra.Command{Use: "rm NAME", Short: "Log the accesses to a bucket no longer; the logs that are there stay", Args: exactly("NAME"), ValidArgsFunction: s.completeBuckets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if err := c.SetLogging(cmd.Context(), args[0], nil); err != nil {
			return misnamed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Accesses to bucket %s are logged no longer.\n", args[0])
		return nil
	}
	return s.flags(cmd)
}
