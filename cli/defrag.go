package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/census"
)

// defragFlags say what moves are wanted and how long they may take.
type defragFlags struct {
	plan, apply             bool
	movesMax, room          int
	gainMin                 float64
	timeout, save, restarts time.Duration
}

func (o *options) defrag() *cobra.Command {
	var f defragFlags
	cmd := &cobra.Command{
		Use:   "defrag (--plan | --apply)",
		Short: "Move training jobs so that idle devices become of use",
		Long: `Move training jobs so that idle devices become of use: --plan shows which moves would
gain how much, and --apply makes them, one at a time. A job that is moved stops at its
next checkpoint and goes on from there on other nodes, or on parts of other devices of
its own. What has no checkpoint, and what is no training job, stays.

Interrupting --apply stops it between two moves, or takes back the present one if the
job has not been stopped yet; else the cloud completes it alone.`,
		Args: cobra.NoArgs,
		Example: `  polder defrag --plan
  polder defrag --plan --for 8
  polder defrag --apply --moves-max 2 -n team-vision`,
	}
	cmd.Flags().BoolVar(&f.plan, "plan", false, "show the moves, and make none")
	cmd.Flags().BoolVar(&f.apply, "apply", false, "make the moves, one at a time")
	cmd.Flags().IntVar(&f.movesMax, "moves-max", 16, "the most jobs to move")
	cmd.Flags().Float64Var(&f.gainMin, "gain-min", 0.1, "the least that a move has to gain, in devices")
	cmd.Flags().IntVar(&f.room, "for", 0, "make room for jobs that want so many whole devices of a node (default: for what runs and waits now)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long one move may take until its job runs again")
	cmd.Flags().DurationVar(&f.save, "checkpoint-wait", 30*time.Second, "how long a job may go on until its next checkpoint before it is stopped all the same")
	cmd.Flags().DurationVar(&f.restarts, "restart", 30*time.Second, "what a job is counted to lose by starting again")
	for _, name := range []string{"moves-max", "gain-min", "for", "timeout", "checkpoint-wait", "restart"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		if err := hasNamespace(cmd.Context(), c, o.namespace); err != nil {
			return err
		}
		d := &defragger{
			cloud: kubeCloud{c}, flags: f, namespace: o.namespace, fixed: map[string]string{},
			now: time.Now, every: time.Second, tell: teller(cmd.ErrOrStderr()),
		}
		if f.apply {
			return d.applyAndShow(cmd.Context(), cmd.OutOrStdout(), o.output)
		}
		p, err := d.propose(cmd.Context())
		if err != nil {
			return err
		}
		return p.show(cmd.OutOrStdout(), o.output)
	}
	o.flags(cmd, "json", "yaml")
	cmd.Flags().Lookup("namespace").Usage = "only jobs of this namespace (default: of all)"
	return cmd
}

// hasNamespace refuses one that is not there; whoever may not see it finds no job in it.
func hasNamespace(ctx context.Context, c *kube.Client, name string) error {
	var ns corev1.Namespace
	if name == "" {
		return nil
	}
	if err := c.Get(ctx, kube.Key("", name), &ns); apierrors.IsNotFound(err) {
		return usage.Errorf("--namespace %s is none of this cloud; `kubectl get namespaces` lists all", name)
	}
	return nil
}

func (f *defragFlags) check() error {
	const longest = 24 * time.Hour
	switch {
	case f.plan == f.apply:
		return usage.Errorf("give either --plan to see which moves would help, or --apply to make them")
	case f.movesMax < 1:
		return usage.Errorf("--moves-max is %d; give at least 1", f.movesMax)
	case !(f.gainMin > 0) || math.IsInf(f.gainMin, 0):
		return usage.Errorf("--gain-min is %g devices; give more than 0, such as 0.5", f.gainMin)
	case f.room < 0 || f.room > sched.CountMax:
		return usage.Errorf("--for is %d devices; give 1 to %d", f.room, sched.CountMax)
	case f.timeout <= 0:
		return usage.Errorf("--timeout is %s; give more than 0, such as 10m", f.timeout)
	case f.save < 0 || f.save > longest:
		return usage.Errorf("--checkpoint-wait is %s; give 0s to %s", f.save, longest)
	case f.restarts < 0:
		return usage.Errorf("--restart is %s; give 0s or more", f.restarts)
	}
	return nil
}

