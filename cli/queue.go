package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) queue() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Show the queues that jobs wait in"}
	cmd.AddCommand(o.queueList(), o.queueShow())
	return cmd
}

func (o *options) queueList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List queues, with what each has and uses", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		list, err := queuesOf(cmd.Context(), c)
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list)
		}
		if len(list) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "There are no queues, so no job waits in one; docs/howto/queues.md says how to make them.")
			return nil
		}
		rows := [][]string{{"QUEUE", "PARENT", "WEIGHT", "OF", "QUOTA", "USED", "BORROWED", "PENDING", "ADMITTED", "READY"}}
		for i := range list {
			rows = append(rows, queueRows(&list[i])...)
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

// queuesOf lists the queues, those below a queue after it.
func queuesOf(ctx context.Context, c *kube.Client) ([]v1alpha1.Queue, error) {
	var list v1alpha1.QueueList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing queues: %w", err)
	}
	return byTree(list.Items), nil
}

// byTree orders queues by the path from their root. Those in a circle come last.
func byTree(queues []v1alpha1.Queue) []v1alpha1.Queue {
	parent := map[string]string{}
	for i := range queues {
		parent[queues[i].Name] = queues[i].Spec.Parent
	}
	path := func(name string) string {
		out := name
		for range queues {
			up := parent[name]
			if up == "" {
				return out
			}
			out, name = up+"/"+out, up
		}
		return "~" + out
	}
	slices.SortFunc(queues, func(a, b v1alpha1.Queue) int { return cmp.Compare(path(a.Name), path(b.Name)) })
	return queues
}

// queueRows are a row for each thing that the queue has; what is not of one thing
// stands in the first.
func queueRows(q *v1alpha1.Queue) [][]string {
	ready := "no"
	if apimeta.IsStatusConditionTrue(q.Status.Conditions, v1alpha1.ConditionReady) {
		ready = "yes"
	}
	first := []string{q.Name, dash(q.Spec.Parent), fmt.Sprint(max(1, q.Spec.Weight)), "-", "-", "-", "-", fmt.Sprint(q.Status.Pending), fmt.Sprint(q.Status.Admitted), ready}
	if len(q.Status.Usage) == 0 {
		return [][]string{first}
	}
	var rows [][]string
	for i, u := range q.Status.Usage {
		row := slices.Clone(first)
		if i > 0 {
			row = []string{"", "", "", "", "", "", "", "", "", ""}
		}
		row[3], row[4], row[5], row[6] = u.Of, u.Nominal, u.Used, dash(u.Borrowed)
		rows = append(rows, row)
	}
	return rows
}

func (o *options) queueShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show QUEUE", Short: "Show one queue, and the jobs of the namespace that are in it", Args: exactly("QUEUE"), ValidArgsFunction: o.completeQueues}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var q v1alpha1.Queue
		err = c.Get(cmd.Context(), kube.Key("", args[0]), &q)
		if apierrors.IsNotFound(err) {
			return usage.Errorf("there is no queue %s; `polder queue ls` lists all", args[0])
		}
		if err != nil {
			return fmt.Errorf("reading queue %s: %w", args[0], err)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), q)
		}
		var jobs v1alpha1.TrainJobList
		if err := c.List(cmd.Context(), &jobs, kube.InNamespace(c.Namespace)); err != nil {
			return fmt.Errorf("listing jobs: %w", err)
		}
		w := cmd.OutOrStdout()
		if err := term.Table(w, append([][]string{{"QUEUE", "PARENT", "WEIGHT", "OF", "QUOTA", "USED", "BORROWED", "PENDING", "ADMITTED", "READY"}}, queueRows(&q)...)); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nShare of the cloud by weight: %s now, %s before.\n", dash(q.Status.Share), dash(q.Status.Past))
		if r := apimeta.FindStatusCondition(q.Status.Conditions, v1alpha1.ConditionReady); r != nil && r.Status != metav1.ConditionTrue {
			fmt.Fprintf(w, "It is not ready: %s\n", r.Message)
		}
		rows := jobsIn(jobs.Items, q.Name)
		if len(rows) == 0 {
			fmt.Fprintf(w, "No job of namespace %s is in it.\n", c.Namespace)
			return nil
		}
		fmt.Fprintln(w)
		return term.Table(w, append([][]string{{"JOB", "STATE", "PRIORITY", "QUEUE SAYS"}}, rows...))
	}
	return o.flags(cmd, "json")
}

