package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) jobs() *cobra.Command {
	var l v1alpha1.TrainJobList
	return list(o, &l, &l.Items, listing[v1alpha1.TrainJob]{
		use: "jobs", what: "training jobs", none: "start one with `polder train`", newest: true,
		head: []string{"NAMESPACE", "NAME", "STATE", "WORKERS", "EPOCH", "LOSS", "RESTARTS", "AGE", "MESSAGE"}, row: jobRow,
	})
}

func jobRow(j *v1alpha1.TrainJob, now time.Time) []string {
	epoch, loss := "-", "-"
	if p := j.Status.Progress; p != nil {
		epoch = fmt.Sprint(p.Epoch)
		if p.Epochs > 0 {
			epoch += fmt.Sprintf("/%d", p.Epochs)
		}
		if p.Loss != "" {
			loss = shortNumber(p.Loss)
		}
	}
	message, _, _ := strings.Cut(j.Status.Message, "\n")
	return []string{
		j.Namespace, j.Name, state(j), fmt.Sprintf("%d/%d", j.Status.Ready, j.Spec.Workers), epoch, loss,
		fmt.Sprint(j.Status.Restarts), term.Age(j.CreationTimestamp.Time, now), message,
	}
}

func state(j *v1alpha1.TrainJob) string {
	if j.Status.State == "" {
		return string(v1alpha1.StatePending)
	}
	return string(j.Status.State)
}

// shortNumber cuts a decimal to what people read.
func shortNumber(s string) string {
	const digits = 7
	if len(s) > digits && !strings.ContainsAny(s, "eE") {
		return s[:digits]
	}
	return s
}

// findJob reads the job called name.
func findJob(ctx context.Context, c *kube.Client, name string) (*v1alpha1.TrainJob, error) {
	var j v1alpha1.TrainJob
	err := c.Get(ctx, kube.Key(c.Namespace, name), &j)
	if apierrors.IsNotFound(err) {
		return nil, usage.Errorf("there is no job %s in namespace %s; `polder jobs -A` lists all", name, c.Namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading job %s: %w", name, err)
	}
	return &j, nil
}

func (o *options) cancel() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "cancel JOB",
		Short:             "End a training job; its checkpoints are kept for a while",
		Args:              exactly("JOB"),
		ValidArgsFunction: o.completeJobs,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		j, err := findJob(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if j.Status.State.Done() {
			return usage.Errorf("job %s has ended already: %s", j.Name, j.Status.State)
		}
		old := j.DeepCopy()
		j.Spec.Cancel = true
		if err := c.Patch(cmd.Context(), j, kube.Changes(old)); err != nil {
			return fmt.Errorf("cancelling job %s: %w", j.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Job %s is being cancelled.\n", j.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeJobs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.TrainJobList
	return completeNames(o, cmd, args, &l, &l.Items)
}

// exactly wants one argument per name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage.Errorf("%s takes %s, got %d; see `%s --help`", cmd.CommandPath(), strings.Join(names, " and "), len(args), cmd.CommandPath())
		}
		return nil
	}
}