// teller writes lines of progress, and on a terminal what is going on in one that is
// drawn over.
func teller(w io.Writer) progress {
	p := progress{say: func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }, now: func(string) {}}
	if term.Is(w) {
		line := term.NewLine(w)
		say := p.say
		p.say = func(format string, args ...any) { line.Clear(); say(format, args...) }
		p.now = line.Set
	}
	return p
}

// progress is how an apply tells what it does: say is for good, now is until the next.
type progress struct {
	say func(format string, args ...any)
	now func(text string)
}

// cloudView is what moves are planned from and made by.
type cloudView interface {
	// World is all that the API server says now.
	World(ctx context.Context) (census.World, error)
	// Job is one of them; nil if it is gone.
	Job(ctx context.Context, namespace, name string) (*v1alpha1.TrainJob, error)
	// Ask writes spec.move of a job.
	Ask(ctx context.Context, job *v1alpha1.TrainJob, m *v1alpha1.Move) error
}

// kubeCloud is a real one.
type kubeCloud struct{ *kube.Client }

// World reads all that is needed.
func (c kubeCloud) World(ctx context.Context) (census.World, error) {
	var (
		nodes   corev1.NodeList
		devices resourcev1.ResourceSliceList
		rules   resourcev1.DeviceTaintRuleList
		claims  resourcev1.ResourceClaimList
		pods    corev1.PodList
		jobs    v1alpha1.TrainJobList
		wanted  corev1.PersistentVolumeClaimList
		volumes corev1.PersistentVolumeList
	)
	for _, l := range []struct {
		what string
		list kube.List
	}{
		{"nodes", &nodes}, {"resource slices", &devices}, {"device taint rules", &rules}, {"resource claims", &claims}, {"pods", &pods},
		{"train jobs", &jobs}, {"volume claims", &wanted}, {"volumes", &volumes},
	} {
		err := c.List(ctx, l.list)
		if apierrors.IsForbidden(err) {
			return census.World{}, fmt.Errorf("moves are planned from all of the cloud, and you may not list its %s: have an administrator bind you to the ClusterRole polder:defrag (%w)", l.what, err)
		}
		if err != nil && !(l.what == "device taint rules" && apimeta.IsNoMatchError(err)) {
			return census.World{}, fmt.Errorf("listing %s: %w", l.what, err)
		}
	}
	return census.World{
		Now: time.Now(), Nodes: nodes.Items, Slices: devices.Items, Rules: rules.Items, Claims: claims.Items, Pods: pods.Items,
		Jobs: jobs.Items, VolumeClaims: wanted.Items, Volumes: volumes.Items,
	}, nil
}

// Job reads one.
func (c kubeCloud) Job(ctx context.Context, namespace, name string) (*v1alpha1.TrainJob, error) {
	var j v1alpha1.TrainJob
	err := c.Get(ctx, kube.Key(namespace, name), &j)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // that it is gone is no failure
	}
	if err != nil {
		return nil, fmt.Errorf("reading job %s/%s: %w", namespace, name, err)
	}
	return &j, nil
}

// Ask patches nothing else.
func (c kubeCloud) Ask(ctx context.Context, j *v1alpha1.TrainJob, m *v1alpha1.Move) error {
	next := j.DeepCopy()
	next.Spec.Move = m
	err := c.Patch(ctx, next, kube.Changes(j))
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("you may not move job %s/%s: it takes the right to patch trainjobs there, such as by the role edit (%w)", j.Namespace, j.Name, err)
	}
	if err != nil {
		return fmt.Errorf("asking for the move of job %s/%s: %w", j.Namespace, j.Name, err)
	}
	return nil
}
