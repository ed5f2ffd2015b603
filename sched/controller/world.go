package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// world is what one look saw.
type world struct {
	now      time.Time
	queues   []v1alpha1.Queue
	items    []item // that have not ended, with what was written of them
	runtimes map[string]*v1alpha1.Runtime
	spaces   map[string]*corev1.Namespace
	pods     map[types.UID]string // of items, with the item's id
	live     map[string]bool      // ids of items that have pods which have not ended
	offers   []claim.Offer        // of devices, unless they are sorted already
	claims   []resourcev1.ResourceClaim
	past     map[string]past

	devicesBy *surveyor
	// what the resource claims of Jobs and pods mean
	claim     map[string]*resourcev1.ResourceClaim         // by namespace/name
	templates map[string]*resourcev1.ResourceClaimTemplate // by namespace/name
	classes   map[string]*resourcev1.DeviceClass
	extended  map[corev1.ResourceName]string // device classes by resource
	// alike lists the jobs that have measured how fast they are, of those that are alike;
	// see workload.Alike.
	alike    func(alike string) []v1alpha1.TrainJob
	measured map[string]map[string]float64 // what these say, by what is alike in them; see world.speeds
	judge    Judge
	judged   map[string]int64 // what was judged before; see desk.takes
}

// Unfinished is the index of TrainJobs by whether they have ended: those that have are
// kept for long, and are most of them.
const Unfinished = "unfinished"

// unfinished is the value of a TrainJob in that index.
func unfinished(o client.Object) []string {
	j, ok := o.(*v1alpha1.TrainJob)
	if !ok || j.Status.State.Done() || j.DeletionTimestamp != nil {
		return nil
	}
	return []string{"true"}
}

// Measured is the index of TrainJobs that have reported how fast they are, by what is
// alike in those of which that says something.
const Measured = "measured"

func measured(o client.Object) []string {
	j, ok := o.(*v1alpha1.TrainJob)
	if !ok || len(workload.SpeedsOf(j)) == 0 {
		return nil
	}
	return []string{workload.Alike(j)}
}

// read gathers the world. What comes from the cache is not copied, and must not be
// changed.
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

		heldJobs  batchv1.JobList
		heldPods  corev1.PodList
		templates resourcev1.ResourceClaimTemplateList
		classes   resourcev1.DeviceClassList
	)
	inQueue := []client.ListOption{client.HasLabels{v1alpha1.LabelQueue}}
	for _, l := range []struct {
		what string
		list client.ObjectList
		opts []client.ListOption
		from client.Reader
	}{
		{"queues", &queues, nil, c.client}, {"train jobs", &jobs, []client.ListOption{client.MatchingFields{Unfinished: "true"}}, c.client},
		{"runtimes", &runtimes, nil, c.client}, {"namespaces", &spaces, nil, c.client},
		{"pods", &pods, []client.ListOption{client.HasLabels{v1alpha1.LabelTrainJob}}, c.client},
		{"resource slices", &devices, nil, c.client}, {"device taint rules", &rules, nil, c.client}, {"resource claims", &claims, nil, c.client},
		{"jobs", &heldJobs, inQueue, c.held}, {"pods with a queue", &heldPods, inQueue, c.held},
		{"resource claim templates", &templates, nil, c.client}, {"device classes", &classes, nil, c.client},
	} {
		if err := l.from.List(ctx, l.list, append(l.opts, client.UnsafeDisableDeepCopy)...); err != nil {
			return nil, fmt.Errorf("listing %s: %w", l.what, err)
		}
	}
	w := &world{
		now: now, queues: queues.Items, runtimes: map[string]*v1alpha1.Runtime{}, spaces: map[string]*corev1.Namespace{},
		pods: map[types.UID]string{}, live: map[string]bool{},
		devicesBy: c.sortedFor(devices.Items, rules.Items), claims: claims.Items, past: c.past,
		claim: map[string]*resourcev1.ResourceClaim{}, templates: map[string]*resourcev1.ResourceClaimTemplate{},
		classes: map[string]*resourcev1.DeviceClass{}, extended: extendedResources(classes.Items), judge: c.judge, judged: map[string]int64{},
	}
	w.alike = func(alike string) []v1alpha1.TrainJob {
		var all v1alpha1.TrainJobList
		if err := c.client.List(ctx, &all, client.MatchingFields{Measured: alike}, client.UnsafeDisableDeepCopy); err != nil {
			c.log.WarnContext(ctx, "reading what jobs have measured", "error", err) // they are queued without
		}
		return all.Items
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
		id := idOf(types.NamespacedName{Namespace: p.Namespace, Name: p.Labels[v1alpha1.LabelTrainJob]})
		w.pods[p.UID] = id
		if !over(p) {
			w.live[id] = true
		}
	}
	w.items = make([]item, 0, len(jobs.Items)+len(heldJobs.Items)+len(heldPods.Items))
	for i := range jobs.Items {
		w.items = append(w.items, w.trainItem(&jobs.Items[i]))
	}
	for i := range claims.Items {
		w.claim[claims.Items[i].Namespace+"/"+claims.Items[i].Name] = &claims.Items[i]
	}
	for i := range templates.Items {
		w.templates[templates.Items[i].Namespace+"/"+templates.Items[i].Name] = &templates.Items[i]
	}
	for i := range classes.Items {
		w.classes[classes.Items[i].Name] = &classes.Items[i]
	}
	w.hold(heldJobs.Items, heldPods.Items)
	c.recall(w)
	return w, nil
}

// hold takes in the Jobs and pods that bear the label of a queue and are no training
// job's.
func (w *world) hold(jobs []batchv1.Job, pods []corev1.Pod) {
	for i := range jobs {
		if jobs[i].Labels[v1alpha1.LabelTrainJob] != "" {
			continue
		}
		if it, ok := w.heldJob(&jobs[i]); ok {
			w.items = append(w.items, it)
		}
	}
	for i := range pods {
		p := &pods[i]
		if p.Labels[v1alpha1.LabelTrainJob] != "" {
			continue
		}
		id := ownerOf(p)
		w.pods[p.UID] = id
		if id != idOfPod(p.Namespace, p.Name) {
			continue
		}
		if it, ok := w.heldPod(p); ok {
			w.items = append(w.items, it)
		}
	}
}

// recall puts what was written into those items of which the cache does not show it
// yet, forgets those that are gone, and has them in order.
func (c *Controller) recall(w *world) {
	there := make(map[types.UID]bool, len(w.items))
	for n := range w.items {
		i := &w.items[n]
		there[i.uid] = true
		if a, ok := c.assumed[i.uid]; ok {
			if w.now.Sub(a.at) > assumeFor || apiequality.Semantic.DeepEqual(a.queue, i.was) {
				delete(c.assumed, i.uid)
			} else {
				i.was = a.queue
			}
		}
	}
	maps.DeleteFunc(c.assumed, func(uid types.UID, _ assumption) bool { return !there[uid] })
	for _, m := range []map[types.UID]time.Time{c.told, c.ended} {
		maps.DeleteFunc(m, func(uid types.UID, _ time.Time) bool { return !there[uid] })
	}
	slices.SortFunc(w.items, func(a, b item) int { return cmp.Compare(a.id, b.id) })
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
