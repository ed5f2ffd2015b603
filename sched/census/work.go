package census

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/defrag"
)

// job takes one job down: as work where it runs, or as what it waits for.
func (t *taker) job(j *v1alpha1.TrainJob) {
	want := j.Spec.Accelerators
	if want.Count == 0 || j.Status.State.Done() || j.DeletionTimestamp != nil {
		return
	}
	group := j.Namespace + "/" + j.Name
	pods := t.pods[group]
	var work []defrag.Work
	strange, apart := "", ""
	for _, p := range pods {
		r, d, why := t.worker(p)
		switch {
		case why == "":
			if want.SameFabric && want.Count > 1 {
				if a := t.apart(d); a != "" {
					apart = a
				} else {
					r.Together = levelFabric
				}
			}
			work = append(work, defrag.Work{Name: p.Namespace + "/" + p.Name, Group: group, Request: r, Decision: d})
		case p.Spec.NodeName != "":
			strange = why
		}
	}
	if len(work) == 0 && strange == "" { // it waits
		r := sched.Request{CPU: j.Spec.Resources.CPU.MilliValue(), Memory: j.Spec.Resources.Memory.Value(), Count: int(want.Count), Share: sched.Whole}
		if r.Models = t.models(j, ""); len(r.Models) > 0 && !want.Share {
			for range max(1, j.Spec.Workers) {
				t.out.Waiting = append(t.out.Waiting, r)
			}
		}
		return
	}
	t.out.Jobs[group] = j
	why := strange
	if why == "" {
		why = cmp.Or(t.fixed(j, group, pods, len(work)), apart)
	}
	may, shifts := t.may(pods, group), t.shifts(work)
	if why == "" && !t.goes(work, may) {
		may = func(string) bool { return false }
		if !shifts {
			why = "nothing but its own node takes it" + t.only(group)
		}
	}
	if why != "" {
		t.out.Stays[group] = why
	}
	cost := t.cost(j, pods, work)
	for i := range work {
		w := &work[i]
		w.Movable, w.Cost, w.May, w.Within = why == "", cost, may, shifts
		if w.Request.Share == sched.Whole || w.Decision.Parts == nil { // a part goes where there are such parts
			w.Request.Models = t.mergeModels(t.models(j, sandboxOf(pods)), w.Request.Models)
		}
		t.out.Running = append(t.out.Running, w.Request)
	}
	t.out.Work = append(t.out.Work, work...)
}

// worker is what a pod has, and where; why says that it has nothing that the board
// knows how to say.
func (t *taker) worker(p *corev1.Pod) (r sched.Request, d sched.Decision, why string) {
	own := t.owns[p.UID]
	if len(own) == 0 {
		return r, d, "a worker of it has no device yet"
	}
	r = Amounts(&p.Spec)
	d.Node, r.Share = p.Spec.NodeName, own[0].share
	r.Count = len(own)
	models, parts := map[string]bool{}, false
	for _, c := range own {
		if c.odd || t.places[c.node].units[c.index].full() || c.node != d.Node || c.share != r.Share || c.part == uncut && slices.Contains(d.Devices, c.index) {
			return r, d, "what its workers have cannot be counted in accelerators of one node"
		}
		u := t.places[c.node].units[c.index]
		d.Devices, d.Parts = append(d.Devices, c.index), append(d.Parts, c.part)
		if parts = parts || c.part != uncut; c.part == uncut {
			models[u.class.Model] = true
		} else {
			models[u.cut.Parts[c.part].Model] = true
		}
	}
	if !parts {
		d.Parts = nil
	}
	r.Models = slices.Sorted(maps.Keys(models))
	return r, d, ""
}

// apart says why the board cannot keep what a worker has in one fabric, "" if it can.
func (t *taker) apart(d sched.Decision) string {
	in := map[string]bool{}
	for _, i := range d.Devices {
		in[t.places[d.Node].units[i].fabric] = true
	}
	if len(in) != 1 || in[""] {
		return "its devices must be of one fabric, and nobody tells of which they are"
	}
	return ""
}

// stranger is a pod that is no job's: it stays, and tells what else is asked for here.
func (t *taker) stranger(p *corev1.Pod) {
	if p.Spec.NodeName != "" {
		if r, _, why := t.worker(p); why == "" {
			t.out.Running = append(t.out.Running, r)
		}
		return
	}
	for _, ref := range p.Status.ResourceClaimStatuses {
		if ref.ResourceClaimName == nil {
			continue
		}
		c := t.unmet[types.NamespacedName{Namespace: p.Namespace, Name: *ref.ResourceClaimName}]
		if c == nil {
			continue
		}
		for _, q := range c.Spec.Devices.Requests {
			if e := q.Exactly; e != nil && e.Count > 0 && e.Count <= sched.CountMax && e.Capacity == nil {
				r := Amounts(&p.Spec)
				r.Count, r.Share = int(e.Count), sched.Whole
				t.out.Waiting = append(t.out.Waiting, r)
			}
		}
	}
}

