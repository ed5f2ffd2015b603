// Command polder is the whole of Polder in one program: the command line, the
// supervisor of a cloud, and each of the cloud's components.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

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
	if errors.Is(err, system.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}

func command() *cobra.Command {
	var dataDir string
	root := &cobra.Command{
		Use:           "polder",
		Short:         "An open cloud operating system for AI",
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&dataDir, "data-dir", "/var/lib/polder", "directory of the cloud")
	root.AddCommand(system.Commands(&dataDir)...)
	return root
}
