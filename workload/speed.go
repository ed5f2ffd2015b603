package workload

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// speedSuffix ends the names of metrics that say how fast a job is: images_per_s.
const speedSuffix = "_per_s"

// Speeds are how fast jobs like one were, by software and by metric: the more, the
// faster. Gavel (OSDI '20) showed how much there is to gain from asking: one accelerator
// may be ten times as fast as another for one model, and no faster for the next.
type Speeds map[string]map[string]float64

// Faster reports whether jobs like this one are known to be faster with one software
// than with another. What was not measured is not known.
func (s Speeds) Faster(a, b string) bool {
	for _, name := range slices.Sorted(maps.Keys(s[a])) {
		if other, ok := s[b][name]; ok {
			return s[a][name] > other
		}
	}
	return false
}

// Common is how fast they were with each software, by the metric that most of these have;
// nil if none has two.
func (s Speeds) Common() map[string]float64 {
	by := map[string]map[string]float64{}
	for software, metrics := range s {
		for name, v := range metrics {
			if by[name] == nil {
				by[name] = map[string]float64{}
			}
			by[name][software] = v
		}
	}
	var best map[string]float64
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if len(by[name]) > max(1, len(best)) {
			best = by[name]
		}
	}
	return best
}

// Alike is the same for jobs of which one's speed says something about the other's: the
// same program, in any version, on the same runtime and as many workers and devices.
func Alike(j *v1alpha1.TrainJob) string {
	return fmt.Sprintf("%s/%s/%s/%d/%d", j.Namespace, program(j), j.Spec.Runtime, max(1, j.Spec.Workers), j.Spec.Accelerators.Count)
}

// program is the name of a job's code, without tag and digest.
func program(j *v1alpha1.TrainJob) string {
	name, _, _ := strings.Cut(j.Spec.Code.Image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

// Measured is what jobs like this one have reported; the best of each counts, since all
// else slows down.
func Measured(job *v1alpha1.TrainJob, all []v1alpha1.TrainJob) Speeds {
	out, alike := Speeds{}, Alike(job)
	for i := range all {
		j := &all[i]
		if j.UID == job.UID || Alike(j) != alike {
			continue
		}
		for name, v := range SpeedsOf(j) {
			if out[j.Status.Software] == nil {
				out[j.Status.Software] = map[string]float64{}
			}
			out[j.Status.Software][name] = max(out[j.Status.Software][name], v)
		}
	}
	return out
}

// SpeedsOf are those that one job has reported of the software that it runs with, by
// metric.
func SpeedsOf(j *v1alpha1.TrainJob) map[string]float64 {
	if j.Status.Software == "" || j.Status.Progress == nil {
		return nil
	}
	out := map[string]float64{}
	for name, text := range j.Status.Progress.Metrics {
		if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 && !math.IsInf(v, 0) && strings.HasSuffix(name, speedSuffix) {
			out[name] = v
		}
	}
	return out
}
