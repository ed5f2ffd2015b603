package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/sim"
	"polder.dev/polder/sched/trace"
)

// simulation is what the flags of sim say.
type simulation struct {
	nodes, pods string
	policies    []string
	seed        int64
	seeds       string
	tune        float64
	departures  bool
	faster      float64
	whatIf      []string
	plot        string
}

// The defaults are those of the published runs.
const (
	seedDefault = 42
	tuneDefault = 1.3
	seedsMax    = 1000
)

func (o *options) sim() *cobra.Command {
	var s simulation
	about := make([]string, 0, len(sched.Policies()))
	for _, p := range sched.Policies() {
		about = append(about, fmt.Sprintf("  %-11s%s", p.Name, p.What))
	}
	cmd := &cobra.Command{
		Use:   "sim --nodes FILE --pods FILE",
		Short: "Play a trace to scheduling policies, and plan capacity",
		Long: `Play a trace of a cluster to the scheduler's own functions, with no cloud at all:
how much of the devices gets used, and how much is too scattered to be. Pods arrive
in random order and none leaves; with --departures they come and go as recorded, and
wait for room. The policies:

` + strings.Join(about, "\n"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.simulate(cmd, &s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.nodes, "nodes", "", "`file` of nodes: sn,cpu_milli,memory_mib,gpu,model")
	f.StringVar(&s.pods, "pods", "", "`file` of pods: name,cpu_milli,memory_mib,num_gpu,gpu_milli and, if there are, gpu_spec,creation_time,deletion_time")
	f.StringSliceVar(&s.policies, "policy", []string{"polder"}, "policies to play it to, with commas between them")
	f.Int64Var(&s.seed, "seed", seedDefault, "what decides the order of the pods")
	f.StringVar(&s.seeds, "seeds", "", "several seeds, as `FIRST..LAST`; results are means")
	f.Float64Var(&s.tune, "tune", tuneDefault, "how many times the cluster's devices are asked for, by doubling pods or leaving some out; 0 plays the trace as it is")
	f.BoolVar(&s.departures, "departures", false, "pods leave as recorded, and wait for room")
	f.Float64Var(&s.faster, "faster", 1, "with --departures, how many times as fast as recorded pods arrive; they run as long")
	f.StringArrayVar(&s.whatIf, "what-if", nil, "with machines `"+sim.Grammar+"`; can be given again")
	f.StringVar(&s.plot, "plot", "", "SVG `file` to draw allocation and fragmentation in")
	for _, name := range []string{"nodes", "pods"} {
		_ = cmd.MarkFlagRequired(name)
		_ = cmd.MarkFlagFilename(name, "csv")
	}
	_ = cmd.MarkFlagFilename("plot", "svg")
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicies)
	cmd.MarkFlagsMutuallyExclusive("seed", "seeds")
	return o.formats(cmd, "json")
}

// completePolicies completes the last of a list.
func completePolicies(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	var out []string
	for _, p := range sched.Policies() {
		if !slices.Contains(strings.Split(before, ","), p.Name) {
			out = append(out, cobra.CompletionWithDesc(before+p.Name, p.What))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// variant is a cluster that is played on: as it is, or as it would be.
type variant struct {
	name string
	plan sim.Plan
	runs []sim.Curve // by policy
}

func (o *options) simulate(cmd *cobra.Command, s *simulation) error {
	seeds, err := s.check()
	if err != nil {
		return err
	}
	variants, err := s.variants()
	if err != nil {
		return err
	}
	for i := range variants {
		if err := s.run(cmd, &variants[i], seeds, len(variants)); err != nil {
			return err
		}
	}
	if s.plot != "" {
		if err := s.draw(variants); err != nil {
			return err
		}
	}
	if o.json() {
		return printJSON(cmd.OutOrStdout(), simJSON(variants, s.whatIf))
	}
	return showSim(cmd.OutOrStdout(), variants)
}

// check looks at all flags before anything is read.
func (s *simulation) check() ([]int64, error) {
	known := sched.PolicyNames()
	for i, p := range s.policies {
		if !slices.Contains(known, p) {
			return nil, usage.Errorf("--policy: %q is not known; choose among %s", p, strings.Join(known, ","))
		}
		if slices.Contains(s.policies[:i], p) {
			return nil, usage.Errorf("--policy: %s is there twice; name it once", p)
		}
	}
	if len(s.policies) == 0 {
		return nil, usage.Errorf("--policy names none; choose among %s", strings.Join(known, ","))
	}
	if s.faster != 1 && !s.departures {
		return nil, usage.Errorf("--faster says how soon pods come and go; it needs --departures")
	}
	if s.plot != "" {
		if dir := filepath.Dir(s.plot); !isDir(dir) {
			return nil, usage.Errorf("--plot %s: there is no directory %s; make it, or name another", s.plot, dir)
		}
	}
	if s.seeds == "" {
		return []int64{s.seed}, nil
	}
	from, to, found := strings.Cut(s.seeds, "..")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if !found || err1 != nil || err2 != nil || last < first || last-first >= seedsMax || last-first < 0 {
		return nil, usage.Errorf("--seeds %s is not understood; write FIRST..LAST, such as 42..51, of at most %d seeds", s.seeds, seedsMax)
	}
	var out []int64
	for seed := first; ; seed++ {
		if out = append(out, seed); seed == last {
			return out, nil
		}
	}
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

// variants reads the trace, and changes the cluster as asked.
func (s *simulation) variants() ([]variant, error) {
	nodes, err := trace.NodesOf(s.nodes)
	if err != nil {
		return nil, usage.Errorf("--nodes: %w", err)
	}
	pods, err := trace.PodsOf(s.pods)
	if err != nil {
		return nil, usage.Errorf("--pods: %w", err)
	}
	now := sim.Plan{Nodes: nodes, Pods: pods, Tune: s.tune, Faster: s.faster}
	if err := now.Check(); err != nil {
		return nil, usage.Error(err)
	}
	if s.departures {
		if err := now.Timed(); err != nil {
			return nil, usage.Errorf("--departures: %w", err)
		}
	}
	out := []variant{{name: "now", plan: now}}
	for i, change := range s.whatIf {
		with, err := out[0].plan, error(nil)
		if i > 0 {
			with = out[1].plan
		}
		if with, err = with.WhatIf(change); err != nil {
			return nil, usage.Errorf("--what-if: %w", err)
		}
		out = append(out[:1], variant{name: strings.Join(s.whatIf[:i+1], " "), plan: with})
	}
	return out, nil
}

// run plays a variant to all policies, with all seeds.
func (s *simulation) run(cmd *cobra.Command, v *variant, seeds []int64, variants int) error {
	var trials []sim.Trial
	for _, p := range s.policies {
		for _, seed := range seeds {
			trials = append(trials, sim.Trial{Policy: p, Seed: seed, Departures: s.departures})
		}
	}
	done, line := 0, term.NewLine(cmd.ErrOrStderr())
	show := func(sim.Trial) {
		if done++; term.Is(cmd.ErrOrStderr()) {
			what := "playing"
			if variants > 1 {
				what += " " + v.name
			}
			line.Set(fmt.Sprintf("%s  %s  run %d of %d", what, term.Bar(float64(done)/float64(len(trials)), 30), done, len(trials)))
		}
	}
	results, err := sim.Each(cmd.Context(), v.plan, trials, runtime.GOMAXPROCS(0), show)
	line.Clear()
	if err != nil {
		return fmt.Errorf("playing %s: %w", s.pods, err)
	}
	for i, p := range s.policies {
		v.runs = append(v.runs, sim.Curve{Name: p, Result: sim.Mean(results[i*len(seeds) : (i+1)*len(seeds)])})
	}
	return nil
}

func (s *simulation) draw(variants []variant) error {
	var curves []sim.Curve
	for _, v := range variants {
		for _, c := range v.runs {
			if len(variants) > 1 {
				c.Name += ", " + v.name
			}
			curves = append(curves, c)
		}
	}
	f, err := os.Create(s.plot)
	if err != nil {
		return fmt.Errorf("drawing the plot: %w", err)
	}
	if err := sim.Plot(f, filepath.Base(s.pods), curves); err != nil {
		f.Close()
		return fmt.Errorf("drawing the plot: %w", err)
	}
	return f.Close()
}
