package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
)

// world is what one look saw.
type world struct {
	now      time.Time
	queues   []v1alpha1.Queue
	jobs     []v1alpha1.TrainJob // that have not ended, with what was written of them
	runtimes map[string]*v1alpha1.Runtime
	spaces   map[string]*corev1.Namespace
	pods     map[types.UID]types.NamespacedName // of jobs, with their job
	live     map[types.NamespacedName]bool      // jobs that have pods which have not ended
	offers   []claim.Offer
	claims   []resourcev1.ResourceClaim
	past     map[string]past
}

// read gathers the world.
func (c *Controller) read(ctx context.Context, now time.Time) (*world, error) {
	var (
		queues   v1alpha1.QueueList
		jobs     v1alpha1.TrainJobList
		runtimes v1alpha1.RuntimeList
		spaces   corev1.NamespaceList
		pods     corev1.PodList
		devices  resourcev1.ResourceSliceList
		rules    resourcev1.DeviceTaintRuleList
		claims   resourcev1.ResourceClaimList
	)
	for _, l := range []struct {
		what string
		list client.ObjectList
		opts []client.ListOption
	}{
		{"queues", &queues, nil}, {"train jobs", &jobs, nil}, {"runtimes", &runtimes, nil}, {"namespaces", &spaces, nil},
		{"pods", &pods, []client.ListOption{client.HasLabels{v1alpha1.LabelTrainJob}}},
		{"resource slices", &devices, nil}, {"device taint rules", &rules, nil}, {"resource claims", &claims, nil},
	} {
		if err := c.client.List(ctx, l.list, l.opts...); err != nil {
			return nil, fmt.Errorf("listing %s: %w", l.what, err)
		}
	}
	w := &world{
		now: now, queues: queues.Items, runtimes: map[string]*v1alpha1.Runtime{}, spaces: map[string]*corev1.Namespace{},
		pods: map[types.UID]types.NamespacedName{}, live: map[types.NamespacedName]bool{},
		offers: claim.Offers(devices.Items, rules.Items), claims: claims.Items, past: c.past,
	}
	slices.SortFunc(w.queues, func(a, b v1alpha1.Queue) int { return cmp.Compare(a.Name, b.Name) })
	for i := range runtimes.Items {
		w.runtimes[runtimes.Items[i].Name] = &runtimes.Items[i]
	}
	for i := range spaces.Items {
		w.spaces[spaces.Items[i].Name] = &spaces.Items[i]
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		job := types.NamespacedName{Namespace: p.Namespace, Name: p.Labels[v1alpha1.LabelTrainJob]}
		w.pods[p.UID] = job
		if !over(p) {
			w.live[job] = true
		}
	}
	c.recall(w, jobs.Items)
	return w, nil
}

// recall puts what was written into those jobs of which the cache does not show it yet.
func (c *Controller) recall(w *world, jobs []v1alpha1.TrainJob) {
	there := make(map[types.UID]bool, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		if j.Status.State.Done() || j.DeletionTimestamp != nil {
			continue
		}
		there[j.UID] = true
		if a, ok := c.assumed[j.UID]; ok {
			if apiequality.Semantic.DeepEqual(a.queue, j.Status.Queue) || w.now.Sub(a.at) > assumeFor {
				delete(c.assumed, j.UID)
			} else {
				j.Status.Queue = a.queue
			}
		}
		w.jobs = append(w.jobs, *j)
	}
	gone := func(uid types.UID) bool { return !there[uid] }
	maps.DeleteFunc(c.assumed, func(uid types.UID, _ assumption) bool { return gone(uid) })
	maps.DeleteFunc(c.told, func(uid types.UID, _ time.Time) bool { return gone(uid) })
	slices.SortFunc(w.jobs, func(a, b v1alpha1.TrainJob) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// over reports whether a pod needs nothing any more.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// queueOf is the queue that a job waits in; "" is none.
func (w *world) queueOf(j *v1alpha1.TrainJob) string {
	if j.Spec.Queue != "" {
		return j.Spec.Queue
	}
	if ns := w.spaces[j.Namespace]; ns != nil {
		return ns.Labels[v1alpha1.LabelQueue]
	}
	return ""
}
