package cli

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) service() *cobra.Command {
	cmd := &cobra.Command{Use: "service", Short: "List, show and change what is served"}
	cmd.AddCommand(o.serviceList(), o.serviceShow(), o.serviceUpdate(), o.serviceScale(), o.serviceCanary(), o.serviceLogs(), o.serviceRemove())
	return cmd
}

func (o *options) serviceList() *cobra.Command {
	var l v1alpha1.InferenceServiceList
	return list(o, &l, &l.Items, listing[v1alpha1.InferenceService]{
		use: "ls", what: "services", none: "`polder serve` makes one",
		head: []string{"NAMESPACE", "NAME", "SERVES", "STATE", "REPLICAS", "CANARY", "URL", "AGE", "MESSAGE"}, row: serviceRow,
	})
}

// serviceRow is a service in a table.
func serviceRow(s *v1alpha1.InferenceService, now time.Time) []string {
	ready := int32(0)
	canary := "-"
	for _, r := range s.Status.Revisions {
		ready += r.ReadyReplicas
		if r.Role == v1alpha1.RevisionCanary {
			canary = fmt.Sprintf("%d%%", r.Percent)
		}
	}
	state, message := serviceState(s)
	return []string{
		s.Namespace, s.Name, or(s.Spec.Model, s.Spec.Image), state, fmt.Sprintf("%d/%d", ready, s.Status.Replicas), canary,
		dash(s.Status.URL), term.Age(s.CreationTimestamp.Time, now), message,
	}
}

// serviceState is how a service is in one word, and what is wrong with it.
func serviceState(s *v1alpha1.InferenceService) (state, message string) {
	ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
	accepted := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAccepted)
	state = "Pending"
	if ready != nil {
		state, message = ready.Reason, ready.Message
	}
	if accepted != nil && accepted.Status == metav1.ConditionFalse {
		message = accepted.Message
	}
	return state, message
}

// findService reads the service called name.
func findService(ctx context.Context, c *kube.Client, name string) (*v1alpha1.InferenceService, error) {
	var o v1alpha1.InferenceService
	return &o, read(ctx, c, name, &o, "service", "service ls -A")
}

func (o *options) serviceShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show SERVICE", Short: "Show a service and its revisions", Args: exactly("SERVICE"), ValidArgsFunction: o.completeServices}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		s, err := findService(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), s)
		}
		if err := term.Table(cmd.OutOrStdout(), serviceFacts(s)); err != nil {
			return err
		}
		if len(s.Status.Revisions) == 0 {
			return nil
		}
		fmt.Fprintln(cmd.OutOrStdout())
		return term.Table(cmd.OutOrStdout(), revisionRows(s, time.Now()))
	}
	return o.flags(cmd, "json")
}

// serviceFacts are what there is to know of a service as a whole.
func serviceFacts(s *v1alpha1.InferenceService) [][]string {
	state, message := serviceState(s)
	if message != "" {
		state += ": " + message
	}
	minimum := int32(1)
	if s.Spec.Scale.Min != nil {
		minimum = *s.Spec.Scale.Min
	}
	scale := fmt.Sprintf("%d to %d replicas, %d requests at a time each", minimum, s.Spec.Scale.Max, s.Spec.Scale.Concurrency)
	if minimum == 0 {
		scale += fmt.Sprintf(", asleep after %d s", s.Spec.Scale.IdleSeconds)
	}
	rows := [][]string{
		{"service", s.Namespace + "/" + s.Name},
		{"state", state},
		{"model", dash(s.Spec.Model)},
		{"with", or(s.Spec.Runtime, s.Spec.Image)},
		{"url", dash(s.Status.URL)},
		{"protocol", string(s.Spec.Protocol)},
		{"scale", scale},
	}
	if k := s.Spec.Canary; k != nil {
		rows = append(rows, []string{"canary", fmt.Sprintf("%s, %d%%", k.Model, k.Percent)})
	}
	return rows
}