// jobsIn are the rows of the jobs in a queue that have not ended, in its order.
func jobsIn(jobs []v1alpha1.TrainJob, queue string) [][]string {
	in := slices.DeleteFunc(slices.Clone(jobs), func(j v1alpha1.TrainJob) bool {
		return j.Status.State.Done() || j.Status.Queue == nil || j.Status.Queue.Name != queue
	})
	slices.SortFunc(in, func(a, b v1alpha1.TrainJob) int {
		return cmp.Or(cmp.Compare(b.Spec.Priority, a.Spec.Priority), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var rows [][]string
	for i := range in {
		rows = append(rows, []string{in[i].Name, state(&in[i]), fmt.Sprint(in[i].Spec.Priority), in[i].Status.Queue.Message})
	}
	return rows
}

func (o *options) completeQueues(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := o.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := queuesOf(cmd.Context(), c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (o *options) why() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "why JOB",
		Short:             "Say in a sentence why a job does not run yet, or how it stands",
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
		a := because(j, time.Now())
		if o.json() {
			return printJSON(cmd.OutOrStdout(), a)
		}
		fmt.Fprintln(cmd.OutOrStdout(), a.Sentence)
		return nil
	}
	return o.flags(cmd, "json")
}

// answer is what `polder why` says.
type answer struct {
	Job      string         `json:"job"`
	State    v1alpha1.State `json:"state"`
	Reason   string         `json:"reason"`
	Queue    string         `json:"queue,omitempty"`
	Expected *metav1.Time   `json:"expected,omitempty"`
	Sentence string         `json:"sentence"`
}

// because reads from a job's conditions why it does not run.
func because(j *v1alpha1.TrainJob, now time.Time) answer {
	a := answer{Job: j.Name, State: v1alpha1.State(state(j))}
	is := func(kind string) *metav1.Condition { return apimeta.FindStatusCondition(j.Status.Conditions, kind) }
	off := func(kind string) bool { c := is(kind); return c != nil && c.Status == metav1.ConditionFalse }
	message, _, _ := strings.Cut(j.Status.Message, "\n")
	say := func(reason, format string, args ...any) answer {
		a.Reason, a.Sentence = reason, strings.TrimSuffix(fmt.Sprintf(format, args...), ".")+"."
		return a
	}
	switch {
	case j.Status.State.Done():
		return say(string(j.Status.State), "Job %s has ended, %s: %s", j.Name, j.Status.State, message)
	case off(v1alpha1.ConditionAccepted):
		return say(is(v1alpha1.ConditionAccepted).Reason, "Job %s cannot run yet: %s", j.Name, is(v1alpha1.ConditionAccepted).Message)
	case off(v1alpha1.ConditionQuotaReserved):
		c := is(v1alpha1.ConditionQuotaReserved)
		in := "its queue"
		if q := j.Status.Queue; q != nil {
			a.Queue, a.Expected, in = q.Name, q.Expected, "queue "+q.Name
		}
		return say(c.Reason, "Job %s has waited for %s in %s: %s", j.Name, term.Age(j.CreationTimestamp.Time, now), in, c.Message)
	case j.Status.State == v1alpha1.StateRunning:
		return say("Running", "Job %s runs, with %d of %d workers", j.Name, j.Status.Ready, j.Spec.Workers)
	case message != "":
		reason := a.State
		if c := is(v1alpha1.ConditionRunning); c != nil && c.Reason != "" {
			return say(c.Reason, "Job %s is %s: %s", j.Name, reason, message)
		}
		return say(string(reason), "Job %s is %s: %s", j.Name, reason, message)
	}
	return say("Unseen", "Job %s has not been looked at yet: if that lasts, `polder status` shows whether the controllers run", j.Name)
}
