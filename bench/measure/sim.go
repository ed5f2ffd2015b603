package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/sched/sim"
	"polder.dev/polder/sched/trace"
)

// The published runs' seeds are firstSeed and those after it, and what arrives is tune
// times the cluster.
const (
	firstSeed, seedCount = 42, 10
	tune                 = 1.3
)

// publishedNames are what the authors call our policies in their results.
var publishedNames = map[string]string{
	"random": "01-Random", "dotprod": "02-DotProd", "clustering": "03-GpuClustering", "packing": "04-GpuPacking", "bestfit": "05-BestFit", "fgd": "06-FGD",
}

// measureSim: how long a decision takes, and what the policies make of the traces.
func measureSim(ctx context.Context, b *bench) error {
	if err := b.decisions(ctx); err != nil {
		return err
	}
	nodes, err := trace.NodesOf(filepath.Join(b.openb, "openb_node_list_gpu_node.csv"))
	if err != nil {
		return fmt.Errorf("-openb must name a folder with the openb traces (alibaba/clusterdata, cluster-trace-gpu-v2023): %w", err)
	}
	published := publishedResults(filepath.Join(b.openb, "expected_summary_by_policy.csv"))
	files, err := filepath.Glob(filepath.Join(b.openb, "openb_pod_list_*.csv"))
	if err != nil {
		return err
	}
	for _, file := range files {
		pods, err := trace.PodsOf(file)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		policies := []string{"fgd", "polder"}
		if name == "openb_pod_list_default" {
			if err := b.defragment(nodes, pods); err != nil {
				return err
			}
			policies = []string{"random", "dotprod", "clustering", "packing", "bestfit", "fgd", "polder"}
		}
		for _, p := range policies {
			if err := b.play(ctx, sim.Plan{Nodes: nodes, Pods: pods, Tune: tune}, name, p, published); err != nil {
				return err
			}
		}
	}
	return nil
}

// decisions shows how their time grows with the cluster.
func (b *bench) decisions(ctx context.Context) error {
	percentiles := []struct{ what, metric string }{{"median", "p50-us"}, {"99th percentile", "p99-us"}}
	g := growth{title: "A decision and its placement, nodes of 8 devices", x: "nodes", y: "µs", of: make([]series, len(percentiles))}
	for _, nodes := range []int{100, 300, 1000, 3000, 10000} {
		name := fmt.Sprintf("BenchmarkDecide/nodes=%d", nodes)
		for i, m := range percentiles {
			runs, err := goBench(ctx, "./sched", name, m.metric, b.runs)
			if err != nil {
				return err
			}
			b.add(fmt.Sprintf("decision and placement on %d nodes of 8 devices, %s", nodes, m.what), "µs", runs, "go test -bench "+name+" ./sched")
			g.of[i].name, g.of[i].x, g.of[i].y = m.what, append(g.of[i].x, float64(nodes)), append(g.of[i].y, median(runs))
		}
	}
	if err := b.draw("decision.svg", g); err != nil {
		return err
	}
	runs, err := goBench(ctx, "./sched", "BenchmarkFirst/nodes=10000", "ns/op", b.runs)
	for i := range runs {
		runs[i] /= 1e6
	}
	b.add("decision for a shape that was never asked for, on 10000 nodes, mean", "ms", runs, "go test -bench BenchmarkFirst ./sched")
	return err
}

// play plays a trace to a policy with all seeds, and adds the mean of each number.
func (b *bench) play(ctx context.Context, p sim.Plan, name, policy string, published map[string]float64) error {
	var trials []sim.Trial
	for i := range int64(seedCount) {
		trials = append(trials, sim.Trial{Policy: policy, Seed: firstSeed + i})
	}
	began := time.Now()
	results, err := sim.Each(ctx, p, trials, runtime.GOMAXPROCS(0), func(sim.Trial) {})
	if err != nil {
		return err
	}
	took := time.Since(began)
	mean := sim.Mean(results)
	short := strings.TrimPrefix(name, "openb_pod_list_")
	for _, percent := range []int{100, 130} {
		at, ok := mean.At(percent)
		if !ok {
			return fmt.Errorf("%s: %d %% did not arrive", name, percent)
		}
		note := fmt.Sprintf("mean of seeds %d to %d", firstSeed, firstSeed+seedCount-1)
		if v, ok := published[fmt.Sprintf("%s %s gpu_alloc_pct %d", name, publishedNames[policy], percent)]; ok {
			note += fmt.Sprintf("; published %.2f", v)
		}
		if percent == 100 {
			note += fmt.Sprintf("; all took %.1f s", took.Seconds())
		}
		b.add(fmt.Sprintf("openb %s, %s, allocated at %d %% arrived", short, policy, percent), "%", []float64{hundredths(at.Allocation)}, note)
		if percent == 100 {
			b.add(fmt.Sprintf("openb %s, %s, fragmented at %d %% arrived", short, policy, percent), "%", []float64{hundredths(at.Fragmentation)}, "")
		}
	}
	return nil
}

func hundredths(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'f', 2, 64), 64)
	return v
}

// publishedResults reads the authors' means, by trace, policy, metric and percent. A
// folder without them is compared with nothing.
func publishedResults(file string) map[string]float64 {
	out := map[string]float64{}
	f, err := os.Open(file)
	if err != nil {
		return out
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) == 0 {
		return out
	}
	for _, row := range rows[1:] {
		for i := 3; i < len(row); i++ {
			percent, ok := strings.CutPrefix(rows[0][i], "mean@")
			if v, err := strconv.ParseFloat(row[i], 64); ok && err == nil {
				out[strings.Join(append(append([]string{}, row[:3]...), percent), " ")] = v
			}
		}
	}
	return out
}
