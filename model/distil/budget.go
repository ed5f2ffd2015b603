package distil

import (
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// Hours of a budget; +Inf if it has no bound.
func Hours(b v1alpha1.Budget) (float64, error) {
	if b.AcceleratorHours == "" {
		return math.Inf(1), nil
	}
	h, err := strconv.ParseFloat(b.AcceleratorHours, 64)
	if err != nil || h <= 0 || math.IsNaN(h) || math.IsInf(h, 0) {
		return 0, refuse("spec.budget.acceleratorHours", "%q is no number of hours above 0, such as 1.5", b.AcceleratorHours)
	}
	return h, nil
}

// Format writes hours as status has them: with so many digits that a second of one
// accelerator shows.
func Format(hours float64) string { return strconv.FormatFloat(hours, 'f', 4, 64) }

// Rate is how many accelerator-hours an hour of a job costs. A worker without
// accelerators counts as one.
func Rate(workers, accelerators int32) float64 {
	return float64(max(workers, 1)) * float64(max(accelerators, 1))
}

// JobHours is what a job has used until now: from when all its workers ran for the first
// time until its end. What it waited before that is not counted; a pause between two
// attempts is.
func JobHours(j *v1alpha1.TrainJob, now time.Time) float64 {
	return span(j.Status.StartTime, j.Status.CompletionTime, now) * Rate(j.Spec.Workers, j.Spec.Accelerators.Count)
}

// EvaluationHours is what an evaluation has used, as one worker.
func EvaluationHours(e *v1alpha1.Evaluation, now time.Time) float64 {
	return span(e.Status.StartTime, e.Status.CompletionTime, now)
}

func span(start, end *metav1.Time, now time.Time) float64 {
	if start.IsZero() {
		return 0
	}
	to := now
	if !end.IsZero() {
		to = end.Time
	}
	return max(0, to.Sub(start.Time).Hours())
}

// Left is how long work of a rate may go on within a budget of which so much is used; a
// century if there is no bound.
func Left(budget, used, rate float64) time.Duration {
	const century = 100 * 365 * 24
	hours := min((budget-used)/rate, century)
	return time.Duration(max(0, hours) * float64(time.Hour))
}
