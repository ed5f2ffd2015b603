// Command polder is the whole of Polder in one program: the command line, the
// supervisor of a cloud, and each of the cloud's components.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"polder.dev/polder/cli"
	"polder.dev/polder/system"
)

func main() {
	if code, ok := system.Part(os.Args[1:]); ok {
		os.Exit(code)
	}
	// Kubernetes' libraries leave their flags where cobra would pick them up.
	pflag.CommandLine = pflag.NewFlagSet("polder", pflag.ContinueOnError)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, func(dir *string) (engine cli.Engine) {
		engine.Commands = system.Commands(dir)
		engine.LogNames = func() []string { return system.LogNames(*dir) }
		engine.ShowLog = func(ctx context.Context, name string, follow bool, tail int, w io.Writer) error {
			return system.ShowLog(ctx, *dir, system.Log{Component: name, Follow: follow, Tail: tail}, w)
		}
		return engine
	})
	stop()
	os.Exit(code)
}
