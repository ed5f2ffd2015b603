package train

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// speedSuffix ends the names of metrics that say how fast a job is: images_per_s.
const speedSuffix = "_per_s"

// speeds are how fast jobs like one were, by software and by metric: the more, the
// faster. Gavel (OSDI '20) showed how much there is to gain from asking: one accelerator
// may be ten times as fast as another for one model, and no faster for the next.
type speeds map[string]map[string]float64

// faster reports whether jobs like this one are known to be faster with one software
// than with another. What was not measured is not known.
func (s speeds) faster(a, b string) bool {
	for _, name := range slices.Sorted(maps.Keys(s[a])) {
		if other, ok := s[b][name]; ok {
			return s[a][name] > other
		}
	}
	return false
}

// like reports whether what one job has measured holds for another: the same program, in
// any version, on the same runtime and as many workers and devices.
func like(a, b *v1alpha1.TrainJob) bool {
	return a.UID != b.UID && program(a) == program(b) && a.Spec.Runtime == b.Spec.Runtime && workers(a) == workers(b) &&
		a.Spec.Accelerators.Count == b.Spec.Accelerators.Count
}

// program is the name of a job's code, without tag and digest.
func program(j *v1alpha1.TrainJob) string {
	name, _, _ := strings.Cut(j.Spec.Code.Image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// measured is what jobs like this one have reported; the best of each counts, since all
// else slows down.
func measured(job *v1alpha1.TrainJob, all []v1alpha1.TrainJob) speeds {
	out := speeds{}
	for i := range all {
		j := &all[i]
		if !like(job, j) || j.Status.Software == "" || j.Status.Progress == nil {
			continue
		}
		for name, text := range j.Status.Progress.Metrics {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || !(v > 0) || !strings.HasSuffix(name, speedSuffix) {
				continue
			}
			if out[j.Status.Software] == nil {
				out[j.Status.Software] = map[string]float64{}
			}
			out[j.Status.Software][name] = max(out[j.Status.Software][name], v)
		}
	}
	return out
}

// readSpeeds reads what other jobs of the namespace have measured, while there still is
// something to choose.
func (r *Reconciler) readSpeeds(ctx context.Context, w *world) error {
	if w.job.Status.StartTime != nil {
		return nil
	}
	var all v1alpha1.TrainJobList
	if err := r.client.List(ctx, &all, client.InNamespace(w.job.Namespace)); err != nil {
		return fmt.Errorf("listing jobs like this one: %w", err)
	}
	w.supply.Faster = measured(w.job, all.Items).faster
	return nil
}
