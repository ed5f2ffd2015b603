package train

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// Limits of what a dead worker's output takes up in a message.
const (
	lastLines    = 12
	lastBytesMax = 1024
)

// death is how a worker ended badly.
type death struct {
	rank    int // -1: unknown
	at      time.Time
	told    bool // it was told to end, so another died before
	cause   string
	remedy  string
	message string // the last lines it wrote
}

// firstDeath finds the worker that died first: the others usually die of it.
// died is false while none has.
func firstDeath(job *v1alpha1.TrainJob, j *batchv1.Job, pods []corev1.Pod) (d death, died bool) {
	var deaths []death
	present := make(map[int]bool, len(pods))
	for i := range pods {
		present[index(&pods[i])] = true
		if pods[i].Status.Phase == corev1.PodFailed {
			deaths = append(deaths, deathOf(job, &pods[i]))
		}
	}
	alone := func(d death) bool { return !d.told }
	failed, _ := jobCondition(j, batchv1.JobFailed, batchv1.JobFailureTarget)
	if failed && !slices.ContainsFunc(deaths, alone) {
		return removed(job, pods, present), true
	}
	if len(deaths) == 0 {
		return death{}, false
	}
	return slices.MinFunc(deaths, func(a, b death) int {
		return cmp.Or(later(a.told, b.told), a.at.Compare(b.at), a.rank-b.rank)
	}), true
}

// removed is the death of a worker whose pod cannot tell: the first that is
// missing, or else the first that was told to end.
func removed(job *v1alpha1.TrainJob, pods []corev1.Pod, present map[int]bool) death {
	d := death{rank: -1, cause: "was removed before it ended (its pod was deleted or evicted)"}
	for i := range int(workers(job)) {
		if !present[i] {
			d.rank = i
			return d
		}
	}
	var first *metav1.Time
	for i := range pods {
		if at := pods[i].DeletionTimestamp; at != nil && (first == nil || at.Before(first)) {
			first, d.rank = at, index(&pods[i])
		}
	}
	return d
}

// later orders false before true.
func later(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// deathOf explains the end of a failed pod.
func deathOf(job *v1alpha1.TrainJob, p *corev1.Pod) death {
	d := death{rank: index(p), told: p.DeletionTimestamp != nil, at: time.Unix(1<<40, 0)}
	d.cause = "was stopped"
	if d.told {
		d.cause = "was told to end (its pod is being deleted)"
	}
	if p.Status.Reason != "" {
		d.cause = fmt.Sprintf("was stopped by the node (%s)", p.Status.Reason)
		d.message = p.Status.Message
	}
	for _, c := range p.Status.InitContainerStatuses {
		t := c.State.Terminated
		if c.Name != containerData || t == nil || t.ExitCode == 0 || p.Status.Reason != "" || d.told {
			continue
		}
		d.at, d.message = t.FinishedAt.Time, t.Message
		d.cause = fmt.Sprintf("could not get its data (exit code %d)", t.ExitCode)
	}
	for _, c := range p.Status.ContainerStatuses {
		t := c.State.Terminated
		if c.Name != Container || t == nil || t.ExitCode == 0 {
			continue
		}
		d.at = t.FinishedAt.Time
		if p.Status.Reason == "" && !d.told {
			d.cause, d.remedy = exit(job, t)
			d.message = t.Message
		}
	}
	return d
}

// exit says in words how a container ended, and what to do about it.
func exit(job *v1alpha1.TrainJob, t *corev1.ContainerStateTerminated) (cause, remedy string) {
	limits := resources(job, workload.Choice{}).Limits
	memory := limits.Memory().String()
	switch {
	case t.Reason == "OOMKilled":
		return fmt.Sprintf("ran out of memory (exit code %d; its limit is %s)", t.ExitCode, memory), "raise spec.resources.memory"
	case t.Reason == "StartError", t.Reason == "ContainerCannotRun":
		return fmt.Sprintf("could not be started (exit code %d)", t.ExitCode), "check that spec.command exists in the code or in the runtime"
	case t.ExitCode > 128 && t.ExitCode < 160:
		return fmt.Sprintf("was killed by signal %d (exit code %d)", t.ExitCode-128, t.ExitCode), ""
	}
	return fmt.Sprintf("ended with exit code %d", t.ExitCode), ""
}

// sentence tells the death, without the last lines.
func (d death) sentence(workers int32) string {
	who := "a worker"
	if d.rank >= 0 {
		who = fmt.Sprintf("worker %d of %d", d.rank, workers)
	}
	text := who + " " + d.cause
	if d.remedy != "" {
		text += ": " + d.remedy
	}
	return text
}

// lines returns the last lines the worker wrote, within the limits.
func (d death) lines() string {
	text := strings.TrimSpace(strings.ToValidUTF8(d.message, "?"))
	if len(text) > lastBytesMax {
		text = strings.ToValidUTF8(text[len(text)-lastBytesMax:], "")
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		}
	}
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lastLines):], "\n")
}
