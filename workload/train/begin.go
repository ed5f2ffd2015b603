package train

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// accepted checks the spec against itself and the cluster. A job that cannot
// run yet waits with nothing created; one that can never run fails. A present
// attempt is not disturbed.
func accepted(w *world, p *plan, cfg *Config) bool {
	if w.current() != nil {
		return false
	}
	if err := invalid(w.job); err != nil {
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, "InvalidSpec", oneLine(err))
		return p.end(w, v1alpha1.StateFailed, "InvalidSpec", oneLine(err))
	}
	refuse := func(reason, message string) bool {
		p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, message)
		p.status.Message = message
		p.look(cfg.Wait)
		return true
	}
	if w.runtime == nil {
		known := "there are none"
		if len(w.runtimes) > 0 {
			known = "known are " + strings.Join(slices.Sorted(slices.Values(w.runtimes)), ", ")
		}
		return refuse("UnknownRuntime", fmt.Sprintf("spec.runtime %q is not a Runtime of this cloud; %s", w.job.Spec.Runtime, known))
	}
	if _, err := choiceOf(w); err != nil {
		return refuse("NoVariant", err.Error())
	}
	if name, taken := foreign(w); taken {
		return refuse("NameTaken", name)
	}
	if why := unfrozen(w); why != "" {
		return refuse("DatasetNotReady", why)
	}
	if usesStore(w.job) && cfg.CopyImage == "" {
		return refuse("NoStore", "spec.data, spec.checkpoints.bucket: this cloud has no object store; use images")
	}
	p.set(w, v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Valid", "")
	gang(w, p)
	return false
}

// choiceOf picks how the job's workers get their devices in this world. A job that
// has run keeps to the software it ran with: its checkpoints are of that.
func choiceOf(w *world) (workload.Choice, error) {
	if w.runtime == nil {
		return workload.Choice{}, fmt.Errorf("there is no Runtime %q", w.job.Spec.Runtime)
	}
	want := w.job.Spec.Accelerators
	if q := w.job.Status.Queue; q != nil && q.Admitted && q.Software != "" && want.Count > 0 {
		want.Software = []string{q.Software} // the queue counts devices of this software
	}
	if s := w.job.Status.Software; s != "" && want.Count > 0 && (w.job.Status.StartTime != nil || w.current() != nil) {
		want.Software = []string{s}
	}
	return workload.Choose(w.runtime, want, workers(w.job), w.nodes, &w.supply)
}

// foreign names an object that bears a name the job needs and is not the job's.
func foreign(w *world) (message string, taken bool) {
	check := func(kind string, o client.Object) {
		if taken || owned(w.job, o) {
			return
		}
		taken = true
		message = fmt.Sprintf("%s %s belongs to something else: delete it, or name the job differently", kind, o.GetName())
		if o.GetDeletionTimestamp() != nil || o.GetLabels()[v1alpha1.LabelTrainJob] == w.job.Name {
			message = fmt.Sprintf("%s %s of an earlier job of this name is being removed", kind, o.GetName())
		}
	}
	if w.claim != nil {
		check("volume claim", w.claim)
	}
	if w.service != nil {
		check("service", w.service)
	}
	if w.blocker != nil {
		check("job", w.blocker)
	}
	return message, taken
}

// gang says whether the workers are placed together.
func gang(w *world, p *plan) {
	if workers(w.job) < 2 {
		return
	}
	if w.gangs {
		p.set(w, ConditionGang, metav1.ConditionTrue, "PodGroup", "all workers are placed together, or none")
		return
	}
	p.set(w, ConditionGang, metav1.ConditionFalse, "NoPodGroups",
		"this cluster does not serve scheduling.k8s.io/v1beta1 PodGroups: workers are placed one by one and may wait for each other")
}

// volumeLost ends a job whose checkpoints are gone: starting it on an empty
// volume would silently train from the beginning.
func volumeLost(w *world, p *plan, _ *Config) bool {
	ran := w.attempt() > 0 || w.job.Status.StartTime != nil
	if !ran || w.current() != nil {
		return false
	}
	if w.claim != nil && w.claim.DeletionTimestamp == nil && w.claim.Status.Phase != corev1.ClaimLost {
		return false
	}
	return p.end(w, v1alpha1.StateFailed, "VolumeLost",
		fmt.Sprintf("volume claim %s with the checkpoints is gone: submit the job again to train from the beginning", VolumeName(w.job.Name)))
}

// drained removes what is left of earlier attempts and waits until it is gone
// and the pause between attempts is over.
func drained(w *world, p *plan, cfg *Config) bool {
	if left := w.leftovers(); len(left) > 0 {
		c := apimeta.FindStatusCondition(p.status.Conditions, ConditionRestarting)
		p.remove, p.hurry = left, c == nil || c.Reason != reasonPreempted && c.Reason != reasonMoved // these may save their work
		p.look(cfg.Wait)
		return true
	}
	c := apimeta.FindStatusCondition(p.status.Conditions, ConditionRestarting)
	if c == nil || c.Status != metav1.ConditionTrue || w.current() != nil {
		return false
	}
	if left := c.LastTransitionTime.Add(pause(w.deaths(), cfg)).Sub(w.now); left > 0 && c.Reason != reasonMoved {
		p.look(left)
		return true
	}
	return false
}

// pause before an attempt: doubled with each worker that died, up to a limit.
func pause(attempt int32, cfg *Config) time.Duration {
	d := cfg.PauseMin
	for i := int32(1); i < attempt && d < cfg.PauseMax; i++ {
		d *= 2
	}
	return min(d, cfg.PauseMax)
}

// started creates what the present attempt lacks.
func started(w *world, p *plan, cfg *Config) bool {
	if w.current() != nil {
		return false
	}
	c, err := choiceOf(w)
	if err != nil {
		return true // accepted has said so
	}
	v := c.Variant
	p.status.Software = v.Software
	if w.claim == nil {
		p.create = append(p.create, claimOf(w.job))
	}
	if w.service == nil {
		p.create = append(p.create, serviceOf(w.job))
	}
	together := w.gangs && workers(w.job) > 1
	if t := w.job.Spec.Topology.Required; t != "" && !together && workers(w.job) > 1 {
		return p.end(w, v1alpha1.StateFailed, "InvalidSpec", "spec.topology.required: this cluster serves no PodGroups, so workers cannot be kept in one "+t+"; leave the field out")
	}
	if together {
		p.create = append(p.create, groupOf(w.job, w.attempt()))
	}
	image := workload.Reference(v.Image, v.Digest)
	if pinned := w.job.Status.Image; pinned != "" {
		image = pinned // all attempts run the same image
	}
	if c.Claim != nil {
		template, err := templateOf(w.job, w.attempt(), *c.Claim)
		if err != nil {
			return p.end(w, v1alpha1.StateFailed, "InvalidSpec", "spec."+err.Error())
		}
		if arriving(p.status.Move, w.attempt()) {
			claim.Only(&template.Spec.Spec.Devices, p.status.Move.Devices)
		}
		p.create = append(p.create, template)
	}
	next := attemptOf(w.job, c, image, w.attempt(), together)
	withStore(&next.Spec.Template.Spec, w, cfg.CopyImage)
	next.Spec.Template.Spec.Affinity = destination(p.status.Move, w.attempt())
	p.create = append(p.create, next)
	p.look(cfg.Wait)
	return true
}
