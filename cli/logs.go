package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
)

// lineBytesMax is the longest line of a log that is kept whole.
const lineBytesMax = 1 << 20

func (o *options) logs(engine Engine) *cobra.Command {
	var name string
	var follow bool
	var worker, tail int
	cmd := &cobra.Command{
		Use:   "logs JOB | --component NAME",
		Short: "Show what a training job says, or a component of the cloud",
		Args: func(cmd *cobra.Command, args []string) error {
			if (name == "") == (len(args) == 0) || len(args) > 1 {
				return usage.Errorf("give either the name of a job, or --component with one of %v", engine.LogNames())
			}
			return nil
		},
		ValidArgsFunction: o.completeJobs,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if name != "" {
			return engine.ShowLog(cmd.Context(), name, follow, tail, cmd.OutOrStdout())
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		job, err := findJob(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if worker >= int(job.Spec.Workers) {
			return usage.Errorf("--worker %d: job %s has workers 0 to %d", worker, job.Name, job.Spec.Workers-1)
		}
		return jobLogs(cmd.Context(), c, job, worker, follow, tail, cmd.OutOrStdout())
	}
	cmd.Flags().StringVar(&name, "component", "", "a component of the cloud on this machine, such as kubelet")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows")
	cmd.Flags().IntVar(&worker, "worker", -1, "only this worker, counted from 0")
	cmd.Flags().IntVar(&tail, "tail", -1, "only the last lines, this many, of each")
	_ = cmd.RegisterFlagCompletionFunc("component", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return engine.LogNames(), cobra.ShellCompDirectiveNoFileComp
	})
	return o.flags(cmd)
}

// jobLogs writes the logs of the job's latest workers to w, each line with its
// worker's number when there are several. With follow it waits for workers that
// are not there yet, and goes over to those that come after.
func jobLogs(ctx context.Context, c *kube.Client, job *v1alpha1.TrainJob, worker int, follow bool, tail int, w io.Writer) error {
	shown := map[string]bool{}
	out := &lineWriter{w: w}
	for {
		pods, err := workersOf(ctx, c, job, worker)
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, len(pods))
		began := false
		for i, p := range pods {
			if shown[p.Name] || p.Status.Phase == corev1.PodPending {
				continue
			}
			shown[p.Name], began = true, true
			prefix := ""
			if job.Spec.Workers > 1 && worker < 0 {
				prefix = "[" + p.Annotations[kube.IndexAnnotation] + "] "
			}
			wg.Go(func() { errs[i] = podLog(ctx, c, p, follow, tail, prefix, out) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
			return err
		}
		if !follow && len(shown) == 0 {
			return fmt.Errorf("job %s has no logs: %s", job.Name, or(job.Status.Message, "none of its workers has started"))
		}
		if !follow || ctx.Err() != nil {
			return nil
		}
		if now, err := findJob(ctx, c, job.Name); err != nil || now.Status.State.Done() && !began {
			return err
		}
		if err := pause(ctx, lookEvery); err != nil {
			return nil
		}
	}
}

// workersOf lists the pods of the job's latest attempt that has any.
func workersOf(ctx context.Context, c *kube.Client, job *v1alpha1.TrainJob, worker int) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := c.List(ctx, &list, kube.InNamespace(job.Namespace), kube.Labelled(map[string]string{v1alpha1.LabelTrainJob: job.Name})); err != nil {
		return nil, fmt.Errorf("listing workers of %s: %w", job.Name, err)
	}
	attempt := func(p corev1.Pod) int {
		n, _ := strconv.Atoi(p.Labels[v1alpha1.Group+"/attempt"])
		return n
	}
	latest := 0
	for _, p := range list.Items {
		latest = max(latest, attempt(p))
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return attempt(p) != latest || worker >= 0 && p.Annotations[kube.IndexAnnotation] != strconv.Itoa(worker)
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		x, _ := strconv.Atoi(a.Annotations[kube.IndexAnnotation])
		y, _ := strconv.Atoi(b.Annotations[kube.IndexAnnotation])
		return x - y
	})
	return pods, nil
}

func podLog(ctx context.Context, c *kube.Client, p corev1.Pod, follow bool, tail int, prefix string, out *lineWriter) error {
	opts := &corev1.PodLogOptions{Follow: follow}
	if tail >= 0 {
		n := int64(tail)
		opts.TailLines = &n
	}
	r, err := c.Logs(ctx, p.Namespace, p.Name, opts)
	if err != nil {
		return fmt.Errorf("reading log of %s: %w", p.Name, err)
	}
	defer r.Close()
	return copyLines(r, prefix, out)
}

// copyLines writes what r says to out, line by line. A line that is too long, such
// as that of a progress bar that never ends it, is written in parts.
func copyLines(r io.Reader, prefix string, out *lineWriter) error {
	b := bufio.NewReaderSize(r, lineBytesMax)
	for {
		line, _, err := b.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.write(prefix, line); err != nil {
			return err
		}
	}
}

// lineWriter keeps the lines of several writers whole.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) write(prefix string, line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, "%s%s\n", prefix, line)
	return err
}
