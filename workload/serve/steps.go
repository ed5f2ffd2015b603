package serve

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// plan is what one reconciliation decided: the status to write, and then what to do.
// Steps write it.
type plan struct {
	status v1alpha1.InferenceServiceStatus
	// main and canary are what the spec asks for; nil: it cannot be had, so that what
	// serves in its place goes on. canary is also nil where none is asked for.
	main, canary *target
	keep         bool            // a canary is asked for and cannot be had: the present one goes on
	create       []client.Object // in this order
	remove       []client.Object // of no revision in the status
	again        time.Duration   // look again after this; 0: when something changes
}

// step looks at the world and completes the plan.
type step func(w *world, p *plan, cfg *Config)

// steps in their order: what is wanted, what there is, who is there for what, who gets
// how much, what is to be made and removed, and what is told of it all.
var steps = []step{resolved, observed, rolled, shared, made, told}

// decide runs the steps.
func decide(w *world, cfg *Config) *plan {
	p := &plan{status: *w.svc.Status.DeepCopy()}
	p.status.ObservedGeneration = w.svc.Generation
	for _, s := range steps {
		s(w, p, cfg)
	}
	return p
}

// look asks for another look after d, or sooner if that was asked for already.
func (p *plan) look(d time.Duration) {
	d = max(d, time.Millisecond)
	if p.again == 0 || d < p.again {
		p.again = d
	}
}

// set writes a condition.
func (p *plan) set(w *world, kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&p.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: clip(message, messageBytesMax),
		ObservedGeneration: w.svc.Generation, LastTransitionTime: metav1.NewTime(w.now),
	})
}

// revision returns one of the status by name, or nil. It is not to be kept while
// revisions are added.
func (p *plan) revision(name string) *v1alpha1.Revision {
	i := slices.IndexFunc(p.status.Revisions, func(r v1alpha1.Revision) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &p.status.Revisions[i]
}

// with returns the first revision with a role, or nil.
func (p *plan) with(role v1alpha1.RevisionRole) *v1alpha1.Revision {
	i := slices.IndexFunc(p.status.Revisions, func(r v1alpha1.Revision) bool { return r.Role == role })
	if i < 0 {
		return nil
	}
	return &p.status.Revisions[i]
}

// turn gives a revision a role, and notes since when it has it.
func (p *plan) turn(w *world, r *v1alpha1.Revision, role v1alpha1.RevisionRole) {
	if r.Role != role {
		r.Role, r.Time = role, &metav1.Time{Time: w.now}
	}
}
