package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/system/component"
	"polder.dev/polder/system/layout"
)

// supervisorLog is the name that `polder logs --component` knows the
// supervisor's own log by.
const supervisorLog = "supervisor"

// reportFD is where a detached supervisor tells its starter that it failed; it
// is closed, with nothing said, when the cloud is up.
const reportFD = 3

// foreground supervises the cloud in this process until SIGTERM or `polder down`.
func foreground(ctx context.Context, c layout.Cloud, detached bool, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if !detached {
		return supervise(ctx, logs.New(stderr), c, program, func() {})
	}
	report := os.NewFile(reportFD, "report")
	defer report.Close()
	syscall.CloseOnExec(reportFD)
	out := &lumberjack.Logger{Filename: c.Log(supervisorLog), MaxSize: max(1, int(c.Config.Logs.FileBytesMax>>20)), MaxBackups: c.Config.Logs.Files}
	defer out.Close()
	err = supervise(ctx, logs.New(out), c, program, func() { report.Close() })
	if err != nil {
		fmt.Fprint(report, err)
	}
	return err
}

// up starts a supervisor and returns when the cloud is up. Progress goes to w.
func up(ctx context.Context, c layout.Cloud, args []string, w io.Writer) (Status, error) {
	s, err := look(ctx, c)
	if err != nil {
		return s, err
	}
	var failed <-chan error
	if s.State == Down {
		if failed, err = detach(c, args); err != nil {
			return s, err
		}
	}
	return await(ctx, c, failed, w)
}

// detach starts the supervisor as a process of its own, and returns where it says
// why it failed; the channel is closed when it is up.
func detach(c layout.Cloud, args []string) (<-chan error, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if err := os.MkdirAll(c.Path("logs"), 0o700); err != nil {
		return nil, fmt.Errorf("making directory of logs: %w", err)
	}
	last, err := os.OpenFile(c.Path("logs", supervisorLog+".err"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	defer last.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making pipe: %w", err)
	}
	defer w.Close()
	cmd := exec.Command(program, append([]string{"up", "--foreground", "--detached", "--data-dir=" + c.Dir}, args...)...)
	cmd.Env, cmd.Dir = environment(), "/"
	cmd.Stderr = last // a panic's last words; everything else is in the log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, fmt.Errorf("starting supervisor: %w", err)
	}
	failed := make(chan error, 1)
	go func() { // ends when the supervisor is up or gone
		defer close(failed)
		defer r.Close()
		if b, _ := io.ReadAll(r); len(b) > 0 {
			failed <- errors.New(string(b))
		}
	}()
	return failed, nil
}

// await reports each component that gets ready, until all are.
func await(ctx context.Context, c layout.Cloud, failed <-chan error, w io.Writer) (Status, error) {
	told := map[string]bool{}
	began := time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		s, err := look(ctx, c)
		if err != nil {
			return s, err
		}
		for _, comp := range s.Components {
			if done := comp.State == component.Ready || comp.State == component.Done; done && !told[comp.Name] && s.State == Starting {
				told[comp.Name] = true
				fmt.Fprintf(w, "  %-24s ready after %4.1f s\n", comp.Name, time.Since(began).Seconds())
			}
		}
		if s.State == Up {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case err, ok := <-failed:
			if ok {
				return s, err
			}
			failed = nil // up, or killed: the next look tells
			if s, err = look(ctx, c); err != nil || s.State == Down {
				return s, errors.Join(err, fmt.Errorf("the supervisor ended before the cloud was up%s", lastWords(c)))
			}
		case <-tick.C:
			if failed == nil && s.State == Down {
				return s, fmt.Errorf("the supervisor ended before the cloud was up%s", lastWords(c))
			}
		}
	}
}

// lastWords is what the supervisor wrote before it died, if it did.
func lastWords(c layout.Cloud) string {
	b, err := os.ReadFile(c.Path("logs", supervisorLog+".err"))
	if err != nil || len(b) == 0 {
		return "; `polder logs --component " + supervisorLog + "` shows its log"
	}
	const most = 500
	return ": " + strings.TrimSpace(string(b[:min(len(b), most)]))
}
