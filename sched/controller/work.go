package controller

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched/queue"
	"polder.dev/polder/workload"
)

// Defaults of a root, as api/v1alpha1 documents them.
const (
	halfLife = 7 * 24 * time.Hour
	patience = 10 * time.Minute
)

// options of the core. A quota may name what the catalogue knows, whether the cloud has
// it yet or not.
func options() queue.Options {
	o := queue.Options{HalfLife: halfLife, Patience: patience, Products: []string{}}
	for _, p := range catalogue.All() {
		o.Products = append(o.Products, p.Name)
	}
	return o
}

// workload is what a job asks for.
func (w *world) workload(j *v1alpha1.TrainJob) queue.Workload {
	r := claim.Of(j.Spec.Accelerators)
	out := queue.Workload{
		Priority: j.Spec.Priority, Created: j.CreationTimestamp.Time, Duration: duration(j),
		PodSets: []queue.PodSet{{
			Count: int(max(1, j.Spec.Workers)), CPU: 500, Memory: 1 << 30, // as the API server would fill them in
			Ask: queue.Ask{Count: r.Count, Kinds: r.Kinds, Software: w.software(j), MemoryMin: r.Memory, Precision: r.Precision, Share: r.Share},
		}},
	}
	if r.Count > 0 && j.Status.StartTime == nil { // later it keeps to its software
		out.PodSets[0].Ask.Speeds = w.speeds(j)
	}
	if q := j.Spec.Resources.CPU; !q.IsZero() {
		out.PodSets[0].CPU = q.MilliValue()
	}
	if q := j.Spec.Resources.Memory; !q.IsZero() {
		out.PodSets[0].Memory = q.Value()
	}
	return out
}

// duration is how long an admitted job will have run when it ends, if what is left
// takes as long for each epoch as what is done; 0 if that is not known.
func duration(j *v1alpha1.TrainJob) time.Duration {
	q, p := j.Status.Queue, j.Status.Progress
	if q == nil || !q.Admitted || q.Time == nil || p == nil || p.Time == nil || p.Epochs < p.Epoch || p.Epoch <= p.ResumedFrom {
		return 0
	}
	took := p.Time.Sub(q.Time.Time)
	if took <= 0 {
		return 0
	}
	return took + time.Duration(float64(took)/float64(p.Epoch-p.ResumedFrom)*float64(p.Epochs-p.Epoch))
}

// saved is when a job last kept what it had done: programs save with every epoch that
// they report.
func saved(j *v1alpha1.TrainJob) time.Time {
	if p := j.Status.Progress; p != nil && p.Time != nil && p.Epoch > p.ResumedFrom {
		return p.Time.Time
	}
	return time.Time{}
}

// speeds that jobs like this one were measured to have, by software.
func (w *world) speeds(j *v1alpha1.TrainJob) map[string]float64 {
	alike := workload.Alike(j)
	if s, known := w.measured[alike]; known {
		return s
	}
	var s map[string]float64
	if w.alike != nil {
		s = workload.Measured(j, w.alike(alike)).Common()
	}
	if w.measured == nil {
		w.measured = map[string]map[string]float64{}
	}
	w.measured[alike] = s
	return s
}

// software that will do: what the job names and its Runtime has a variant for, in the
// order of the job. One that has run keeps to what it ran with, which its checkpoints are
// of.
func (w *world) software(j *v1alpha1.TrainJob) []string {
	if j.Status.StartTime != nil && j.Status.Software != "" && j.Spec.Accelerators.Count > 0 {
		return []string{j.Status.Software}
	}
	asked := j.Spec.Accelerators.Software
	rt := w.runtimes[j.Spec.Runtime]
	if rt == nil {
		return asked
	}
	var has []string
	for _, v := range rt.Spec.Variants {
		has = append(has, v.Software)
	}
	both := slices.DeleteFunc(slices.Clone(asked), func(s string) bool { return !slices.Contains(has, s) })
	switch {
	case len(asked) == 0:
		return has
	case len(both) == 0:
		return asked // the trainer says that there is no variant
	}
	return both
}

// software of the flavours that a job was given; "" if it has none.
func (s *supply) software(flavors []string) string {
	for _, name := range flavors {
		if i := slices.IndexFunc(s.flavors, func(f queue.Flavor) bool { return f.Name == name }); i >= 0 {
			return s.flavors[i].Software
		}
	}
	return ""
}

