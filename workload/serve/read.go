package serve

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// warnAfter is how long a ReplicaSet may lack pods before its events are read.
const warnAfter = 3 * time.Second

// read gathers the world for one look at the service.
func (r *Reconciler) read(ctx context.Context, svc *v1alpha1.InferenceService) (*world, error) {
	w := &world{now: r.clock.Now(), svc: svc, models: map[string]*v1alpha1.Model{}, warnings: map[string]string{}}
	for _, part := range []func(context.Context, *world) error{r.readModels, r.readCluster, r.readOwned, r.readWarnings} {
		if err := part(ctx, w); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// readModels reads those that the service names, and the names of the others where one
// of these is missing.
func (r *Reconciler) readModels(ctx context.Context, w *world) error {
	missing := false
	for _, name := range modelsOf(w.svc) {
		var m v1alpha1.Model
		err := r.client.Get(ctx, client.ObjectKey{Namespace: w.svc.Namespace, Name: name}, &m)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading model %s: %w", name, err)
		}
		if err != nil {
			missing = true
			continue
		}
		w.models[name] = &m
	}
	if !missing {
		return nil
	}
	var all v1alpha1.ModelList
	if err := r.client.List(ctx, &all, client.InNamespace(w.svc.Namespace)); err != nil {
		return fmt.Errorf("listing models: %w", err)
	}
	for i := range all.Items {
		w.names = append(w.names, all.Items[i].Name)
	}
	return nil
}

// modelsOf are the names of the Models that a service names.
func modelsOf(svc *v1alpha1.InferenceService) []string {
	var names []string
	add := func(text string) {
		if name, _, _ := strings.Cut(text, "@"); name != "" {
			names = append(names, name)
		}
	}
	add(svc.Spec.Model)
	if svc.Spec.Canary != nil {
		add(svc.Spec.Canary.Model)
	}
	return names
}

// readCluster reads what all services share.
func (r *Reconciler) readCluster(ctx context.Context, w *world) error {
	var runtimes v1alpha1.RuntimeList
	if err := r.client.List(ctx, &runtimes); err != nil {
		return fmt.Errorf("listing runtimes: %w", err)
	}
	for i := range runtimes.Items {
		w.runtimes = append(w.runtimes, runtimes.Items[i].Name)
		if runtimes.Items[i].Name == w.svc.Spec.Runtime {
			w.runtime = &runtimes.Items[i]
		}
	}
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	w.nodes = nodes.Items
	if w.svc.Spec.Accelerators.Count == 0 {
		return nil
	}
	return r.readSupply(ctx, w)
}

// readSupply reads what there is of devices, and the sandbox that they must work in.
func (r *Reconciler) readSupply(ctx context.Context, w *world) error {
	var published resourcev1.ResourceSliceList
	if err := r.client.List(ctx, &published); err != nil {
		return fmt.Errorf("listing resource slices: %w", err)
	}
	var rules resourcev1.DeviceTaintRuleList
	if err := r.client.List(ctx, &rules); err != nil {
		return fmt.Errorf("listing device taint rules: %w", err)
	}
	var claims resourcev1.ResourceClaimList
	if err := r.client.List(ctx, &claims); err != nil {
		return fmt.Errorf("listing resource claims: %w", err)
	}
	w.supply = workload.SupplyOf(published.Items, rules.Items, claims.Items, w.nodes)
	if r.cfg.Sandbox == "" {
		return nil
	}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: w.svc.Namespace}, &ns); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading namespace %s: %w", w.svc.Namespace, err)
	}
	w.supply.Sandbox = cmp.Or(ns.Labels[v1alpha1.LabelSandbox], r.cfg.Sandbox)
	return nil
}

// readOwned reads what bears the service's name.
func (r *Reconciler) readOwned(ctx context.Context, w *world) error {
	ours := []client.ListOption{client.InNamespace(w.svc.Namespace), client.MatchingLabels{v1alpha1.LabelService: w.svc.Name}}
	var sets appsv1.ReplicaSetList
	if err := r.replicas.List(ctx, &sets, ours...); err != nil {
		return fmt.Errorf("listing replica sets: %w", err)
	}
	for i := range sets.Items {
		if metav1.IsControlledBy(&sets.Items[i], w.svc) {
			w.sets = append(w.sets, sets.Items[i])
		}
	}
	var pods corev1.PodList
	if err := r.replicas.List(ctx, &pods, ours...); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	w.pods = pods.Items
	return nil
}

// readWarnings reads why upstream cannot make the pods of a ReplicaSet: it says so in
// events alone.
func (r *Reconciler) readWarnings(ctx context.Context, w *world) error {
	for i := range w.sets {
		s := &w.sets[i]
		if int32(len(w.replicas(s))) >= desired(s) || w.now.Sub(s.CreationTimestamp.Time) < warnAfter {
			continue
		}
		var list corev1.EventList
		err := r.live.List(ctx, &list, client.InNamespace(s.Namespace), client.MatchingFields{"involvedObject.uid": string(s.UID)})
		if err != nil {
			return fmt.Errorf("listing events about %s: %w", s.Name, err)
		}
		var newest *corev1.Event
		for j := range list.Items {
			e := &list.Items[j]
			if e.Type == corev1.EventTypeWarning && e.Message != "" && (newest == nil || newest.LastTimestamp.Before(&e.LastTimestamp)) {
				newest = e
			}
		}
		if newest != nil {
			w.warnings[s.Name] = clip(newest.Message, lastBytesMax)
		}
	}
	return nil
}
