package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/sim"
	"polder.dev/polder/sched/trace"
)

// drainTime is how long the scheduler may take for all pods.
const drainTime = 15 * time.Minute

// measureSched: the policy in the real scheduler, on nodes that are not there.
func measureSched(ctx context.Context, b *bench) error {
	nodes, err := trace.NodesOf(filepath.Join(b.openb, "openb_node_list_gpu_node.csv"))
	if err != nil {
		return fmt.Errorf("-openb must name a folder with the openb traces: %w", err)
	}
	for _, name := range []string{"default", "gpuspec33"} {
		pods, err := trace.PodsOf(filepath.Join(b.openb, "openb_pod_list_"+name+".csv"))
		if err != nil {
			return err
		}
		var real, simulated, apart []float64
		for seed := range int64(b.seeds) {
			r, s, err := b.real(ctx, sim.Plan{Nodes: nodes, Pods: pods, Tune: tune}, firstSeed+seed)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			real, simulated, apart = append(real, hundredths(r)), append(simulated, hundredths(s)), append(apart, hundredths(r-s))
		}
		note := fmt.Sprintf("seeds from %d, after all that arrived up to 100 %%", firstSeed)
		b.add("openb "+name+", polder in kube-scheduler, allocated at 100 % arrived", "%", real, note)
		b.add("the same, simulated", "%", simulated, note)
		b.add("the same, kube-scheduler less simulated", "pp", apart, "")
	}
	return nil
}

// fresh is a new cloud with a policy.
func (b *bench) fresh(ctx context.Context, policy, workload string) (*kube.Client, error) {
	if err := b.cloud.reset(ctx); err != nil {
		return nil, err
	}
	file := filepath.Join(filepath.Dir(b.cloud.dir), "sched.yaml")
	text := fmt.Sprintf("scheduler: {policy: %s, workloadFile: %q}\n", policy, workload)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := b.cloud.up(ctx, "--config="+file); err != nil {
		return nil, err
	}
	return b.cloud.client()
}

// real plays what arrives up to 100 % to the real scheduler and to a board, and returns
// how much of the devices each has given out.
func (b *bench) real(ctx context.Context, p sim.Plan, seed int64) (real, simulated float64, err error) {
	workload := p.Workload()
	text, err := json.Marshal(workload)
	if err != nil {
		return 0, 0, err
	}
	file := filepath.Join(filepath.Dir(b.cloud.dir), "workload.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return 0, 0, err
	}
	nodes, pods := p.Deal(seed)
	size := int64(0)
	for i := range nodes {
		size += int64(len(nodes[i].Devices)) * sched.Whole
	}
	var requests []sched.Request
	sum := int64(0)
	for i := range pods {
		sum += pods[i].Request.Milli()
		if math.RoundToEven(float64(sum)*100/float64(size)) > 100 {
			break
		}
		requests = append(requests, pods[i].Request)
	}
	if simulated, err = onBoard(nodes, requests, workload, size); err != nil {
		return 0, 0, err
	}
	k, err := b.fresh(ctx, "polder", file)
	if err != nil {
		return 0, 0, err
	}
	if err := b.cloud.fakes(ctx, k, nodes, true); err != nil {
		return 0, 0, err
	}
	d, err := b.drain(ctx, k, requests)
	if err != nil {
		return 0, 0, err
	}
	given, err := allocated(ctx, k)
	if err != nil {
		return 0, 0, err
	}
	b.note("seed %d: %d of %d pods placed in %.0f s", seed, d.placed, len(requests), d.took.Seconds())
	return float64(given) * 100 / float64(size), simulated, nil
}

