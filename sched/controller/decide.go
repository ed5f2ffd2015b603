package controller

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/sched/queue"
)

// The reasons of status.queue beside those of package queue.
const (
	reasonAdmitted   = "Admitted"
	reasonReserved   = "Reserved"
	reasonPreempted  = "Preempted"
	reasonUnknown    = "UnknownQueue"
	reasonNotReady   = "QueueNotReady"
	reasonNotAllowed = "NotAllowed"
	reasonRefused    = "Refused"
)

// verdict is what is decided of one job.
type verdict struct {
	job   *v1alpha1.TrainJob
	queue *v1alpha1.JobQueue // nil: it waits in none
	// turned says that it may run and might not before, or the other way.
	turned bool
}

func (v *verdict) name() string {
	if v.queue == nil {
		return "(none)"
	}
	return v.queue.Name
}

// decision is what one look decided.
type decision struct {
	verdicts []verdict
	status   map[string]*v1alpha1.QueueStatus
	past     map[string]past
	pending  int
}

// desk is where a decision is made.
type desk struct {
	*world
	supply *supply
	state  *queue.State
	ready  map[string]bool
	wrong  map[string]string
	known  map[string]*v1alpha1.Queue
	jobs   map[string]*v1alpha1.TrainJob // in the state, by id
	out    map[string]*v1alpha1.JobQueue // by id
}

// decide is a function of the world alone.
func decide(w *world) *decision {
	d := &desk{
		world: w, supply: survey(w, speedsOf(w.queues)), ready: map[string]bool{}, known: map[string]*v1alpha1.Queue{},
		jobs: map[string]*v1alpha1.TrainJob{}, out: map[string]*v1alpha1.JobQueue{},
	}
	for i := range w.queues {
		d.known[w.queues[i].Name] = &w.queues[i]
	}
	var good []queue.Queue
	good, d.wrong = forest(w.queues, d.supply)
	for _, q := range good {
		d.ready[q.Name] = true
	}
	state, err := queue.New(good, d.supply.flavors, options())
	if err != nil { // forest has asked already
		panic("queue controller: a forest that was checked is refused: " + err.Error())
	}
	d.state = state
	for i := range w.queues {
		q := &w.queues[i]
		p, seen := w.past[q.Name]
		if f, err := strconv.ParseFloat(q.Status.Past, 64); !seen && err == nil && q.Status.PastTime != nil {
			p, seen = past{f, q.Status.PastTime.Time}, true
		}
		if seen {
			state.SetPast(q.Name, p.share, p.at)
		}
	}
	for i := range w.jobs {
		d.enter(&w.jobs[i])
	}
	d.apply(state.Cycle(w.now))
	return d.conclude()
}

// enter puts one job into the state: as admitted, or as waiting.
func (d *desk) enter(j *v1alpha1.TrainJob) {
	name := d.queueOf(j)
	if name == "" {
		return
	}
	id, was := idOf(j), j.Status.Queue
	live := d.live[types.NamespacedName{Namespace: j.Namespace, Name: j.Name}]
	holds := was != nil && was.Name == name && (was.Admitted || was.Reason == reasonReserved)
	adopted := live && (was == nil || was.Name != name && was.Admitted) // it ran before this queue was its own
	if (holds || adopted) && d.ready[name] {
		r := queue.Run{Started: d.now, Saved: saved(j)}
		if was != nil && was.Name == name {
			r.Flavors = was.Flavors
			if was.Time != nil {
				r.Started = was.Time.Time
			}
		}
		if g, ok := d.supply.given[types.NamespacedName{Namespace: j.Namespace, Name: j.Name}]; ok {
			r.Flavors = []string{g}
		}
		if err := d.state.Admitted(d.workload(j, name), r); err == nil {
			d.jobs[id] = j
			d.out[id] = was
			if adopted {
				d.out[id] = &v1alpha1.JobQueue{Name: name, Admitted: true, Reason: reasonAdmitted, Message: "it ran before it was in queue " + name, Flavors: r.Flavors}
			} else if !slices.Equal(r.Flavors, was.Flavors) {
				d.out[id] = was.DeepCopy()
				d.out[id].Flavors = r.Flavors
			}
			return
		}
	}
	if holds && was.Admitted || adopted { // what runs is left alone, whatever became of its queue
		d.out[id] = was
		d.keep(j)
		return
	}
	d.waits(j, name, live)
}

