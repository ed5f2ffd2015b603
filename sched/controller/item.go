package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/sched/queue"
)

// The kinds of item, as people call them.
const (
	whatTrain = "train job"
	whatJob   = "job"
	whatPod   = "pod"
)

// item is one thing that waits in a queue, or was admitted by one: what the controller
// has to know of it, whatever its kind is.
type item struct {
	id        string // in the core, and in the order in which items are looked at
	what      string // its kind, as people call it
	namespace string
	name      string
	uid       types.UID
	queue     string             // that it waits in
	was       *v1alpha1.JobQueue // what was decided of it last
	live      bool               // something of it has resources, or is about to
	going     bool               // it is being deleted, and nothing can be given to it any more
	ready     bool               // what it asks for is known; if not, wrong says why
	wrong     string
	asks      []devices     // that the sets of pods after the first ask for, as claims do
	object    client.Object // that events are about; nil if its own controller tells of them
	created   time.Time
	saved     time.Time // when it last kept what it had done

	// work is what it asks for.
	work func() queue.Workload
	// tell writes down what was decided.
	tell func(context.Context, client.Client, *v1alpha1.JobQueue) error
}

// String names it for people.
func (i *item) String() string { return fmt.Sprintf("%s %s/%s", i.what, i.namespace, i.name) }

// trainItem is a TrainJob as an item.
func (w *world) trainItem(j *v1alpha1.TrainJob) item {
	key := types.NamespacedName{Namespace: j.Namespace, Name: j.Name}
	return item{
		id: idOf(key), what: whatTrain, namespace: j.Namespace, name: j.Name, uid: j.UID,
		queue: w.queueOf(j), was: j.Status.Queue, live: w.live[idOf(key)], ready: true, created: j.CreationTimestamp.Time, saved: saved(j),
		work: func() queue.Workload { return w.workload(j) },
		tell: func(ctx context.Context, c client.Client, q *v1alpha1.JobQueue) error { return tellTrain(ctx, c, j, q) },
	}
}

// tellTrain writes status.queue of a TrainJob.
func tellTrain(ctx context.Context, c client.Client, j *v1alpha1.TrainJob, q *v1alpha1.JobQueue) error {
	next := &v1alpha1.TrainJob{}
	next.Namespace, next.Name = j.Namespace, j.Name
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"queue": whole(q)}})
	if err != nil {
		return err
	}
	return c.Status().Patch(ctx, next, client.RawPatch(types.MergePatchType, patch))
}

// whole is a decision for a merge patch, which replaces all that an earlier one said. To
// compare a job before with the job after would take longer than all else that is done
// for it.
func whole(q *v1alpha1.JobQueue) any {
	if q == nil {
		return nil
	}
	out := map[string]any{
		"name": q.Name, "admitted": q.Admitted, "reason": q.Reason, "message": nil, "flavors": nil, "software": nil, "time": q.Time, "expected": q.Expected,
	}
	if q.Message != "" {
		out["message"] = q.Message
	}
	if len(q.Flavors) > 0 {
		out["flavors"] = q.Flavors
	}
	if q.Software != "" {
		out["software"] = q.Software
	}
	return out
}

// idOf is the id of a TrainJob.
func idOf(key types.NamespacedName) string { return key.Namespace + "/" + key.Name }

// field is where an item names its queue.
func (i *item) field() string {
	if i.what == whatTrain {
		return "spec.queue"
	}
	return "the label " + v1alpha1.LabelQueue
}
