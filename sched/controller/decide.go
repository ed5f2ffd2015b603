package controller

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// verdict is what is decided of one item.
type verdict struct {
	item  *item
	queue *v1alpha1.JobQueue // nil: it waits in none
}

// decision is what one look decided. Verdicts are what must be written: first what
// must end, then what has been waiting for that, then the others in their order.
type decision struct {
	ends, starts, words []verdict
	// waiting are those that a word may be due to: why they wait. To find the words for
	// all takes longer than all else, so they are found for those that are told.
	waiting []*item
	why     func(*item) *v1alpha1.JobQueue
	status  map[string]*v1alpha1.QueueStatus
	past    map[string]past
	pending int
}

// desk is where a decision is made.
type desk struct {
	*world
	supply *supply
	state  *queue.State
	ready  map[string]bool
	wrong  map[string]string
	known  map[string]*v1alpha1.Queue
	byID   map[string]*item              // that are in a queue
	out    map[string]*v1alpha1.JobQueue // by id
	order  map[string]int                // in which they were admitted, by id
}

// decide is a function of the world alone.
func decide(w *world) *decision {
	d := &desk{
		world: w, supply: survey(w, speedsOf(w.queues)), ready: map[string]bool{}, known: map[string]*v1alpha1.Queue{},
		byID: make(map[string]*item, len(w.items)), out: map[string]*v1alpha1.JobQueue{}, order: map[string]int{},
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
	for i := range w.items {
		d.enter(&w.items[i])
	}
	d.apply(state.Cycle(w.now))
	return d.conclude()
}

// told is what the core is told of an item.
func told(i *item) queue.Workload {
	w := i.work()
	w.ID, w.Queue = i.id, i.queue
	return w
}

// enter puts one item into the state: as admitted, or as waiting.
func (d *desk) enter(i *item) {
	if i.queue == "" {
		return
	}
	d.byID[i.id] = i
	if i.ready {
		if err := d.asking(i); err != nil {
			i.ready, i.wrong = false, err.Error()
		}
	}
	was := i.was
	holds := was != nil && was.Name == i.queue && (was.Admitted || was.Reason == reasonReserved)
	adopted := i.live && (was == nil || was.Name != i.queue && was.Admitted) // it ran before this queue was its own
	if (holds || adopted) && i.ready && d.ready[i.queue] {
		r := queue.Run{Started: d.now, Saved: i.saved}
		if was != nil && was.Name == i.queue {
			r.Flavors = was.Flavors
			if was.Time != nil {
				r.Started = was.Time.Time
			}
		}
		if g, ok := d.supply.given[i.id]; ok {
			r.Flavors = []string{g}
		}
		if err := d.state.Admitted(told(i), r); err == nil {
			d.out[i.id] = was
			if adopted {
				d.out[i.id] = &v1alpha1.JobQueue{Name: i.queue, Admitted: true, Reason: reasonAdmitted, Message: "it ran before it was in queue " + i.queue, Flavors: r.Flavors}
			} else if !slices.Equal(r.Flavors, was.Flavors) {
				d.out[i.id] = was.DeepCopy()
				d.out[i.id].Flavors = r.Flavors
			}
			return
		}
	}
	if holds && was.Admitted || adopted { // what runs is left alone, whatever became of its queue
		d.out[i.id] = was
		return
	}
	d.waits(i)
}

// waits puts in an item that waits, or says why it cannot.
func (d *desk) waits(i *item) {
	refuse := func(reason, format string, args ...any) {
		d.out[i.id] = &v1alpha1.JobQueue{Name: i.queue, Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case d.known[i.queue] == nil:
		refuse(reasonUnknown, "%s %q is not a queue of this cloud: `polder queue ls` lists them", i.field(), i.queue)
	case !d.open(i.queue, i.namespace):
		refuse(reasonNotAllowed, "%s %q takes no jobs of namespace %s: name another, or have an administrator add it to the queue's spec.namespaces", i.field(), i.queue, i.namespace)
	case !d.ready[i.queue]:
		refuse(reasonNotReady, "queue %s is not ready: %s", i.queue, d.wrong[i.queue])
	case !i.ready:
		refuse(reasonRefused, "%s", i.wrong)
	default:
		if err := d.state.Add(told(i)); err != nil {
			refuse(reasonRefused, "%s", i.words(err.Error()))
			return
		}
		if i.live {
			var flavors []string
			if i.was != nil {
				flavors = i.was.Flavors
			}
			d.state.Leaving(i.id, flavors)
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
		if was := d.byID[v.ID].was; was != nil {
			q.Flavors = was.Flavors
		}
		d.out[v.ID] = q
	}
	for n, a := range p.Admit {
		d.out[a.ID] = &v1alpha1.JobQueue{Name: a.Queue, Reason: reasonReserved, Flavors: a.Flavors, Software: d.supply.software(a.Flavors), Time: at}
		d.out[a.ID].Message = admission(a)
		d.order[a.ID] = n + 1
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

// conclude says of every item how it stands, and of every queue.
func (d *desk) conclude() *decision {
	r := &decision{status: map[string]*v1alpha1.QueueStatus{}, past: map[string]past{}, pending: d.state.Pending(), why: d.why}
	for n := range d.items {
		i := &d.items[n]
		if i.going {
			continue
		}
		was := rank(i.was)
		next, known := d.stands(i)
		if !known {
			if was != rankAdmitted && was != rankReserved {
				r.waiting = append(r.waiting, i)
				continue
			}
			next = d.why(i)
		}
		is := rank(next)
		if is == rankReserved {
			r.pending++ // it waits for others to be gone
		}
		switch v := (verdict{i, next}); {
		case next == i.was || apiequality.Semantic.DeepEqual(next, i.was):
		case is == was:
			r.words = append(r.words, v)
		case is == rankPreempted || was == rankAdmitted:
			r.ends = append(r.ends, v)
		case is == rankWaits:
			r.words = append(r.words, v)
		default:
			r.starts = append(r.starts, v)
		}
	}
	slices.SortStableFunc(r.starts, func(a, b verdict) int { // those that made others end, and have waited for it, are first
		return cmp.Compare(d.order[a.item.id], d.order[b.item.id])
	})
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

// stands says how an item stands with its queue; known is false where it waits and only
// the words for it are to be found.
func (d *desk) stands(i *item) (q *v1alpha1.JobQueue, known bool) {
	q = d.out[i.id]
	switch {
	case i.queue == "":
		return nil, true // it waits in no queue
	case q != nil && q.Reason == reasonReserved:
		after := d.state.After(i.id)
		if q = q.DeepCopy(); len(after) > 0 {
			q.Message = fmt.Sprintf("queue %s has room for it as soon as what makes room is gone (%d to go)", q.Name, len(after))
			return q, true
		}
		q.Admitted, q.Reason = true, reasonAdmitted
		if i.was != nil && i.was.Reason == reasonReserved {
			q.Message = admission(queue.Admission{Queue: q.Name, Flavors: q.Flavors})
		}
		return q, true
	case q != nil:
		return q, true
	case i.was != nil && i.was.Reason == reasonPreempted && i.live:
		return i.was, true // until it has made room
	}
	return nil, false
}

// why finds the words for an item that waits.
func (d *desk) why(i *item) *v1alpha1.JobQueue {
	why, ok := d.state.Why(i.id)
	if !ok {
		return i.was
	}
	q := &v1alpha1.JobQueue{Name: i.queue, Reason: why.Code, Message: i.words(why.Sentence)}
	if !why.When.IsZero() {
		q.Expected = &metav1.Time{Time: why.When.Truncate(time.Minute)}
	}
	if i.was != nil && i.live {
		q.Flavors = i.was.Flavors // what its last pods still have
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
