package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/internal/version"
)

// Engine is the part of the command line that works on the cloud of this machine
// and not through its API.
type Engine struct {
	// Commands are its verbs.
	Commands []*cobra.Command
	// LogNames lists the components that have a log, and ShowLog shows one.
	LogNames func() []string
	ShowLog  func(ctx context.Context, component string, follow bool, tail int, w io.Writer) error
}

// defaultDataDir is where a cloud lies unless somebody says otherwise.
const defaultDataDir = "/var/lib/polder"

// Run runs the command line and returns its exit code: 2 for what a person can
// put right in what they typed or wrote, 1 for everything else that fails. engine
// is bound to the program's --data-dir.
func Run(ctx context.Context, engine func(dataDir *string) Engine) int {
	return run(ctx, root(engine))
}

func run(ctx context.Context, cmd *cobra.Command) int {
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "polder:", err)
	if usage.Is(err) {
		return 2
	}
	return 1
}

func root(engine func(dataDir *string) Engine) *cobra.Command {
	dir := os.Getenv("POLDER_DATA_DIR")
	if dir == "" {
		dir = defaultDataDir
	}
	cmd := &cobra.Command{
		Use: "polder", Short: "An open cloud operating system for AI", Version: version.Long(),
		SilenceErrors: true, SilenceUsage: true,
	}
	cmd.PersistentFlags().StringVar(&dir, "data-dir", dir, "directory of the cloud; also POLDER_DATA_DIR")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagFault(err) })
	e := engine(&dir)
	cmd.AddCommand(e.Commands...)
	o := &options{dataDir: &dir}
	cmd.AddCommand(o.serve(), o.service(), o.predict(), o.route(), o.train(), o.jobs(), o.logs(e), o.cancel(), o.why(), o.queue(), o.model(), o.image(), o.runtime(), o.devices(), o.node(), o.sim(), o.defrag())
	cmd.AddCommand(o.key(), o.cp(), o.ls(), o.sync(), o.rm(), o.cat(), o.bucket(), o.dataset(), o.distil(), o.evaluate(), o.evaluation(), o.advise(), o.initialise(), o.demo())
	o.emulating(e.Commands)
	cmd.InitDefaultHelpCmd()
	cmd.InitDefaultCompletionCmd()
	misuse(cmd)
	return cmd
}

// misuse makes every complaint about a command line one that costs exit code 2.
func misuse(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs // as cobra has it for commands without verbs; others are below
	}
	cmd.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage.Error(err)
		}
		if err := missing(c); err != nil {
			return err
		}
		return flagFault(c.ValidateFlagGroups())
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage.Errorf("%s has no verb %q; see `%s --help`", c.CommandPath(), args[0], c.CommandPath())
			}
			return c.Help()
		}
	}
	for _, sub := range cmd.Commands() {
		misuse(sub)
	}
}
