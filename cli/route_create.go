package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	rules "polder.dev/polder/model/route"
	"polder.dev/polder/storage/transfer"
)

// routeFlags are what may be said of a route on the command line.
type routeFlags struct {
	file                                       string
	specialist, general, threshold, evaluation string
	escalationMax, qualityMin, budget, log     string
	split                                      map[string]string
	cost                                       map[string]string
	fallback, redact                           []string
	shadow                                     string
	rate, burst                                int32
	cache                                      time.Duration
	logPercent                                 int32
	replace                                    bool
	limit                                      time.Duration
	no                                         bool
}

func (o *options) routeCreate() *cobra.Command {
	var f routeFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a route over services",
		Long: `Make a route over services of the namespace. With --specialist and --general the route
is a cascade: the specialist answers, and what it is not sure of goes on to the general
model. How sure is sure enough is said with --threshold, or learned from an evaluation of
both. With --split each service gets its share. Targets are called like their services.
For several rules, matches and all else, give a file of kind ModelRoute with -f.`,
		Example: `  polder route create digits --specialist student --general teacher --evaluation both --escalation-max 0.3
  polder route create digits --split old=90,new=10 --fallback old
  polder route create digits -f route.yaml`,
		Args: exactly("NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := f.spec(cmd)
		if err != nil {
			return err
		}
		if _, err := rules.Compile(spec, ""); err != nil {
			return usage.Error(err)
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		r := &v1alpha1.ModelRoute{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: args[0]}, Spec: *spec}
		if err := f.write(cmd, c, r); err != nil {
			return err
		}
		if !f.no {
			if err := awaitRoute(cmd.Context(), c, r, f.limit, cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), r)
		}
		return printWritten(cmd.OutOrStdout(), r)
	}
	f.add(cmd, o)
	return o.flags(cmd, "json")
}

// printWritten says how a route is that was written just now.
func printWritten(w io.Writer, r *v1alpha1.ModelRoute) error {
	at := ""
	if r.Status.URL != "" {
		at = " at " + r.Status.URL
	}
	fmt.Fprintf(w, "Route %s is written%s.\n", r.Name, at)
	if _, message := routeState(r); message != "" {
		fmt.Fprintln(w, message)
	}
	return printControls(w, r)
}