// fixed says why a job that runs is not to be moved, "" if it may be.
func (t *taker) fixed(j *v1alpha1.TrainJob, group string, pods []*corev1.Pod, have int) string {
	p := j.Status.Progress
	switch {
	case t.config.Fixed[group] != "":
		return t.config.Fixed[group]
	case t.config.Namespace != "" && j.Namespace != t.config.Namespace:
		return "it is in another namespace"
	case j.Status.State != v1alpha1.StateRunning:
		return "it does not run"
	case len(pods) != have || have != int(max(1, j.Spec.Workers)):
		return "not all of its workers run"
	case Moving(j):
		return "it is being moved"
	case p == nil || max(p.Epoch, p.ResumedFrom) < 1:
		return "it has reported no epoch, so there is no checkpoint to go on from"
	}
	return ""
}

// Moving reports whether a move of the job is not over.
func Moving(j *v1alpha1.TrainJob) bool {
	m, s := j.Spec.Move, j.Status.Move
	return s != nil && !s.State.Over() || m != nil && (s == nil || !s.Asked.Equal(&m.Asked))
}

// models of the devices that fulfil what a job asks for, ill or not, free or not.
func (t *taker) models(j *v1alpha1.TrainJob, sandbox string) []string {
	r := claim.Of(j.Spec.Accelerators)
	r.Sandbox = sandbox
	if s := j.Status.Software; s != "" {
		r.Software = []string{s}
	}
	var out []string
	for _, model := range slices.Sorted(maps.Keys(t.samples)) {
		if does(r, t.samples[model]) {
			out = append(out, model)
		}
	}
	return out
}

func does(r device.Requirement, o *claim.Offer) bool {
	return !slices.ContainsFunc(claim.Explain(r, *o).Checks, func(c claim.Check) bool { return !c.OK && c.What != "health" })
}

// mergeModels are those that would do, and those that it has: whoever gave it these
// knew.
func (t *taker) mergeModels(would, has []string) []string {
	out := slices.Concat(would, has)
	slices.Sort(out)
	return slices.Compact(out)
}

func sandboxOf(pods []*corev1.Pod) string {
	for _, p := range pods {
		if p.Spec.RuntimeClassName != nil {
			return *p.Spec.RuntimeClassName
		}
	}
	return ""
}

// cost is the device-seconds that moving a job loses: what it computed since its latest
// checkpoint, which it writes with every epoch that it reports, and its start.
func (t *taker) cost(j *v1alpha1.TrainJob, pods []*corev1.Pod, work []defrag.Work) float64 {
	var since time.Time
	for _, p := range pods {
		if s := p.Status.StartTime; s != nil && s.After(since) {
			since = s.Time
		}
	}
	if p := j.Status.Progress; p != nil && p.Time != nil && p.Epoch > p.ResumedFrom && p.Time.After(since) {
		since = p.Time.Time
	}
	lost := t.config.Restart
	if age := t.Now.Sub(since); !since.IsZero() && age > 0 {
		lost += age
	}
	milli := int64(0)
	for i := range work {
		milli += work[i].Request.Milli()
	}
	return lost.Seconds() * float64(milli) / sched.Whole
}

// goes reports whether all of some work may go to another node.
func (t *taker) goes(work []defrag.Work, may func(string) bool) bool {
	for i := range work {
		if !slices.ContainsFunc(t.Nodes, func(n corev1.Node) bool {
			return n.Name != work[i].Decision.Node && may(n.Name) && len(t.places[n.Name].units) > 0
		}) {
			return false
		}
	}
	return true
}

// shifts reports whether some work may go to other devices of its nodes: it has parts of
// devices, of which claims can name each, and there are others. Whole devices of a node
// are worth the same to whoever comes next, as far as the board can say.
func (t *taker) shifts(work []defrag.Work) bool {
	others := false
	for i := range work {
		if _, ok := t.out.UUIDs(work[i].Decision); !ok {
			return false
		}
		others = others || work[i].Request.Share < sched.Whole && len(t.places[work[i].Decision.Node].units) > 1
	}
	return others
}

// only says of a job whose volume few nodes reach that this is so.
func (t *taker) only(group string) string {
	v := t.volumes[group]
	if v == nil || v.Spec.NodeAffinity == nil {
		return ""
	}
	return fmt.Sprintf(": its checkpoints are on volume %s of storage class %s, which no other reaches", v.Name, v.Spec.StorageClassName)
}
