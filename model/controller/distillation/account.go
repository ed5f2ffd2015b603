package distillation

import (
	"fmt"
	"time"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/distil"
)

// account tells how far the stages are and what they have used.
func account(w *world, p *plan) {
	if w.d.Status.State.Done() {
		return
	}
	used := 0.0
	if j := w.teacher; j != nil {
		used += p.job(distil.StageTeacher, j, w.now)
	}
	if j := w.student; j != nil {
		used += p.job(distil.StageStudent, j, w.now)
	}
	if e := w.evaluation; e != nil {
		h := distil.EvaluationHours(e, w.now)
		message := e.Status.Message
		if e.Status.Verdict != "" {
			message = e.Status.Verdict
		} else if e.Status.Total > 0 {
			message = fmt.Sprintf("%d of %d rows answered", e.Status.Done, e.Status.Total)
		}
		p.stage(v1alpha1.DistillationStage{Name: distil.StageEvaluation, Job: e.Name, State: e.Status.State, Message: clip(message), AcceleratorHours: distil.Format(h)})
		used += h
	}
	p.status.Used = v1alpha1.Budget{AcceleratorHours: distil.Format(used)}
}

// job writes a stage that is a TrainJob, and returns the hours that it has used.
func (p *plan) job(stage string, j *v1alpha1.TrainJob, now time.Time) float64 {
	h := distil.JobHours(j, now)
	message := or(j.Status.Message, progress(stage, j.Status.Progress))
	p.stage(v1alpha1.DistillationStage{Name: stage, Job: j.Name, State: j.Status.State, Message: clip(message), AcceleratorHours: distil.Format(h)})
	return h
}

// progress says how far a job is, by what its program reports.
func progress(stage string, pr *v1alpha1.Progress) string {
	if pr == nil || pr.Epochs == 0 {
		return ""
	}
	if stage == distil.StageTeacher {
		text := or(pr.Metrics["answers"], "0") + " answers"
		if kept := or(pr.Metrics["answers_kept"], "0"); kept != "0" {
			text += ", " + kept + " of them from an earlier time"
		}
		return text
	}
	text := fmt.Sprintf("epoch %d of %d", pr.Epoch, pr.Epochs)
	for _, k := range []string{"test_reward", "val_reward", "test_accuracy", "val_accuracy", "test_mae", "val_mae"} {
		if v := pr.Metrics[k]; v != "" {
			text += ", " + k + " " + v
			break
		}
	}
	if dropped := or(pr.Metrics["dropped"], "0"); dropped != "0" {
		text += ", " + dropped + " answers dropped"
	}
	return text
}

// stage writes one of the stages, which are in order.
func (p *plan) stage(s v1alpha1.DistillationStage) {
	for i := range p.status.Stages {
		if p.status.Stages[i].Name == s.Name {
			p.status.Stages[i] = s
			return
		}
	}
	p.status.Stages = append(p.status.Stages, s)
}

// spent is what has been used, and at which rate more is.
func spent(w *world) (used, rate float64) {
	for _, j := range []*v1alpha1.TrainJob{w.teacher, w.student} {
		if j == nil {
			continue
		}
		used += distil.JobHours(j, w.now)
		if !j.Status.State.Done() && j.Status.StartTime != nil {
			rate += distil.Rate(j.Spec.Workers, j.Spec.Accelerators.Count)
		}
	}
	if e := w.evaluation; e != nil {
		used += distil.EvaluationHours(e, w.now)
		if !e.Status.State.Done() && e.Status.StartTime != nil {
			rate++
		}
	}
	return used, rate
}
