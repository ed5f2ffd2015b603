package main

import (
	"context"
	"fmt"

	"polder.dev/polder/sched"
)

// The cluster on which pods per second are measured, and how many pods.
const (
	rateNodes, rateDevices = 500, 8
	ratePods               = 1500
)

// measureRate compares pods per second with those of upstream's plugins, in turns.
func measureRate(ctx context.Context, b *bench) error {
	found, busy := map[string][]float64{}, map[string][]float64{}
	var ratio []float64
	for range b.runs {
		for _, policy := range []string{"stock", "polder"} {
			rate, each, err := b.rate(ctx, policy)
			if err != nil {
				return fmt.Errorf("policy %s: %w", policy, err)
			}
			found[policy], busy[policy] = append(found[policy], rate), append(busy[policy], each)
			b.note("policy %s: %.1f pods/s, %.1f ms of processor time each", policy, rate, each)
		}
		n := len(found["stock"]) - 1
		ratio = append(ratio, found["polder"][n]/found["stock"][n])
	}
	what := fmt.Sprintf("pods with a claim of one device, on %d nodes of %d, ", rateNodes, rateDevices)
	b.add(what+"stock kube-scheduler", "pods/s", found["stock"], fmt.Sprintf("%d pods", ratePods))
	b.add(what+"Polder's plugins", "pods/s", found["polder"], "")
	b.add("the latter in proportion", "x", ratio, "")
	b.add("processor time of the scheduler for each, stock", "ms", busy["stock"], "")
	b.add("processor time of the scheduler for each, Polder's plugins", "ms", busy["polder"], "")
	return nil
}

// rate is pods per second, and milliseconds of the scheduler's processor time for each.
func (b *bench) rate(ctx context.Context, policy string) (float64, float64, error) {
	k, err := b.fresh(ctx, policy, "")
	if err != nil {
		return 0, 0, err
	}
	if err := accounted(ctx, k); err != nil {
		return 0, 0, err
	}
	wake, err := b.cloud.quiet(ctx, "kube-scheduler") // others would find that the nodes are not there
	defer wake()
	if err != nil {
		return 0, 0, err
	}
	nodes := alike(rateNodes, rateDevices)
	if err := b.cloud.fakes(ctx, k, nodes, false); err != nil {
		return 0, 0, err
	}
	requests := make([]sched.Request, ratePods)
	for i := range requests {
		requests[i] = sched.Request{CPU: 1000, Memory: 1 << 30, Count: 1, Share: sched.Whole}
	}
	d, err := b.drain(ctx, k, requests)
	if err != nil {
		return 0, 0, err
	}
	if d.placed != ratePods {
		return 0, 0, fmt.Errorf("%d of %d pods were placed", d.placed, ratePods)
	}
	return ratePods / d.took.Seconds(), float64(d.busy.Milliseconds()) / ratePods, nil
}

// alike are nodes with so many devices each.
func alike(n, devices int) []sched.Node {
	nodes := make([]sched.Node, n)
	for i := range nodes {
		nodes[i] = sched.Node{Name: fmt.Sprintf("node-%04d", i), Size: sched.Amount{CPU: 64_000, Memory: 256 << 30, Pods: 110}, Devices: make([]sched.Device, devices)}
		for j := range nodes[i].Devices {
			nodes[i].Devices[j].Model = "A100"
		}
	}
	return nodes
}