// revisionRows are a service's revisions, the newest first.
func revisionRows(s *v1alpha1.InferenceService, now time.Time) [][]string {
	rows := [][]string{{"REVISION", "ROLE", "PERCENT", "READY", "MODEL", "SINCE", "MESSAGE"}}
	for _, r := range s.Status.Revisions {
		model, since := "-", "-"
		if r.Model != nil {
			model = r.Model.Name + "@" + r.Model.Digest
		}
		if r.Time != nil {
			since = term.Age(r.Time.Time, now)
		}
		rows = append(rows, []string{r.Name, string(r.Role), fmt.Sprint(r.Percent), fmt.Sprintf("%d/%d", r.ReadyReplicas, r.Replicas), model, since, r.Message})
	}
	return rows
}

// changeService edits the spec of a service and waits until the change is in effect.
func (o *options) changeService(cmd *cobra.Command, name string, w *waits, edit func(*v1alpha1.InferenceServiceSpec) error) error {
	c, err := o.open(cmd)
	if err != nil {
		return err
	}
	s, err := findService(cmd.Context(), c, name)
	if err != nil {
		return err
	}
	old := s.DeepCopy()
	if err := edit(&s.Spec); err != nil {
		return err
	}
	if err := checkService(cmd.Context(), c, &s.Spec); err != nil {
		return err
	}
	if err := c.Patch(cmd.Context(), s, kube.Changes(old)); err != nil {
		return refusedService(s, err)
	}
	return o.settle(cmd, c, s, w)
}

func (o *options) serviceUpdate() *cobra.Command {
	var f serviceFlags
	var model string
	cmd := &cobra.Command{
		Use: "update SERVICE [-- COMMAND...]", Short: "Change what is served, or how",
		Long: `Change what is served, or how; what is not said stays as it is. What there is goes on
serving until what replaces it is ready. To take a change back, make the opposite one.`,
		Example: "  polder service update digits --model digits@sha256:4e1c...\n  polder service update digits --memory 2Gi",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(beforeDash(cmd, args)) != 1 {
				return usage.Errorf("%s takes one SERVICE; a command goes after --", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: o.completeServices,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return o.changeService(cmd, args[0], &f.waits, func(spec *v1alpha1.InferenceServiceSpec) error {
			if cmd.Flags().Changed("model") {
				spec.Model = model
			}
			if cmd.ArgsLenAtDash() >= 0 {
				spec.Command = args[1:]
			}
			return f.apply(cmd, spec)
		})
	}
	cmd.Flags().StringVar(&model, "model", "", "model to serve: NAME, NAME@ALIAS or NAME@sha256:DIGEST")
	_ = cmd.RegisterFlagCompletionFunc("model", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return o.completeModels(cmd, nil, typed)
	})
	f.add(cmd, o)
	asItIs(cmd)
	return o.flags(cmd, "json")
}

// newOnes are the defaults of a service that is new, in what is said of flags.
var newOnes = regexp.MustCompile(` \(default: [^)]*\)`)

// asItIs takes them out: without a flag, a service stays as it is.
func asItIs(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = newOnes.ReplaceAllString(f.Usage, "") })
}

func (o *options) serviceScale() *cobra.Command {
	var f serviceFlags
	cmd := &cobra.Command{
		Use: "scale SERVICE", Short: "Change how many replicas a service may have",
		Long:    "Change how many replicas a service may have; the gateway keeps between these bounds\nby the requests that there are.",
		Example: "  polder service scale digits --min 0 --max 4 --concurrency 16",
		Args:    exactly("SERVICE"), ValidArgsFunction: o.completeServices,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.ContainsFunc([]string{"min", "max", "concurrency", "idle", "wake", "queue-max"}, cmd.Flags().Changed) {
			return usage.Errorf("say what to change: --min, --max, --concurrency, --idle, --wake or --queue-max")
		}
		return o.changeService(cmd, args[0], &f.waits, func(spec *v1alpha1.InferenceServiceSpec) error { return f.applyScale(cmd, &spec.Scale) })
	}
	f.addScale(cmd)
	asItIs(cmd)
	f.waits.add(cmd)
	return o.flags(cmd, "json")
}