func (f *routeFlags) add(cmd *cobra.Command, o *options) {
	fl := cmd.Flags()
	fl.StringVarP(&f.file, "file", "f", "", "file of kind ModelRoute; - is the standard input")
	fl.StringVar(&f.specialist, "specialist", "", "service that is asked first")
	fl.StringVar(&f.general, "general", "", "service that is asked what the specialist is not sure of")
	fl.StringVar(&f.threshold, "threshold", "", "margin, 0 to 1, below which the specialist is not sure")
	f.learning(cmd)
	fl.StringVar(&f.evaluation, "evaluation", "", "evaluation of both to learn the threshold from")
	fl.StringToStringVar(&f.split, "split", nil, "services with their weights, as old=90,new=10")
	fl.StringToStringVar(&f.cost, "cost", nil, "cost of a thousand requests of services, as student=0.1,teacher=2")
	fl.StringSliceVar(&f.fallback, "fallback", nil, "services that are asked, in this order, when another fails")
	fl.StringVar(&f.shadow, "shadow", "", "service that gets copies of a part of the requests, as new=5 for 5 percent")
	fl.Int32Var(&f.rate, "rate", 0, "requests a second of each client")
	fl.Int32Var(&f.burst, "burst", 0, "requests at once of each client (default: as many as in a second)")
	fl.StringVar(&f.budget, "budget", "", "what a tenant may spend in a day, in the unit of --cost")
	fl.DurationVar(&f.cache, "cache", 0, "how long an answer is good for another request that is the same")
	fl.StringVar(&f.log, "log", "", "where requests and answers are kept, as s3://BUCKET/PREFIX")
	fl.Int32Var(&f.logPercent, "log-percent", 0, "how many of the requests are kept (default: 100)")
	fl.StringArrayVar(&f.redact, "redact", nil, "pattern (RE2) of what is taken out of what is kept; may be repeated")
	fl.BoolVar(&f.replace, "replace", false, "change the route if there is one of this name")
	fl.DurationVar(&f.limit, "timeout", 5*time.Minute, "how long to wait until it is judged, and an evaluation has ended")
	fl.BoolVar(&f.no, "no-wait", false, "return at once")
	cmd.MarkFlagsRequiredTogether("specialist", "general")
	cmd.MarkFlagsMutuallyExclusive("file", "specialist", "split")
	cmd.MarkFlagsMutuallyExclusive("threshold", "evaluation")
	for _, name := range []string{"specialist", "general", "fallback", "split", "cost", "shadow"} {
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return o.completeServices(cmd, nil, typed)
		})
	}
	for _, name := range []string{"threshold", "evaluation", "rate", "burst", "budget", "cache", "log", "log-percent", "redact", "timeout"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// learning gives cmd the flags of what a threshold is to reach.
func (f *routeFlags) learning(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.escalationMax, "escalation-max", "", "share of the requests that may go on, 0 to 1: the best quality at that is sought")
	cmd.Flags().StringVar(&f.qualityMin, "quality-min", "", "share of right answers to reach, 0 to 1: the lowest cost at that is sought")
	cmd.MarkFlagsMutuallyExclusive("escalation-max", "quality-min")
	for _, name := range []string{"escalation-max", "quality-min"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// spec is what was asked for.
func (f *routeFlags) spec(cmd *cobra.Command) (*v1alpha1.ModelRouteSpec, error) {
	if f.file != "" {
		return f.read(cmd)
	}
	s := &v1alpha1.ModelRouteSpec{Fallback: f.fallback}
	rule := v1alpha1.RouteRule{Name: "all"}
	services := slices.Sorted(maps.Keys(f.split))
	switch {
	case f.specialist != "":
		services = []string{f.specialist, f.general}
		rule.Cascade = &v1alpha1.Cascade{Specialist: f.specialist, General: f.general, Threshold: f.threshold}
		if f.evaluation != "" {
			rule.Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: f.evaluation, EscalationMax: f.escalationMax, QualityMin: f.qualityMin}
		}
		switch {
		case f.specialist == f.general:
			return nil, usage.Errorf("--specialist and --general are both %s; a cascade takes two services", f.general)
		case f.threshold == "" && f.evaluation == "":
			return nil, usage.Errorf("say how sure the specialist must be with --threshold, or what to learn it from with --evaluation")
		case f.evaluation != "" && f.escalationMax == "" && f.qualityMin == "":
			return nil, usage.Errorf("say what the threshold is to reach, with --escalation-max or --quality-min")
		case f.evaluation == "" && f.escalationMax+f.qualityMin != "":
			return nil, usage.Errorf("--escalation-max and --quality-min are for a threshold that is learned; name an --evaluation")
		}
	case len(f.split) > 0:
		for _, name := range services {
			n, err := strconv.ParseInt(f.split[name], 10, 32)
			if err != nil {
				return nil, usage.Errorf("--split %s=%s: a weight is a whole number, such as 90", name, f.split[name])
			}
			rule.Split = append(rule.Split, v1alpha1.RouteWeight{Target: name, Weight: int32(n)})
		}
	default:
		return nil, usage.Errorf("say where requests go: --specialist and --general, --split, or -f FILE")
	}
	s.Rules = []v1alpha1.RouteRule{rule}
	return s, f.rest(s, services)
}

// rest writes into s what is beside its rule.
func (f *routeFlags) rest(s *v1alpha1.ModelRouteSpec, services []string) error {
	add := func(name string) {
		if !slices.Contains(services, name) {
			services = append(services, name)
		}
	}
	for _, name := range f.fallback {
		add(name)
	}
	if f.shadow != "" {
		name, text, ok := strings.Cut(f.shadow, "=")
		n, err := strconv.ParseInt(text, 10, 32)
		if !ok || err != nil || n < 1 || n > 100 {
			return usage.Errorf("--shadow %s: write SERVICE=PERCENT, such as new=5", f.shadow)
		}
		add(name)
		s.Shadow = &v1alpha1.Shadow{Target: name, Percent: int32(n)}
	}
	for _, name := range services {
		s.Targets = append(s.Targets, v1alpha1.RouteTarget{Name: name, Service: name, Cost: f.cost[name]})
	}
	for name := range f.cost {
		if !slices.Contains(services, name) {
			return usage.Errorf("--cost %s: the route has no such service; it has %s", name, strings.Join(services, ", "))
		}
	}
	if f.rate != 0 || f.burst != 0 || f.budget != "" {
		s.Limits = &v1alpha1.RouteLimits{RequestsPerSecond: f.rate, Burst: f.burst, BudgetPerDay: f.budget}
	}
	if f.cache != 0 {
		if f.cache < time.Second || f.cache > 24*time.Hour || f.cache%time.Second != 0 {
			return usage.Errorf("--cache %s: give whole seconds, 1s to 24h", f.cache)
		}
		s.Cache = &v1alpha1.RouteCache{Seconds: int32(f.cache / time.Second)}
	}
	return f.logging(s)
}

func (f *routeFlags) logging(s *v1alpha1.ModelRouteSpec) error {
	if f.log == "" {
		if f.logPercent != 0 || len(f.redact) > 0 {
			return usage.Errorf("--log-percent and --redact are about what is kept; say where with --log")
		}
		return nil
	}
	to, err := transfer.Parse(f.log)
	if err != nil {
		return err
	}
	if !to.Remote() {
		return usage.Errorf("--log %s is not in the store; write s3://BUCKET/PREFIX", f.log)
	}
	s.Log = &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: to.Bucket, Prefix: to.Key}, Percent: f.logPercent, Redact: f.redact}
	return nil
}

// read reads the spec from a file.
func (f *routeFlags) read(cmd *cobra.Command) (*v1alpha1.ModelRouteSpec, error) {
	const bytesMax = 1 << 20
	in := cmd.InOrStdin()
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, usage.Error(err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.file, err)
	}
	if len(text) > bytesMax {
		return nil, usage.Errorf("%s is larger than %d bytes", f.file, bytesMax)
	}
	var r v1alpha1.ModelRoute
	if err := readObject(text, "ModelRoute", &r); err != nil {
		return nil, usage.Errorf("%s: %w", f.file, err)
	}
	return &r.Spec, nil
}

// write makes the route, or changes the one there is.
func (f *routeFlags) write(cmd *cobra.Command, c *kube.Client, r *v1alpha1.ModelRoute) error {
	err := c.Create(cmd.Context(), r)
	if apierrors.IsAlreadyExists(err) {
		if !f.replace {
			return usage.Errorf("there is a route %s in namespace %s; change it with --replace, or choose another name", r.Name, r.Namespace)
		}
		spec := r.Spec
		var old v1alpha1.ModelRoute
		if err := c.Get(cmd.Context(), kube.Key(r.Namespace, r.Name), &old); err != nil {
			return fmt.Errorf("reading route %s: %w", r.Name, err)
		}
		old.Spec = spec
		err = c.Update(cmd.Context(), &old)
		*r = old
	}
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return usage.Errorf("route %s: %w", r.Name, err)
	}
	if err != nil {
		return fmt.Errorf("writing route %s: %w", r.Name, err)
	}
	return nil
}
