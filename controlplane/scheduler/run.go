package scheduler

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/cli"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// run becomes kube-scheduler with these flags, which are those of upstream's command.
// That one has no place at which something can be put between plugins and the queue.
func run(flags []string, plugins []app.Option) int {
	opts := options.NewOptions()
	cmd := &cobra.Command{
		Use: "kube-scheduler", Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return opts.ComponentGlobalsRegistry.Set() },
		RunE: func(*cobra.Command, []string) error {
			gates := opts.ComponentGlobalsRegistry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
			if err := logsapi.ValidateAndApply(opts.Logs, gates); err != nil {
				return fmt.Errorf("setting up the log: %w", err)
			}
			name, err := cache.NewInformerName("kube-scheduler")
			if err != nil {
				return fmt.Errorf("naming the informers: %w", err)
			}
			opts.InformerName = name
			if g, ok := gates.(featuregate.MutableFeatureGate); ok {
				g.AddMetrics()
			}
			return schedule(server.SetupSignalContext(), opts, plugins)
		},
	}
	for _, set := range opts.Flags.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	cmd.SetArgs(flags)
	return cli.Run(cmd)
}

// schedule works until ctx ends.
func schedule(ctx context.Context, opts *options.Options, plugins []app.Option) error {
	c, s, err := app.Setup(ctx, opts, plugins...)
	if err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	binding := make(chan struct{}, bindings)
	for name, f := range s.Profiles {
		f.SetPodActivator(newCalmer(s.SchedulingQueue))
		s.Profiles[name] = &profile{Framework: f, binding: binding}
	}
	opts.ComponentGlobalsRegistry.AddMetrics()
	return app.Run(ctx, c, s)
}

// bindings are the most at once. For those of a whole gang together the client opens
// hundreds of connections, and they are done later (bench/README.md).
const bindings = 64

// profile is one of upstream's, but for that.
type profile struct {
	framework.Framework
	binding chan struct{} // has one in it for each that is under way
}

func (p *profile) RunBindPlugins(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	select {
	case p.binding <- struct{}{}:
		defer func() { <-p.binding }()
	case <-ctx.Done():
		return fwk.AsStatus(context.Cause(ctx))
	}
	return p.Framework.RunBindPlugins(ctx, state, pod, node)
}