func (b *bench) note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// onBoard places requests on a board, and returns the percent of size that is given out.
func onBoard(nodes []sched.Node, requests []sched.Request, w sched.Workload, size int64) (float64, error) {
	board, err := sched.NewBoard(sched.Snapshot{Nodes: nodes}, sched.Config{Policy: "polder", Workload: w})
	if err != nil {
		return 0, err
	}
	for _, r := range requests {
		d, err := board.Choose(r)
		if err == nil && d != nil {
			err = board.Place(r, *d)
		}
		if err != nil {
			return 0, err
		}
	}
	return float64(size-board.Idle()) * 100 / float64(size), nil
}

// drained is how it went.
type drained struct {
	took   time.Duration // until all were placed or refused
	placed int
	busy   time.Duration // of the scheduler's processor time
}

// drain has pods arrive while the scheduler stands still, and then go. That way the API
// server's time for creating them is not in the result.
func (b *bench) drain(ctx context.Context, k *kube.Client, requests []sched.Request) (drained, error) {
	pid, err := b.cloud.scheduler(ctx)
	if err != nil {
		return drained{}, err
	}
	if err := b.cloud.claims(ctx, requests); err != nil {
		return drained{}, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return drained{}, err
	}
	err = b.cloud.pods(ctx, requests)
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	before, e := ofProcess(proc)
	if err = errors.Join(err, e, syscall.Kill(pid, syscall.SIGCONT)); err != nil {
		return drained{}, err
	}
	d, err := b.settled(ctx, k, len(requests))
	if err != nil {
		return drained{}, err
	}
	after, err := ofProcess(proc)
	d.busy = time.Duration(after.ticks-before.ticks) * time.Second / hertz
	return d, err
}

// scheduler is its process.
func (c *cloud) scheduler(ctx context.Context) (int, error) {
	s, err := c.status(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range s.Components {
		if p.Name == "kube-scheduler" && p.PID > 0 {
			return p.PID, nil
		}
	}
	return 0, errors.New("the cloud has no kube-scheduler")
}

// settled waits until all pods are placed or refused.
func (b *bench) settled(ctx context.Context, k *kube.Client, pods int) (drained, error) {
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	last, since := -1, time.Now()
	for {
		waiting, refused, err := unplaced(limit, k)
		if err != nil {
			return drained{}, err
		}
		if waiting != last {
			last, since = waiting, time.Now()
		}
		// The last may be retried once more, on all nodes.
		if waiting == 0 || waiting == refused && time.Since(since) > settleTime {
			return drained{took: since.Sub(began), placed: pods - waiting}, nil
		}
		if err := pause(limit, lookTime(waiting)); err != nil {
			return drained{}, fmt.Errorf("%d pods are neither placed nor refused: %w", waiting-refused, err)
		}
	}
}

const settleTime = 15 * time.Second

// lookTime spares the API server lists of many pods: their cost is part of what is
// measured.
func lookTime(waiting int) time.Duration {
	return 250*time.Millisecond + time.Duration(waiting)*2*time.Millisecond
}

// unplaced counts the pods without a node, and those of them that were refused one.
func unplaced(ctx context.Context, k *kube.Client) (waiting, refused int, err error) {
	var list corev1.PodList
	if err := k.List(ctx, &list, kube.InNamespace(fakeSpace), client.MatchingFields{"spec.nodeName": ""}); err != nil {
		return 0, 0, err
	}
	for i := range list.Items {
		if !strings.HasPrefix(list.Items[i].Name, "fake-") {
			continue
		}
		waiting++
		for _, c := range list.Items[i].Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable {
				refused++
			}
		}
	}
	return waiting, refused, nil
}

// allocated is how many thousandths of devices claims have.
func allocated(ctx context.Context, k *kube.Client) (int64, error) {
	var list resourcev1.ResourceClaimList
	if err := k.List(ctx, &list, kube.InNamespace(fakeSpace)); err != nil {
		return 0, err
	}
	sum := int64(0)
	for i := range list.Items {
		if a := list.Items[i].Status.Allocation; a != nil {
			for _, r := range a.Devices.Results {
				q := r.ConsumedCapacity[milli]
				sum += q.Value()
			}
		}
	}
	return sum, nil
}
