package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
		held, err := heldIn(cmd.Context(), c, q.Name)
		if err != nil {
			return err
		}
		rows := append(jobsIn(jobs.Items, q.Name), held...)
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
