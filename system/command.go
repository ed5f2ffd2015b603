package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/system/component"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/system/preflight"
)

// Commands are the verbs of the engine. dataDir is bound to the program's
// --data-dir and read when a verb runs.
func Commands(dataDir *string) []*cobra.Command {
	v := &verbs{dataDir: dataDir}
	return []*cobra.Command{v.up(), v.down(), v.status(), v.kubeconfig(), v.reset(), v.preflight(), v.driver(), v.scheduler(), v.store(), v.disk()}
}

type verbs struct{ dataDir *string }

func (v *verbs) open(file string) (layout.Cloud, error) {
	c, err := Open(*v.dataDir, file)
	return c, usage.Error(err)
}

// root refuses everybody else: all of a cloud's files are root's.
func root() error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root; run it with sudo")
	}
	return nil
}

func (v *verbs) up() *cobra.Command {
	var config string
	var stay, detached bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the cloud, and return when it is ready",
		Long: `Start the cloud on this machine, and return when its node is ready for pods.
It is harmless when the cloud is up. Configuration that is not given with
--config is that of the last start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.open(config)
			if err != nil {
				return err
			}
			if detached {
				return foreground(cmd.Context(), c, true, cmd.ErrOrStderr())
			}
			if err := root(); err != nil {
				return err
			}
			s, err := look(cmd.Context(), c)
			if err != nil {
				return err
			}
			if s.State == Down {
				if err := check(cmd.Context(), c, cmd.ErrOrStderr()); err != nil {
					return err
				}
			}
			if stay {
				return foreground(cmd.Context(), c, false, cmd.ErrOrStderr())
			}
			return v.start(cmd, c, config, s)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "file of the cloud's configuration (kind CloudConfig)")
	cmd.Flags().BoolVar(&stay, "foreground", false, "stay, and log to the standard error; for systemd and containers")
	cmd.Flags().BoolVar(&detached, "detached", false, "")
	_ = cmd.Flags().MarkHidden("detached")
	return cmd
}

func (v *verbs) start(cmd *cobra.Command, c layout.Cloud, config string, before Status) error {
	out := cmd.OutOrStdout()
	if before.State == Up {
		return already(out, c, config, before)
	}
	var args []string
	if config != "" {
		abs, err := filepath.Abs(config)
		if err != nil {
			return usage.Errorf("--config %s: %w", config, err)
		}
		args = append(args, "--config="+abs)
	}
	began := time.Now()
	fmt.Fprintf(out, "Starting the cloud in %s\n", c.Dir)
	if _, err := up(cmd.Context(), c, args, out); err != nil {
		return fmt.Errorf("starting the cloud: %w", err)
	}
	fmt.Fprintf(out, "The cloud is up after %.1f s. Node %s, API %s\n", time.Since(began).Seconds(), c.Config.Node.Name, c.APIURL())
	return nil
}

// already is the answer to an up of a cloud that is up. It is left as it is: with
// the configuration and the version that it was started with.
func already(w io.Writer, c layout.Cloud, config string, s Status) error {
	if config != "" {
		other, err := changed(c)
		if err != nil {
			return err
		}
		if other {
			return fmt.Errorf("the cloud in %s is up with another configuration than %s; `polder down`, then `polder up --config %s`, changes it", c.Dir, config, config)
		}
	}
	fmt.Fprintf(w, "The cloud in %s is up already.\n", c.Dir)
	if v := version.String(); s.Version != v {
		fmt.Fprintf(w, "It is version %s, and this program is %s; `polder down`, then `polder up`, changes it.\n", s.Version, v)
	}
	return nil
}

// check runs the preflight and says what is in the way.
func check(ctx context.Context, c layout.Cloud, w io.Writer) error {
	if _, err := ownLibexec(); err != nil {
		return err
	}
	results := preflight.Run(ctx, c)
	bad := 0
	for _, r := range results {
		if r.Level == preflight.OK {
			continue
		}
		fmt.Fprintf(w, "%s: %s\n  why: %s\n  do:  %s\n", strings.ToLower(string(r.Level)), r.Found, r.Why, r.Remedy)
		if r.Level == preflight.Error {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("this machine cannot run the cloud yet (%d of %d checks failed); nothing was started", bad, len(results))
	}
	return nil
}

func (v *verbs) preflight() *cobra.Command {
	var config, output string
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Check that this machine can run the cloud; change nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.open(config)
			if err != nil {
				return err
			}
			results := preflight.Run(cmd.Context(), c)
			if err := printAs(cmd.OutOrStdout(), output, results, func(w io.Writer) {
				for _, r := range results {
					fmt.Fprintf(w, "%s\t%s\t%s\n", r.Level, r.Name, r.Found)
					if r.Level != preflight.OK {
						fmt.Fprintf(w, "\t\twhy: %s\n\t\tdo:  %s\n", r.Why, r.Remedy)
					}
				}
			}); err != nil {
				return err
			}
			if slices.ContainsFunc(results, func(r preflight.Result) bool { return r.Level == preflight.Error }) {
				return errors.New("this machine cannot run the cloud yet")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "file of the cloud's configuration (kind CloudConfig)")
	outputFlag(cmd, &output)
	return cmd
}

func (v *verbs) down() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the cloud, and keep its data",
		Long: `Stop the cloud: its pods, each given 10 seconds to end, then its components.
Objects, images, models and volumes stay; polder up brings them back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := root(); err != nil {
				return err
			}
			c, err := v.open("")
			if err != nil {
				return err
			}
			if err := down(cmd.Context(), c, keep); err != nil {
				return fmt.Errorf("stopping the cloud: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The cloud in %s is down; its data is kept.\n", c.Dir)
			return nil
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-pods", false, "leave containers running, for the next polder up to find")
	return cmd
}

func (v *verbs) reset() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Stop the cloud and remove it, data included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := root(); err != nil {
				return err
			}
			c, err := layout.New(*v.dataDir, layout.Config{}) // even if its configuration is broken
			if err != nil {
				return usage.Error(err)
			}
			if err := ours(c.Dir); err != nil {
				return usage.Error(err)
			}
			if !yes {
				if err := confirm(cmd, c.Dir); err != nil {
					return err
				}
			}
			if err := reset(cmd.Context(), c); err != nil {
				return fmt.Errorf("removing the cloud: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The cloud in %s is removed.\n", c.Dir)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func confirm(cmd *cobra.Command, dir string) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usage.Error(errors.New("nobody is there to be asked; give --yes to remove the cloud"))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "This removes all objects, images, models and volumes in %s. Type yes: ", dir)
	var answer string
	if _, err := fmt.Fscanln(cmd.InOrStdin(), &answer); err != nil || answer != "yes" {
		return errors.New("not removed")
	}
	return nil
}

