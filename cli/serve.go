package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// defaultServer is the Runtime that serves models when none is named.
const defaultServer = "onnx-cpu"

// serviceFlags are what may be said of a service on the command line.
type serviceFlags struct {
	runtime, image, protocol, readyPath, cpu, memory string
	port, minimum, maximum, concurrency              int32
	requests, idle, wake                             time.Duration
	queueMax, batchMax                               int32
	batchDelay                                       time.Duration
	env                                              map[string]string
	accelerators                                     int32
	software                                         []string
	waits
}

// waits are the flags of verbs that wait until a service is ready.
type waits struct {
	limit time.Duration
	no    bool
}

func (w *waits) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&w.limit, "timeout", 5*time.Minute, "how long to wait until it is ready")
	cmd.Flags().BoolVar(&w.no, "no-wait", false, "return at once")
}

// add gives cmd the flags that say what is served.
func (f *serviceFlags) add(cmd *cobra.Command, o *options) {
	fl := cmd.Flags()
	fl.StringVar(&f.runtime, "runtime", "", "Runtime to serve it with (default: "+defaultServer+", unless there is an --image)")
	fl.StringVar(&f.image, "image", "", "image to run instead of a Runtime, of the cloud's registry or of another")
	fl.StringVar(&f.protocol, "protocol", "", "v2 (Open Inference Protocol), openai, or http for anything else (default: v2)")
	fl.Int32Var(&f.port, "port", 0, "port that the program listens at (default: 8080); it is told it as PORT")
	fl.StringVar(&f.readyPath, "ready-path", "", "path that answers 200 when requests may come (default: by protocol)")
	fl.StringVar(&f.cpu, "cpu", "", "cores of each replica (default: 500m)")
	fl.StringVar(&f.memory, "memory", "", "memory of each replica (default: 1Gi)")
	fl.Int32Var(&f.accelerators, "accelerators", 0, "accelerators of each replica")
	fl.StringSliceVar(&f.software, "software", nil, "software that the accelerators may have, best first, such as cuda,rocm")
	fl.StringToStringVar(&f.env, "env", nil, "environment variable, as name=value; may be repeated")
	fl.DurationVar(&f.requests, "request-timeout", 0, "how long an answer may take (default: 1m)")
	fl.Int32Var(&f.batchMax, "batch-max", 0, "rows that are computed at once, for servers that batch (default: 32)")
	fl.DurationVar(&f.batchDelay, "batch-delay", 0, "how long a request may wait for others while the model is idle, up to 1s")
	f.addScale(cmd)
	f.waits.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions([]string{"v2", "openai", "http"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("runtime", o.completeRuntimes)
	for _, name := range []string{"image", "port", "ready-path", "cpu", "memory", "accelerators", "software", "env", "request-timeout", "batch-max", "batch-delay"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.MarkFlagsMutuallyExclusive("runtime", "image")
}

// addScale gives cmd the flags that bound the replicas.
func (f *serviceFlags) addScale(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Int32Var(&f.minimum, "min", 0, "replicas at least; with 0 it sleeps when nobody asks (default: 1)")
	fl.Int32Var(&f.maximum, "max", 0, "replicas at most (default: 1, or --min)")
	fl.Int32Var(&f.concurrency, "concurrency", 0, "requests that a replica is to have at a time (default: 8)")
	fl.DurationVar(&f.idle, "idle", 0, "time without a request after which it sleeps, with --min 0 (default: 1m)")
	fl.DurationVar(&f.wake, "wake", 0, "how long a request waits for a replica (default: 2m)")
	fl.Int32Var(&f.queueMax, "queue-max", 0, "how many requests may wait so (default: 1000)")
	for _, name := range []string{"min", "max", "concurrency", "idle", "wake", "queue-max"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// apply writes into spec what was said, and leaves the rest as it is.
func (f *serviceFlags) apply(cmd *cobra.Command, spec *v1alpha1.InferenceServiceSpec) error {
	said := cmd.Flags().Changed
	if said("image") {
		spec.Image, spec.Runtime = f.image, ""
	}
	if said("runtime") {
		spec.Runtime, spec.Image = f.runtime, ""
	}
	text := func(flag, value string, to *string) {
		if said(flag) {
			*to = value
		}
	}
	text("ready-path", f.readyPath, &spec.ReadyPath)
	if said("protocol") {
		spec.Protocol = v1alpha1.Protocol(f.protocol)
	}
	if said("port") {
		spec.Port = f.port
	}
	for _, q := range []struct {
		flag, text string
		to         *resource.Quantity
	}{{"cpu", f.cpu, &spec.Resources.CPU}, {"memory", f.memory, &spec.Resources.Memory}} {
		if !said(q.flag) {
			continue
		}
		v, err := resource.ParseQuantity(q.text)
		if err != nil {
			return usage.Errorf("--%s %q is not an amount; write one such as 500m or 2Gi", q.flag, q.text)
		}
		*q.to = v
	}
	if said("accelerators") {
		spec.Accelerators.Count = f.accelerators
	}
	if said("software") {
		spec.Accelerators.Software = f.software
	}
	if said("env") {
		if err := setEnv(spec, f.env); err != nil {
			return err
		}
	}
	if said("batch-max") || said("batch-delay") {
		if spec.Batch == nil {
			spec.Batch = &v1alpha1.Batch{}
		}
		if said("batch-max") {
			spec.Batch.Max = f.batchMax
		}
		if said("batch-delay") {
			spec.Batch.DelayMicroseconds = int32(min(f.batchDelay.Microseconds(), 1<<30))
		}
	}
	if err := wholeSeconds(cmd, "request-timeout", f.requests, &spec.TimeoutSeconds); err != nil {
		return err
	}
	return f.applyScale(cmd, &spec.Scale)
}

// setEnv sets variables, and keeps others.
func setEnv(spec *v1alpha1.InferenceServiceSpec, env map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "PORT" || strings.HasPrefix(name, "POLDER_") {
			return usage.Errorf("--env %s is set by the cloud; choose another name", name)
		}
		i := slices.IndexFunc(spec.Env, func(e corev1.EnvVar) bool { return e.Name == name })
		if i < 0 {
			spec.Env = append(spec.Env, corev1.EnvVar{Name: name})
			i = len(spec.Env) - 1
		}
		spec.Env[i] = corev1.EnvVar{Name: name, Value: env[name]}
	}
	return nil
}

// applyScale writes the bounds that were said. A least that is above the most raises it.
func (f *serviceFlags) applyScale(cmd *cobra.Command, s *v1alpha1.Scale) error {
	said := cmd.Flags().Changed
	if said("max") {
		s.Max = f.maximum
	}
	if said("min") {
		s.Min = &f.minimum
		if !said("max") {
			s.Max = max(s.Max, f.minimum)
		}
	}
	if said("min") && said("max") && f.minimum > f.maximum {
		return usage.Errorf("--min %d is above --max %d", f.minimum, f.maximum)
	}
	if said("concurrency") {
		s.Concurrency = f.concurrency
	}
	if said("queue-max") {
		s.QueueMax = f.queueMax
	}
	if err := wholeSeconds(cmd, "idle", f.idle, &s.IdleSeconds); err != nil {
		return err
	}
	return wholeSeconds(cmd, "wake", f.wake, &s.WakeSeconds)
}

// wholeSeconds writes a duration that was said.
func wholeSeconds(cmd *cobra.Command, flag string, d time.Duration, to *int32) error {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	if d < time.Second || d > 24*time.Hour || d%time.Second != 0 {
		return usage.Errorf("--%s %s is not whole seconds between 1s and 24h", flag, d)
	}
	*to = int32(d / time.Second)
	return nil
}

func (o *options) serve() *cobra.Command {
	var f serviceFlags
	var name string
	cmd := &cobra.Command{
		Use:   "serve MODEL | --image IMAGE --name NAME [-- COMMAND...]",
		Short: "Serve a model, or a container with an HTTP port",
		Long: `Serve a model behind the cloud's gateway. MODEL is NAME, NAME@ALIAS or
NAME@sha256:DIGEST; a name and an alias are followed: when they come to mean another
version, it is rolled out, and the one before serves until the new one is ready.
What is served by a container of your own may need no model.`,
		Example: "  polder serve digits\n  polder serve digits@production --min 0 --max 4\n  polder serve -n lab --image images/lab/ocr --protocol http --name ocr -- /server --fast",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(beforeDash(cmd, args)) > 1 {
				return usage.Errorf("%s takes one MODEL, got %d; a command goes after --", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		svc := &v1alpha1.InferenceService{ObjectMeta: metav1.ObjectMeta{Name: name}}
		named := beforeDash(cmd, args)
		if len(named) == 1 {
			svc.Spec.Model = named[0]
			svc.Name, _, _ = strings.Cut(or(name, named[0]), "@")
		}
		svc.Spec.Command = args[len(named):]
		if err := f.apply(cmd, &svc.Spec); err != nil {
			return err
		}
		if svc.Spec.Image == "" && svc.Spec.Runtime == "" {
			svc.Spec.Runtime = defaultServer
		}
		if svc.Name == "" {
			return usage.Errorf("name a MODEL to serve, or with --image also a --name for the service")
		}
		return o.createService(cmd, svc, &f.waits)
	}
	f.add(cmd, o)
	cmd.Flags().StringVar(&name, "name", "", "name of the service (default: the model's)")
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	return o.flags(cmd, "json")
}

// beforeDash are the arguments that are not part of a command.
func beforeDash(cmd *cobra.Command, args []string) []string {
	if i := cmd.ArgsLenAtDash(); i >= 0 {
		return args[:i]
	}
	return args
}

// createService makes a service once all that it names is there.
func (o *options) createService(cmd *cobra.Command, svc *v1alpha1.InferenceService, w *waits) error {
	c, err := o.open(cmd)
	if err != nil {
		return err
	}
	svc.Namespace = c.Namespace
	if err := checkService(cmd.Context(), c, &svc.Spec); err != nil {
		return err
	}
	err = c.Create(cmd.Context(), svc)
	switch {
	case apierrors.IsAlreadyExists(err):
		return usage.Errorf("there is a service %s in namespace %s; change it with `polder service update %s`, or give the new one another --name", svc.Name, svc.Namespace, svc.Name)
	case err != nil:
		return refusedService(svc, err)
	}
	return o.settle(cmd, c, svc, w)
}

// refusedService says why the API server did not take a service.
func refusedService(svc *v1alpha1.InferenceService, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return usage.Errorf("service %s: %w", svc.Name, err)
	}
	return fmt.Errorf("writing service %s: %w", svc.Name, err)
}

// checkService looks up what a service names.
func checkService(ctx context.Context, c *kube.Client, spec *v1alpha1.InferenceServiceSpec) error {
	if spec.Runtime != "" {
		var all v1alpha1.RuntimeList
		if err := c.List(ctx, &all); err != nil {
			return fmt.Errorf("listing runtimes: %w", err)
		}
		var known []string
		for _, r := range all.Items {
			known = append(known, r.Name)
		}
		if !slices.Contains(known, spec.Runtime) {
			return usage.Errorf("there is no runtime %s; known are %s; `polder runtime build %s` makes it, if there is a recipe for it", spec.Runtime, or(strings.Join(known, ", "), "none"), spec.Runtime)
		}
	}
	models := []string{spec.Model}
	if spec.Canary != nil {
		models = append(models, spec.Canary.Model)
	}
	for _, m := range models {
		if err := checkModel(ctx, c, m); err != nil {
			return err
		}
		if spec.Image == "" && spec.Runtime == defaultServer {
			if err := checkONNX(ctx, c, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkONNX looks whether a model has what the default Runtime serves. Who may not read the
// registry is told by the replica.
func checkONNX(ctx context.Context, c *kube.Client, text string) error {
	if text == "" {
		return nil
	}
	m, n, err := readModel(ctx, c, text)
	if err != nil {
		return err
	}
	v, err := n.Find(m)
	if err != nil {
		return nil //nolint:nilerr // the controller says what it finds
	}
	images, err := store(ctx, c)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	return servable(ctx, images, text, v.Reference)
}

// servable says that an artifact has no model that the default Runtime serves.
func servable(ctx context.Context, images *registry.Client, text, reference string) error {
	a, err := pack.Find(ctx, images, reference)
	if err != nil || slices.ContainsFunc(a.Manifest.Layers, func(l ocispec.Descriptor) bool { return pack.Path(l) == infer.ModelFile }) {
		return nil //nolint:nilerr // the replica tells, who may read it
	}
	return usage.Errorf("model %s has no %s, which Runtime %s serves: export it to ONNX under that name (docs/formats/model.md, section 10), or give an --image that serves it as it is", text, infer.ModelFile, defaultServer)
}

// checkModel looks up a version of a model.
func checkModel(ctx context.Context, c *kube.Client, text string) error {
	if text == "" {
		return nil
	}
	name, version, given := strings.Cut(text, "@")
	var m v1alpha1.Model
	err := c.Get(ctx, kube.Key(c.Namespace, name), &m)
	if apierrors.IsNotFound(err) {
		return usage.Errorf("there is no model %s in namespace %s; `polder model ls -A` lists all", name, c.Namespace)
	}
	if err != nil {
		return fmt.Errorf("reading model %s: %w", name, err)
	}
	if !given || strings.HasPrefix(version, "sha256:") {
		return nil
	}
	var known []string
	for _, a := range m.Status.Aliases {
		known = append(known, a.Name)
	}
	if !slices.Contains(known, version) {
		return usage.Errorf("no version of model %s is called %s; its aliases are %s; `polder model promote` gives a version one", name, version, or(strings.Join(known, ", "), "none"))
	}
	return nil
}
