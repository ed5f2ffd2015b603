package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"polder.dev/polder/internal/logs"
)

const (
	// gather is how long changes are collected before the table is written.
	gather = 20 * time.Millisecond
	// repair is how often the table is written without a change, and how soon
	// after it could not be.
	repair = time.Minute
	retry  = time.Second
)

// Firewall keeps the kernel's table equal to what the policies say.
type Firewall struct {
	log     *slog.Logger
	cidr    netip.Prefix
	guard   Guard
	factory informers.SharedInformerFactory
	changed chan struct{} // holds one: something changed
	last    string
	ready   atomic.Bool // the table was written once
}

// New returns a Firewall for pods in podCIDR. It starts nothing before Run.
func New(log *slog.Logger, client kubernetes.Interface, podCIDR netip.Prefix, guard Guard) (*Firewall, error) {
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, fmt.Errorf("firewall: %w; apt-get install nftables", err)
	}
	f := &Firewall{
		log: log, cidr: podCIDR, guard: guard, changed: make(chan struct{}, 1),
		factory: informers.NewSharedInformerFactory(client, 0),
	}
	tell := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f.tell() },
		DeleteFunc: func(any) { f.tell() },
		UpdateFunc: func(before, after any) {
			if matters(before, after) {
				f.tell()
			}
		},
	}
	for _, i := range []cache.SharedIndexInformer{
		f.factory.Core().V1().Pods().Informer(), f.factory.Core().V1().Namespaces().Informer(), f.factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if err := i.SetTransform(slim); err != nil {
			return nil, fmt.Errorf("firewall: %w", err)
		}
		if _, err := i.AddEventHandler(tell); err != nil {
			return nil, fmt.Errorf("firewall: %w", err)
		}
	}
	return f, nil
}

// slim drops what no rule depends on, so that a cache of many pods stays small.
func slim(o any) (any, error) {
	switch v := o.(type) {
	case *corev1.Pod:
		v.ManagedFields, v.Annotations = nil, nil
		v.Spec = corev1.PodSpec{HostNetwork: v.Spec.HostNetwork, Containers: v.Spec.Containers}
		for i := range v.Spec.Containers {
			v.Spec.Containers[i] = corev1.Container{Ports: v.Spec.Containers[i].Ports}
		}
		v.Status = corev1.PodStatus{Phase: v.Status.Phase, PodIP: v.Status.PodIP}
	case *corev1.Namespace:
		v.ManagedFields, v.Annotations = nil, nil
	case *networkingv1.NetworkPolicy:
		v.ManagedFields, v.Annotations = nil, nil
	}
	return o, nil
}

// matters reports whether a change can change a rule.
func matters(before, after any) bool {
	a, ok := before.(*corev1.Pod)
	b, ok2 := after.(*corev1.Pod)
	if !ok || !ok2 {
		return true
	}
	return a.Status.PodIP != b.Status.PodIP || a.Status.Phase != b.Status.Phase || !labels.Equals(a.Labels, b.Labels)
}

func (f *Firewall) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Run enforces until ctx ends. The table stays when it returns: pods are not open
// while the firewall is started again.
func (f *Firewall) Run(ctx context.Context) error {
	f.factory.Start(ctx.Done())
	defer f.factory.Shutdown()
	for kind, ok := range f.factory.WaitForCacheSync(ctx.Done()) {
		if !ok && ctx.Err() == nil {
			return fmt.Errorf("firewall: %v cannot be listed", kind)
		}
	}
	for ctx.Err() == nil {
		wait := repair
		if err := f.write(ctx); err != nil {
			f.log.Error("writing the packet filter", logs.Err, err)
			wait = retry
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
			f.last = "" // whoever flushed it: it comes back
		case <-f.changed:
			pause(ctx, gather)
		}
		t.Stop()
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (f *Firewall) write(ctx context.Context) error {
	s, err := f.state()
	if err != nil {
		return err
	}
	table := Compile(s, f.cidr)
	if table == f.last {
		return nil
	}
	if err := apply(ctx, table); err != nil {
		return err
	}
	f.last = table
	f.ready.Store(true)
	return nil
}

// Ready returns nil when the kernel has the table.
func (f *Firewall) Ready() error {
	if !f.ready.Load() {
		return errors.New("the packet filter is not written yet")
	}
	return nil
}

func (f *Firewall) state() (State, error) {
	pods, err := f.factory.Core().V1().Pods().Lister().List(labels.Everything())
	namespaces, err2 := f.factory.Core().V1().Namespaces().Lister().List(labels.Everything())
	policies, err3 := f.factory.Networking().V1().NetworkPolicies().Lister().List(labels.Everything())
	return State{Pods: pods, Namespaces: namespaces, Policies: policies, Guard: f.guard}, errors.Join(err, err2, err3)
}

// Close lets nothing reach any pod, in the network namespace of the calling thread,
// unless there is a table already: it comes before the first pod, and Run opens
// what the policies say.
func Close(ctx context.Context, podCIDR netip.Prefix) error {
	if err := exec.CommandContext(ctx, "nft", "list", "table", "inet", Table).Run(); err == nil {
		return nil
	}
	if err := apply(ctx, Compile(State{}, podCIDR)); err != nil {
		return fmt.Errorf("closing the pods' network: %w", err)
	}
	return nil
}

func apply(ctx context.Context, table string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(table)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
