package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/examples"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
)

// What the demonstration makes.
const (
	demoBucket     = "demo-digits"
	demoLarge      = "demo-large"
	demoSmall      = "demo-small"
	demoRoute      = "demo-digits"
	demoThreshold  = "demo-threshold" // the evaluation that the route learns from
	demoEscalation = "0.3"
	demoPrice      = "3600" // of an hour: costs are seconds of a processor
)

func (o *options) demo() *cobra.Command {
	cmd := &cobra.Command{Use: "demo", Short: "Show what the cloud can do, by doing it"}
	cmd.AddCommand(o.demoSpecialist())
	return cmd
}

func (o *options) demoSpecialist() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "specialist", Short: "From labelled data to a small model that is judged, served and routed to", Args: cobra.NoArgs,
		Long: `Go the whole way with the digits that come with the program: a teacher learns from labels,
a student of 2,410 parameters learns from the teacher's answers without seeing a label, an
evaluation judges both, the student is promoted, both are served, and a route asks the
student first and the teacher when the student is not sure. Then all three are asked what
none of them has seen, and a report is written to --report: HTML, PNG and JSON.

Each step is a command that is shown before it is run; what is there already is not made
again. It needs a cloud that is up, and the first time root, to build the runtimes.`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding the program itself: %w", err)
		}
		work, err := os.MkdirTemp("", "polder-demo-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		d := &demonstration{c: c, self: self, work: work, report: dir, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), base: o.same(c)}
		return d.run(cmd.Context())
	}
	cmd.Flags().StringVar(&dir, "report", "specialist-report", "directory that the report is written to")
	return o.flags(cmd)
}

// same are the flags with which another command speaks to the same cloud and namespace.
func (o *options) same(c *kube.Client) []string {
	out := []string{"--data-dir=" + *o.dataDir, "--namespace=" + c.Namespace}
	if o.kubeconfig != "" {
		out = append(out, "--kubeconfig="+o.kubeconfig)
	}
	return out
}

// demonstration is one run.
type demonstration struct {
	c            *kube.Client
	self         string
	work, report string // directories
	base         []string
	out, err     io.Writer
}

// step is something to be made, unless it is there.
type step struct {
	there func(context.Context) (bool, error) // nil: it is always run
	args  []string
	local bool // it asks no cloud
}

func (d *demonstration) run(ctx context.Context) error {
	began := time.Now()
	large, small, split, err := d.files()
	if err != nil {
		return err
	}
	steps := []step{
		{args: []string{"runtime", "build", "pytorch-cpu"}},
		{args: []string{"runtime", "build", "onnx-cpu"}},
		{args: []string{"dataset", "split", filepath.Join(d.work, "digits.csv"), split, "--validation=0.2"}, local: true},
		{there: d.ends("bucket", "show", demoBucket), args: []string{"bucket", "create", demoBucket}},
	}
	for _, part := range []string{"train", "validation", "held"} {
		to := "s3://" + demoBucket + "/" + part + "/"
		frozen := d.exists(&v1alpha1.Dataset{}, "demo-"+part)
		steps = append(steps,
			step{there: frozen, args: []string{"cp", filepath.Join(split, part+".csv"), to + part + ".csv"}},
			step{there: frozen, args: []string{"dataset", "freeze", "demo-" + part, to}})
	}
	steps = append(steps,
		step{there: d.exists(&v1alpha1.Model{}, demoLarge), args: []string{"distil", "run", large, "--replace", "--follow"}},
		step{there: d.exists(&v1alpha1.Model{}, demoSmall), args: []string{"distil", "run", small, "--replace", "--follow"}},
		step{there: d.judged, args: []string{"evaluate", demoSmall, "--against", demoLarge, "--data", "demo-validation", "--trained", "demo-train",
			"--cost-per-hour", demoPrice, "--name", demoThreshold, "--replace", "--follow"}},
		step{args: []string{"model", "promote", demoSmall, "production"}},
		step{there: d.exists(&v1alpha1.InferenceService{}, demoLarge), args: []string{"serve", demoLarge, "--min", "0"}},
		step{there: d.exists(&v1alpha1.InferenceService{}, demoSmall), args: []string{"serve", demoSmall + "@production", "--name", demoSmall, "--min", "0"}},
	)
	for _, s := range steps {
		if err := d.do(ctx, s); err != nil {
			return err
		}
	}
	costs, err := d.costs(ctx)
	if err != nil {
		return err
	}
	if err := d.do(ctx, step{args: []string{"route", "create", demoRoute, "--specialist", demoSmall, "--general", demoLarge,
		"--evaluation", demoThreshold, "--escalation-max", demoEscalation, "--replace",
		"--cost", fmt.Sprintf("%s=%s,%s=%s", demoSmall, costs[demoSmall], demoLarge, costs[demoLarge])}}); err != nil {
		return err
	}
	return d.tell(ctx, filepath.Join(split, "held.csv"), costs, began)
}

// files writes what the steps read: the digits, and the two distillations under names that
// are the demonstration's own.
func (d *demonstration) files() (large, small, split string, err error) {
	put := func(from, to string) string {
		var b []byte
		if b, err = examples.Files.ReadFile(from); err == nil {
			b = []byte(strings.ReplaceAll(string(b), "digits-", "demo-"))
			err = os.WriteFile(filepath.Join(d.work, to), b, 0o644)
		}
		return filepath.Join(d.work, to)
	}
	var errs []error
	for _, f := range []struct {
		from, to string
		path     *string
	}{{"ocr-digits/teacher.yaml", "teacher.yaml", &large}, {"ocr-digits/distillation.yaml", "student.yaml", &small}, {"data/digits/digits.csv", "digits.csv", nil}} {
		path := put(f.from, f.to)
		errs = append(errs, err)
		if f.path != nil {
			*f.path = path
		}
	}
	return large, small, filepath.Join(d.work, "split"), errors.Join(errs...)
}

// exists tells whether the namespace has an object.
func (d *demonstration) exists(kind kube.Object, name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := d.c.Get(ctx, kube.Key(d.c.Namespace, name), kind)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
}

// ends tells whether a command that only looks ends well.
func (d *demonstration) ends(args ...string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		err := exec.CommandContext(ctx, d.self, append(args, d.base...)...).Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return false, nil
		}
		return err == nil, err
	}
}

// judged tells whether the evaluation that the route learns from has ended well.
func (d *demonstration) judged(ctx context.Context) (bool, error) {
	var e v1alpha1.Evaluation
	there, err := d.exists(&e, demoThreshold)(ctx)
	return there && e.Status.State == v1alpha1.StateSucceeded, err
}

// do shows a command and runs it.
func (d *demonstration) do(ctx context.Context, s step) error {
	fmt.Fprintf(d.out, "\n$ polder %s\n", strings.Join(s.args, " "))
	if s.there != nil {
		there, err := s.there(ctx)
		if err != nil {
			return err
		}
		if there {
			fmt.Fprintln(d.out, "It is there already.")
			return nil
		}
	}
	args := s.args
	if !s.local {
		args = append(slices.Clone(args), d.base...)
	}
	cmd := exec.CommandContext(ctx, d.self, args...)
	cmd.Stdout, cmd.Stderr = d.out, d.err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		err = fmt.Errorf("polder %s %s did not end well; what is above says why, and `polder demo specialist` goes on from there", s.args[0], s.args[1])
		if exit.ExitCode() == 2 {
			return usage.Error(err)
		}
		return err
	case err != nil:
		return fmt.Errorf("running polder %s: %w", s.args[0], err)
	}
	return nil
}
