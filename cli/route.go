package cli

import (
	"context"
	"fmt"
	"io"
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

func (o *options) route() *cobra.Command {
	cmd := &cobra.Command{Use: "route", Short: "Give several services one endpoint: splits, and cascades of a specialist and a general model"}
	cmd.AddCommand(o.routeCreate(), o.routeList(), o.routeShow(), o.routeLearn(), o.routeRemove())
	return cmd
}

func (o *options) routeList() *cobra.Command {
	var l v1alpha1.ModelRouteList
	return list(o, &l, &l.Items, listing[v1alpha1.ModelRoute]{
		use: "ls", what: "routes", none: "`polder route create` makes one",
		head: []string{"NAMESPACE", "NAME", "TARGETS", "READY", "THRESHOLD", "ESCALATION", "DRIFT", "URL", "AGE", "MESSAGE"}, row: routeRow,
	})
}

// routeRow is a route in a table.
func routeRow(r *v1alpha1.ModelRoute, now time.Time) []string {
	ready, message := routeState(r)
	threshold, escalation, drift := "-", "-", "-"
	if r.Status.Cascade != nil {
		threshold = r.Status.Cascade.Threshold
	}
	if r.Status.Observed != nil {
		escalation = percent(r.Status.Observed.RecentEscalation)
	}
	if c := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionDrift); c != nil {
		drift = map[metav1.ConditionStatus]string{metav1.ConditionTrue: "yes", metav1.ConditionFalse: "no"}[c.Status]
	}
	return []string{r.Namespace, r.Name, targetNames(r), ready, threshold, escalation, drift, dash(r.Status.URL), term.Age(r.CreationTimestamp.Time, now), message}
}

func targetNames(r *v1alpha1.ModelRoute) string {
	var names []string
	for _, t := range r.Spec.Targets {
		names = append(names, t.Name)
	}
	return strings.Join(names, ",")
}

// routeState is whether a route can be used, and what is wrong with it.
func routeState(r *v1alpha1.ModelRoute) (ready, message string) {
	ready = "no"
	if apimeta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) {
		ready = "yes"
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionLearned, v1alpha1.ConditionLogged} {
		if c := apimeta.FindStatusCondition(r.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return ready, c.Message
		}
	}
	if c := apimeta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionDrift); c != nil && c.Status == metav1.ConditionTrue {
		return ready, c.Message
	}
	return ready, ""
}

// findRoute reads the route called name.
func findRoute(ctx context.Context, c *kube.Client, name string) (*v1alpha1.ModelRoute, error) {
	var o v1alpha1.ModelRoute
	return &o, read(ctx, c, name, &o, "route", "route ls -A")
}

func (o *options) routeRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "rm ROUTE", Short: "Remove a route; its services stay", Args: exactly("ROUTE"), ValidArgsFunction: o.completeRoutes}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		r, err := findRoute(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if err := c.Delete(cmd.Context(), r); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing route %s: %w", r.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Route %s is removed.\n", r.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeRoutes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.ModelRouteList
	return completeNames(o, cmd, args, &l, &l.Items)
}

// awaitRoute waits until the controller has said what it thinks of a route's spec, and of a
// route that learns, what it has learned. It is an error when the spec cannot be used.
func awaitRoute(ctx context.Context, c *kube.Client, r *v1alpha1.ModelRoute, limit time.Duration, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := ""
	for {
		if err := c.Get(ctx, kube.Key(r.Namespace, r.Name), r); err != nil {
			return fmt.Errorf("reading route %s: %w", r.Name, err)
		}
		fresh := func(kind string) *metav1.Condition {
			if k := apimeta.FindStatusCondition(r.Status.Conditions, kind); k != nil && k.ObservedGeneration == r.Generation {
				return k
			}
			return nil
		}
		accepted, learned := fresh(v1alpha1.ConditionAccepted), fresh(v1alpha1.ConditionLearned)
		waits := ""
		switch {
		case accepted == nil:
			waits = "the controller of routes has not looked at it yet"
		case accepted.Reason == "Invalid":
			return usage.Errorf("route %s cannot be used: %s", r.Name, accepted.Message)
		case learnsThreshold(r) && learned == nil:
			waits = "nothing is learned yet"
		case learned != nil && (learned.Reason == "EvaluationRuns" || learned.Reason == "NoReport"):
			waits = learned.Message
		default:
			return nil
		}
		if waits != said && accepted != nil {
			said = waits
			fmt.Fprintln(w, waits)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return fmt.Errorf("%w: %s; it goes on, and `polder route show %s` tells how", err, strings.TrimSuffix(waits, "."), r.Name)
		}
	}
}

// learnsThreshold: a cascade of the route learns its threshold.
func learnsThreshold(r *v1alpha1.ModelRoute) bool { return learningOf(r) != nil }

func learningOf(r *v1alpha1.ModelRoute) *v1alpha1.Cascade {
	for i := range r.Spec.Rules {
		if c := r.Spec.Rules[i].Cascade; c != nil && c.Learn != nil {
			return c
		}
	}
	return nil
}