func (v *verbs) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the administrator's kubeconfig",
		Long:  "Print the administrator's kubeconfig. It holds the administrator's key: keep it where nobody else can read it.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.open("")
			if err != nil {
				return err
			}
			b, err := os.ReadFile(c.AdminKubeconfig())
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("there is no cloud in %s; start one with `polder up`", c.Dir)
			}
			if err != nil {
				return fmt.Errorf("reading kubeconfig: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}

func (v *verbs) status() *cobra.Command {
	var watch bool
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what each component of the cloud is doing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := v.open("")
			if err != nil {
				return err
			}
			if watch {
				return v.watch(cmd, c, output)
			}
			s, err := look(cmd.Context(), c)
			if err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, s, func(w io.Writer) { printStatus(w, s) })
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep watching, and print every change")
	outputFlag(cmd, &output)
	return cmd
}

// watch prints the status whenever it changes.
func (v *verbs) watch(cmd *cobra.Command, c layout.Cloud, output string) error {
	var last string
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		s, err := look(cmd.Context(), c)
		if err != nil {
			return err
		}
		var b strings.Builder
		if err := printAs(&b, output, s, func(w io.Writer) { printStatus(w, s) }); err != nil {
			return err
		}
		if b.String() != last {
			last = b.String()
			if _, err := io.WriteString(cmd.OutOrStdout(), last+"\n"); err != nil {
				return err
			}
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

func printStatus(w io.Writer, s Status) {
	fmt.Fprintf(w, "Cloud\t%s\n", s.State)
	if s.Message != "" {
		fmt.Fprintf(w, "\t%s\n", s.Message)
	}
	fmt.Fprintf(w, "Data\t%s\nNode\t%s\nAPI\t%s\nRegistry\t%s\nGateway\t%s\n", s.DataDir, s.Node, s.API, s.Registry, s.Gateway)
	if len(s.Components) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCOMPONENT\tSTATE\tPID\tRESTARTS\tREADY AFTER\tMESSAGE\n")
	for _, c := range s.Components {
		pid, ready := "-", "-"
		if c.PID != 0 {
			pid = fmt.Sprint(c.PID)
		}
		if c.ReadySeconds > 0 {
			ready = fmt.Sprintf("%.1f s", c.ReadySeconds)
		}
		msg := c.Message
		if c.State == component.Ready {
			msg = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", c.Name, c.State, pid, c.Restarts, ready, msg)
	}
}

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp))
}

// printAs prints v as JSON, or as the table that text writes, cells parted by tabs.
func printAs(w io.Writer, output string, v any, text func(io.Writer)) error {
	switch output {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "":
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		text(t)
		return t.Flush()
	}
	return usage.Errorf("-o %s is not known; write json, or leave it out", output)
}