// keep remembers a job that is in no state.
func (d *desk) keep(j *v1alpha1.TrainJob) { d.jobs[idOf(j)] = j }

// waits puts in a job that waits, or says why it cannot.
func (d *desk) waits(j *v1alpha1.TrainJob, name string, live bool) {
	d.keep(j)
	refuse := func(reason, format string, args ...any) {
		d.out[idOf(j)] = &v1alpha1.JobQueue{Name: name, Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case d.known[name] == nil:
		refuse(reasonUnknown, "spec.queue %q is not a queue of this cloud: `polder queue ls` lists them", name)
	case !d.open(name, j.Namespace):
		refuse(reasonNotAllowed, "spec.queue %q takes no jobs of namespace %s: name another, or have an administrator add it to the queue's spec.namespaces", name, j.Namespace)
	case !d.ready[name]:
		refuse(reasonNotReady, "queue %s is not ready: %s", name, d.wrong[name])
	default:
		if err := d.state.Add(d.workload(j, name)); err != nil {
			refuse(reasonRefused, "%s", err)
			return
		}
		if live {
			var flavors []string
			if j.Status.Queue != nil {
				flavors = j.Status.Queue.Flavors
			}
			d.state.Leaving(idOf(j), flavors)
		}
	}
}

// open reports whether a queue takes jobs of a namespace: the nearest queue from it
// upwards that lists any decides.
func (d *desk) open(name, namespace string) bool {
	for range d.known {
		q := d.known[name]
		if q == nil {
			return false
		}
		if l := q.Spec.Namespaces; len(l) > 0 {
			return slices.Contains(l, "*") || slices.Contains(l, namespace)
		}
		name = q.Spec.Parent
	}
	return false
}

// apply turns a plan into what is written.
func (d *desk) apply(p queue.Plan) {
	at := &metav1.Time{Time: d.now.Truncate(time.Second)}
	for _, v := range p.Preempt {
		q := &v1alpha1.JobQueue{Name: v.Queue, Reason: reasonPreempted, Message: v.Why, Time: at}
		if was := d.jobs[v.ID].Status.Queue; was != nil {
			q.Flavors = was.Flavors
		}
		d.out[v.ID] = q
	}
	for _, a := range p.Admit {
		d.out[a.ID] = &v1alpha1.JobQueue{Name: a.Queue, Reason: reasonReserved, Flavors: a.Flavors, Software: d.supply.software(a.Flavors), Time: at}
		d.out[a.ID].Message = admission(a)
	}
}

// admission says what a job was given.
func admission(a queue.Admission) string {
	s := "admitted by queue " + a.Queue
	if len(a.Flavors) > 0 {
		s += " for " + strings.Join(a.Flavors, ", ")
	}
	if a.Borrows {
		s += ", which the queue borrows in part and others may want back"
	}
	return s
}

// conclude says of every job how it stands, and of every queue.
func (d *desk) conclude() *decision {
	r := &decision{status: map[string]*v1alpha1.QueueStatus{}, past: map[string]past{}, pending: d.state.Pending()}
	for i := range d.world.jobs {
		j := &d.world.jobs[i]
		next := d.stands(j)
		was := j.Status.Queue
		r.verdicts = append(r.verdicts, verdict{job: j, queue: next, turned: rank(was) != rank(next)})
		if rank(next) == rankReserved {
			r.pending++ // it waits for others to be gone
		}
	}
	for _, u := range d.state.Usage() {
		r.past[u.Queue] = past{u.Past, d.now}
		r.status[u.Queue] = d.usage(&u)
	}
	for name, why := range d.wrong {
		if q := d.known[name]; q != nil {
			s := q.Status.DeepCopy()
			condition(s, q, metav1.ConditionFalse, "InvalidSpec", why, d.now)
			r.status[name] = s
		}
	}
	return r
}

// The ranks of a decision: what of it is more than words.
const (
	rankWaits = iota
	rankReserved
	rankPreempted
	rankAdmitted
)

func rank(q *v1alpha1.JobQueue) int {
	switch {
	case q == nil:
		return rankWaits
	case q.Admitted:
		return rankAdmitted
	case q.Reason == reasonPreempted:
		return rankPreempted
	case q.Reason == reasonReserved:
		return rankReserved
	}
	return rankWaits
}

// stands says how a job stands with its queue.
func (d *desk) stands(j *v1alpha1.TrainJob) *v1alpha1.JobQueue {
	id, was := idOf(j), j.Status.Queue
	q := d.out[id]
	switch {
	case d.jobs[id] == nil:
		return nil // it waits in no queue
	case q != nil && q.Reason == reasonReserved:
		after := d.state.After(id)
		if q = q.DeepCopy(); len(after) > 0 {
			q.Message = fmt.Sprintf("queue %s has room for it as soon as what makes room is gone (%d to go)", q.Name, len(after))
			return q
		}
		q.Admitted, q.Reason = true, reasonAdmitted
		if was != nil && was.Reason == reasonReserved {
			q.Message = admission(queue.Admission{Queue: q.Name, Flavors: q.Flavors})
		}
		return q
	case q != nil:
		return q
	case was != nil && was.Reason == reasonPreempted && d.live[types.NamespacedName{Namespace: j.Namespace, Name: j.Name}]:
		return was // until it has made room
	}
	why, ok := d.state.Why(id)
	if !ok {
		return was
	}
	q = &v1alpha1.JobQueue{Name: d.queueOf(j), Reason: why.Code, Message: why.Sentence}
	if !why.When.IsZero() {
		q.Expected = &metav1.Time{Time: why.When.Truncate(time.Minute)}
	}
	if was != nil && d.live[types.NamespacedName{Namespace: j.Namespace, Name: j.Name}] {
		q.Flavors = was.Flavors // what its last pods still have
	}
	return q
}

// usage is the status of a queue.
func (d *desk) usage(u *queue.Usage) *v1alpha1.QueueStatus {
	q := d.known[u.Queue]
	s := &v1alpha1.QueueStatus{
		Conditions: slices.Clone(q.Status.Conditions),
		Pending:    int32(min(u.Pending, math.MaxInt32)), Admitted: int32(min(u.Running, math.MaxInt32)),
		Share: strconv.FormatFloat(u.Share, 'f', 4, 64), Past: strconv.FormatFloat(u.Past, 'g', 6, 64), PastTime: &metav1.Time{Time: d.now.Truncate(time.Second)},
	}
	for _, l := range u.Lines {
		one := v1alpha1.QueueUsage{Of: l.Class.String(), Nominal: l.Class.Amount(l.Nominal), Used: l.Class.Amount(l.Used)}
		if l.Borrowed > 0 {
			one.Borrowed = l.Class.Amount(l.Borrowed)
		}
		s.Usage = append(s.Usage, one)
	}
	message := "jobs are admitted"
	if len(q.Spec.Quotas) == 0 && q.Spec.Parent == "" {
		message = "it has no quota: only jobs without accelerators are admitted, and nothing limits them"
	}
	condition(s, q, metav1.ConditionTrue, "Usable", message, d.now)
	return s
}

func condition(s *v1alpha1.QueueStatus, q *v1alpha1.Queue, status metav1.ConditionStatus, reason, message string, now time.Time) {
	apimeta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message,
		ObservedGeneration: q.Generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	})
}
