package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/sched"
)

// The cluster on which gangs are measured, and how many of what size.
const (
	gangNodes, gangDevices, gangZones = 5000, 8, 10
	gangs, gangPods                   = 3, 1000
)

// shape is what the pods of the gangs want.
type shape struct {
	what    string
	devices int
	zone    bool // all pods of a gang in one
}

var shapes = []shape{
	{"", 0, false},
	{" in one zone of ten each", 0, true},
	{" with a device for each pod", 1, false},
	{" with a device for each pod, in one zone of ten each", 1, true},
}

// measureGang compares gangs in the real scheduler with those of upstream's plugins, in
// turns.
func measureGang(ctx context.Context, b *bench) error {
	for _, s := range shapes {
		found, busy := map[string][]float64{}, map[string]string{}
		var ratio []float64
		for range b.runs {
			for _, policy := range []string{"stock", "polder"} {
				rate, cost, err := b.gangs(ctx, policy, s)
				if err != nil {
					return fmt.Errorf("gangs%s, policy %s: %w", s.what, policy, err)
				}
				found[policy], busy[policy] = append(found[policy], rate), cost
				b.note("gangs%s, policy %s: %.1f pods/s; %s", s.what, policy, rate, cost)
			}
			n := len(found["stock"]) - 1
			ratio = append(ratio, found["polder"][n]/found["stock"][n])
		}
		what := fmt.Sprintf("%d gangs of %d pods on %d nodes%s, ", gangs, gangPods, gangNodes, s.what)
		b.add(what+"stock kube-scheduler", "pods/s", found["stock"], busy["stock"])
		b.add(what+"Polder's plugins", "pods/s", found["polder"], busy["polder"])
		b.add("the latter in proportion", "x", ratio, "")
	}
	return nil
}

// gangs is pods per second, from when the scheduler sees the first of them until the last
// has a node, and the processor time that each cost meanwhile.
func (b *bench) gangs(ctx context.Context, policy string, s shape) (rate float64, cost string, err error) {
	k, err := b.fresh(ctx, policy, "")
	if err != nil {
		return 0, "", err
	}
	if err := accounted(ctx, k); err != nil {
		return 0, "", err
	}
	wake, err := b.cloud.quiet(ctx, "kube-scheduler") // others would find that the nodes are not there
	defer wake()
	if err != nil {
		return 0, "", err
	}
	nodes := alike(gangNodes, gangDevices)
	for i := range nodes {
		nodes[i].Domain = []sched.Label{{Level: corev1.LabelTopologyZone, Name: fmt.Sprint("zone-", i%gangZones)}}
	}
	if err := b.cloud.fakes(ctx, k, nodes, false); err != nil {
		return 0, "", err
	}
	r := sched.Request{CPU: 1000, Memory: 1 << 30, Count: s.devices}
	if s.devices > 0 {
		r.Share = sched.Whole
	}
	for g := range gangs {
		if err := k.Create(ctx, groupOf(g, s)); err != nil {
			return 0, "", err
		}
	}
	if s.devices > 0 {
		err := b.cloud.all(ctx, gangs*gangPods, func(ctx context.Context, k *kube.Client, i int) error { return create(ctx, k, claimOf(nameOf(i), r)) })
		if err != nil {
			return 0, "", err
		}
	}
	pid, err := b.cloud.scheduler(ctx)
	if err != nil {
		return 0, "", err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return 0, "", err
	}
	err = b.cloud.all(ctx, gangs*gangPods, func(ctx context.Context, k *kube.Client, i int) error {
		p := podOf(nameOf(i), r)
		name := groupOf(i%gangs, s).Name
		p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &name}
		return create(ctx, k, p)
	})
	store, server, failed := b.cloud.stores(ctx)
	busy := func(pid int) float64 { return float64(ticks(pid)) * 1000 / hertz / (gangs * gangPods) }
	before := []float64{busy(server), busy(store), busy(pid)}
	if err := errors.Join(err, failed, syscall.Kill(pid, syscall.SIGCONT)); err != nil {
		return 0, "", err
	}
	took, err := allPlaced(ctx, k)
	cost = fmt.Sprintf("of the processor for each: API server %.1f ms, etcd %.1f, scheduler %.1f", busy(server)-before[0], busy(store)-before[1], busy(pid)-before[2])
	return gangs * gangPods / took.Seconds(), cost, err
}

func groupOf(i int, s shape) *schedulingv1beta1.PodGroup {
	g := &schedulingv1beta1.PodGroup{ObjectMeta: metav1.ObjectMeta{Namespace: fakeSpace, Name: fmt.Sprint("gang-", i)}, Spec: schedulingv1beta1.PodGroupSpec{
		SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: gangPods}}}}
	if s.zone {
		g.Spec.SchedulingConstraints = &schedulingv1beta1.PodGroupSchedulingConstraints{Topology: []schedulingv1beta1.TopologyConstraint{{Key: corev1.LabelTopologyZone}}}
	}
	return g
}

// allPlaced waits until no pod is without a node.
func allPlaced(ctx context.Context, k *kube.Client) (time.Duration, error) {
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for {
		var list corev1.PodList
		if err := k.List(limit, &list, kube.InNamespace(fakeSpace), client.MatchingFields{"spec.nodeName": ""}, client.Limit(1)); err != nil {
			return 0, err
		}
		if len(list.Items) == 0 {
			return time.Since(began), nil
		}
		if err := pause(limit, 100*time.Millisecond); err != nil {
			return 0, fmt.Errorf("pod %s and maybe others have no node: %w", list.Items[0].Name, err)
		}
	}
}
