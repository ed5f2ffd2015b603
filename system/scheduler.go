package system

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"polder.dev/polder/controlplane/scheduler"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/sched/plugin"
)

// scheduler is the verb for clusters that this program did not make: there Polder's
// scheduler runs beside the one that is there.
func (v *verbs) scheduler() *cobra.Command {
	cmd := &cobra.Command{
		Use: "scheduler", Short: "Run Polder's scheduler in any Kubernetes cluster",
		Long: `Schedule pods with devices, and gangs of pods, in a Kubernetes cluster, as a
cloud that ` + "`polder up`" + ` made does by itself. On another cluster (1.36 or newer) a
Deployment does it, which ` + "`manifest`" + ` prints. Pods that name it as their schedulerName
are its own; those with resource claims must.`,
	}
	cmd.AddCommand(schedulerManifest())
	return cmd
}

// secondFlags are those that both verbs have.
func secondFlags(cmd *cobra.Command, s *scheduler.Second) {
	cmd.Flags().StringVar(&s.Name, "name", "polder-scheduler", "what pods write as their schedulerName")
	cmd.Flags().StringVar(&s.Policy, "policy", "polder", "how it chooses: polder, or fgd, which keeps no models for those who can use no other")
}

func schedulerManifest() *cobra.Command {
	var s scheduler.Second
	cmd := &cobra.Command{
		Use: "manifest --image IMAGE", Short: "Print what runs the scheduler in a cluster, for kubectl apply",
		Example: "  polder scheduler manifest --image registry.example.com/polder:0.1.0 | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := s.Manifest()
			if err != nil {
				return usage.Error(err)
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	secondFlags(cmd, &s)
	cmd.Flags().StringVar(&s.Image, "image", "", "an `image` that has this program as /polder")
	_ = cmd.MarkFlagRequired("image")
	return cmd
}

// runSecond is what those pods run. It is no verb of the command line, which takes away
// the flags that Kubernetes' libraries look for.
func runSecond(args []string) (code int) {
	var s scheduler.Second
	var dir string
	cmd := &cobra.Command{
		Use: "polder scheduler run", Short: "Be the scheduler, in a pod", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(*cobra.Command, []string) (err error) {
			code, err = s.Run(dir, plugin.Profile(s.Name, s.Policy), plugin.Options(plugin.Config{Policy: s.Policy})...)
			return err
		},
	}
	secondFlags(cmd, &s)
	cmd.Flags().StringVar(&dir, "dir", "/run/scheduler", "directory to write to")
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		return 1
	}
	return code
}
