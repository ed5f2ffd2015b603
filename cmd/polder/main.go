// Command polder is the whole of Polder in one program: the command line, the
// supervisor of a cloud, and each of the cloud's components.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"polder.dev/polder/cli"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/system"
)

func main() {
	if code, ok := system.Part(os.Args[1:]); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "polder:", err)
	if usage.Is(err) {
		os.Exit(2)
	}
	os.Exit(1)
}

func command() *cobra.Command {
	dir := os.Getenv("POLDER_DATA_DIR")
	if dir == "" {
		dir = "/var/lib/polder"
	}
	root := &cobra.Command{
		Use: "polder", Short: "An open cloud operating system for AI", Version: version.Long(),
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentFlags().StringVar(&dir, "data-dir", dir, "directory of the cloud; also POLDER_DATA_DIR")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage.Error(err) })
	root.AddCommand(system.Commands(&dir)...)
	root.AddCommand(cli.Commands(&dir, cli.ComponentLog{
		Names: func() []string { return system.LogNames(dir) },
		Show: func(ctx context.Context, name string, follow bool, tail int, w io.Writer) error {
			return system.ShowLog(ctx, dir, system.Log{Component: name, Follow: follow, Tail: tail}, w)
		},
	})...)
	misuse(root)
	return root
}

// misuse makes every complaint about a command line one that costs exit code 2.
func misuse(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error { return usage.Error(check(c, args)) }
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