// forest turns the Queues into those of the core, without those that make no sense and
// what hangs below them; of these it says why.
func forest(all []v1alpha1.Queue, s *supply) ([]queue.Queue, map[string]string) {
	wrong := map[string]string{}
	var good []queue.Queue
	for i := range all {
		q, err := queueOf(&all[i])
		if err != nil {
			wrong[all[i].Name] = err.Error()
			continue
		}
		good = append(good, q)
	}
	for {
		good = slices.DeleteFunc(good, func(q queue.Queue) bool {
			if wrong[q.Name] == "" && wrong[q.Parent] != "" {
				wrong[q.Name] = fmt.Sprintf("queue %s above it is not ready", q.Parent)
			}
			return wrong[q.Name] != ""
		})
		found := len(wrong)
		for _, e := range each(queue.Check(good, s.flavors, options())) {
			for _, q := range good {
				if wrong[q.Name] == "" && (e.Queue == q.Name || e.Queue == "") {
					wrong[q.Name] = e.Field + " " + e.Why
				}
			}
		}
		if orphans := slices.ContainsFunc(good, func(q queue.Queue) bool { return wrong[q.Parent] != "" }); len(wrong) == found && !orphans {
			return good, wrong
		}
	}
}

// each takes an error of queue.Check apart.
func each(err error) []*queue.Error {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		var one *queue.Error
		if errors.As(err, &one) {
			return []*queue.Error{one}
		}
		return nil
	}
	var out []*queue.Error
	for _, e := range many.Unwrap() {
		var one *queue.Error
		if errors.As(e, &one) {
			out = append(out, one)
		}
	}
	return out
}

// queueOf turns one Queue into one of the core.
func queueOf(q *v1alpha1.Queue) (queue.Queue, error) {
	out := queue.Queue{
		Name: q.Name, Parent: q.Spec.Parent, Weight: float64(q.Spec.Weight), Preempt: queue.Preempt{Within: queue.LowerPriority, Reclaim: queue.Any},
		HalfLife: time.Duration(q.Spec.HalfLifeSeconds) * time.Second, Patience: time.Duration(q.Spec.PatienceSeconds) * time.Second,
	}
	policies := map[string]queue.Policy{"Never": queue.Never, "LowerPriority": queue.LowerPriority, "Any": queue.Any}
	if p, ok := policies[q.Spec.Preempt.Within]; ok {
		out.Preempt.Within = p
	}
	if p, ok := policies[q.Spec.Preempt.Reclaim]; ok {
		out.Preempt.Reclaim = p
	}
	out.Preempt.Fair = policies[q.Spec.Preempt.Fair]
	if len(q.Spec.Speeds) > 0 && q.Spec.Parent != "" {
		return out, errors.New("spec.speeds may only stand in a root, since it holds for the whole cloud: move it to the queue without a parent")
	}
	for i, l := range q.Spec.Quotas {
		line := queue.Quota{Class: queue.Class{Resource: l.Resource, Kind: device.Kind(l.Kind), Product: l.Product}}
		if l.MemoryMin != nil {
			line.Class.MemoryMin = l.MemoryMin.Value()
		}
		at := fmt.Sprintf("spec.quotas[%d].", i)
		var err error
		if line.Nominal, err = units(l.Resource, l.Nominal); err != nil {
			return out, fmt.Errorf("%snominal %w", at, err)
		}
		if line.BorrowMax, err = maybe(l.Resource, l.BorrowMax); err != nil {
			return out, fmt.Errorf("%sborrowMax %w", at, err)
		}
		if line.LendMax, err = maybe(l.Resource, l.LendMax); err != nil {
			return out, fmt.Errorf("%slendMax %w", at, err)
		}
		out.Quotas = append(out.Quotas, line)
	}
	return out, nil
}

func maybe(of string, q *resource.Quantity) (*int64, error) {
	if q == nil {
		return nil, nil //nolint:nilnil // not written is not zero
	}
	n, err := units(of, *q)
	return &n, err
}

// units turns an amount as people write it into the core's.
func units(of string, q resource.Quantity) (int64, error) {
	const devicesMax = 10_000_000
	switch of {
	case queue.CPU:
		if q.Value() > math.MaxInt64/1_000_000 {
			return 0, fmt.Errorf("is %s, more than any cloud has", q.String())
		}
		return q.MilliValue(), nil
	case queue.Memory:
		return q.Value(), nil
	}
	if q.Value() > devicesMax {
		return 0, fmt.Errorf("is %s devices: at most %d can be counted", q.String(), devicesMax)
	}
	return q.MilliValue() * (queue.Device / 1000), nil
}
