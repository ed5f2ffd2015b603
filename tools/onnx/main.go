// Command polder-onnx runs models in ONNX: it serves one, as the entrypoint of the
// runtime onnx-cpu, or judges several for an Evaluation. It runs in pods, without rights,
// and reads what people and programs send; so every limit is its own.
//
// It is a program of its own because onnxruntime is C++, which nothing of polder links.
// The library is loaded when the program runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/tools/onnx/evaluate"
	"polder.dev/polder/tools/onnx/serve"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// errUsage is what was typed wrong.
var errUsage = errors.New("wrong usage")

// final is an error of what the program was given: running it again is of no use.
type final struct{ error }

const usage = `polder-onnx runs models in ONNX, in pods.

  polder-onnx serve     serves one model, over the Open Inference Protocol;
                        the environment says which (docs/formats/serving.md)
  polder-onnx evaluate  judges models, as an Evaluation asks
  polder-onnx version   prints the version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	line := "polder-onnx: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	fmt.Fprintln(os.Stderr, line)
	testament(line)
	if errors.Is(err, errUsage) || errors.Is(err, serve.ErrEnvironment) || errors.As(err, new(final)) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch {
	case name == "help" || name == "-h" || name == "--help":
		_, err := fmt.Fprint(out, usage)
		return err
	case name == "version" && len(args) == 1:
		_, err := fmt.Fprintln(out, version.Long())
		return err
	case name == "serve" && len(args) == 1:
		return serve.Run(ctx, logs.New(errs), os.Getenv)
	case name == "evaluate" && len(args) == 1:
		err := evaluate.Run(ctx, out, os.Getenv)
		if err != nil && evaluate.Final(err) {
			return final{err}
		}
		return err
	}
	return fmt.Errorf("%w: polder-onnx does not know %q; see polder-onnx help", errUsage, strings.Join(args, " "))
}

// terminationLog is where Kubernetes looks for a container's last words.
const terminationLog = "/dev/termination-log"

// testament leaves line for whoever asks why the container has ended. Where nobody will,
// there is no such file.
func testament(line string) {
	f, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = f.WriteString(line) // it was said on the standard error, too
}