func (o *options) serviceCanary() *cobra.Command {
	var w waits
	var percent int32
	var promote, end bool
	cmd := &cobra.Command{
		Use: "canary SERVICE [MODEL --percent N | --promote | --end]", Short: "Give another model a part of the requests",
		Long: `Give another model a part of the requests of a service, change how much it gets, make
it what is served, or end its trial. While the canary's replicas are in trouble, the
other model gets all requests.`,
		Example: "  polder service canary digits digits@staging --percent 10\n  polder service canary digits --percent 50\n  polder service canary digits --promote",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage.Errorf("%s takes SERVICE and MODEL, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return o.completeModels(cmd, nil, typed)
			}
			return o.completeServices(cmd, args, typed)
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		said := cmd.Flags().Changed("percent")
		switch {
		case (promote || end) && (len(args) > 1 || said):
			return usage.Errorf("--promote and --end take neither a MODEL nor --percent")
		case !promote && !end && !said:
			return usage.Errorf("say how much it gets with --percent, or what becomes of it with --promote or --end")
		}
		return o.changeService(cmd, args[0], &w, func(spec *v1alpha1.InferenceServiceSpec) error {
			return editCanary(args[0], spec, args[1:], percent, promote, end)
		})
	}
	cmd.Flags().Int32Var(&percent, "percent", 0, "how much of the requests it gets")
	cmd.Flags().BoolVar(&promote, "promote", false, "make the canary what is served")
	cmd.Flags().BoolVar(&end, "end", false, "take the canary away")
	cmd.MarkFlagsMutuallyExclusive("promote", "end")
	_ = cmd.RegisterFlagCompletionFunc("percent", cobra.NoFileCompletions)
	w.add(cmd)
	return o.flags(cmd, "json")
}

// editCanary changes the canary of a service.
func editCanary(name string, spec *v1alpha1.InferenceServiceSpec, model []string, percent int32, promote, end bool) error {
	if spec.Canary == nil && len(model) == 0 {
		return usage.Errorf("service %s has no canary; name a MODEL to make one", name)
	}
	switch {
	case promote:
		spec.Model, spec.Canary = spec.Canary.Model, nil
	case end:
		spec.Canary = nil
	case spec.Canary == nil:
		spec.Canary = &v1alpha1.Canary{Model: model[0], Percent: percent}
	default:
		spec.Canary.Percent = percent
		if len(model) == 1 {
			spec.Canary.Model = model[0]
		}
	}
	return nil
}

func (o *options) serviceRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "rm SERVICE", Short: "End a service; its model stays", Args: exactly("SERVICE"), ValidArgsFunction: o.completeServices}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		s, err := findService(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if err := c.Delete(cmd.Context(), s); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing service %s: %w", s.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Service %s is removed.\n", s.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.InferenceServiceList
	return completeNames(o, cmd, args, &l, &l.Items)
}

func (o *options) completeRuntimes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, func(ctx context.Context, c *kube.Client) ([]string, error) {
		var list v1alpha1.RuntimeList
		err := c.List(ctx, &list)
		var names []string
		for _, r := range list.Items {
			names = append(names, r.Name)
		}
		return names, err
	})
}

// complete offers the names that list finds in the cloud.
func (o *options) complete(cmd *cobra.Command, list func(context.Context, *kube.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names, err := list(cmd.Context(), c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// settled reports whether a service is as its spec asks: what there is was made of this
// spec, is ready, and nothing is rolled out any more. refused says why that will not come
// about; "" if it may.
func settled(s *v1alpha1.InferenceService) (done bool, refused string) {
	accepted := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAccepted)
	if s.Status.ObservedGeneration < s.Generation || accepted == nil || accepted.ObservedGeneration < s.Generation {
		return false, ""
	}
	if accepted.Status == metav1.ConditionFalse {
		return false, accepted.Message
	}
	starting := slices.ContainsFunc(s.Status.Revisions, func(r v1alpha1.Revision) bool { return r.Role == v1alpha1.RevisionStarting })
	return !starting && apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionReady), ""
}

// progressOf is how far a service is, in a line.
func progressOf(s *v1alpha1.InferenceService) string {
	var words []string
	for _, r := range s.Status.Revisions {
		words = append(words, fmt.Sprintf("%s %s %d/%d ready", r.Name, r.Role, r.ReadyReplicas, r.Replicas))
	}
	return strings.Join(words, ", ")
}
