package train

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/internal/term"
)

// observed says how the present attempt is doing.
func observed(w *world, p *plan, cfg *Config) bool {
	if c := apimeta.FindStatusCondition(p.status.Conditions, ConditionRestarting); c != nil && c.Status == metav1.ConditionTrue {
		p.set(w, ConditionRestarting, metav1.ConditionFalse, "Started", c.Message)
	}
	pods := w.workers()
	running, over := int32(0), int32(0)
	for i := range pods {
		switch pods[i].Status.Phase {
		case corev1.PodRunning:
			running++
		case corev1.PodSucceeded:
			over++
		}
		if p.status.Image == "" {
			p.status.Image = ranImage(&pods[i])
		}
	}
	p.status.Ready = running
	if text := allocated(w); text != "" {
		p.status.Devices = text
	}
	all := workers(w.job)
	if running > 0 {
		p.set(w, v1alpha1.ConditionRunning, metav1.ConditionTrue, "WorkersRun", "")
	} else if over == 0 {
		p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, "Waiting", "")
	}
	if running+over == all {
		if p.status.StartTime == nil {
			p.status.StartTime = &metav1.Time{Time: w.now}
		}
		p.status.State, p.status.Message = v1alpha1.StateRunning, ""
		saved(w, p)
		p.look(cfg.Progress)
		return true
	}
	p.look(cfg.Wait)
	if running > 0 {
		p.look(cfg.Progress)
	}
	waits(w, p, running+over, all)
	return true
}

// allocated says in words which devices the workers were given, "" as long as they
// were given none: "8 x H100 SXM5 80GB on node a".
func allocated(w *world) string {
	pods := map[string]bool{}
	for _, p := range w.workers() {
		pods[string(p.UID)] = true
	}
	offers := map[claim.ID]*claim.Offer{}
	for i := range w.supply.Offers {
		offers[w.supply.Offers[i].ID()] = &w.supply.Offers[i]
	}
	count := map[string]int{}
	for i := range w.supply.Claims {
		c := &w.supply.Claims[i]
		mine := slices.ContainsFunc(c.OwnerReferences, func(o metav1.OwnerReference) bool { return pods[string(o.UID)] })
		if c.Namespace != w.job.Namespace || !mine || c.Status.Allocation == nil {
			continue
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			what := r.Device + " on node " + r.Pool
			if o := offers[claim.ID{Driver: r.Driver, Pool: r.Pool, Device: r.Device}]; o != nil {
				what = o.Product() + " on node " + o.Node
				if o.Emulated() {
					what += " (emulated)"
				}
			}
			count[what]++
		}
	}
	var words []string
	for _, what := range slices.Sorted(maps.Keys(count)) {
		words = append(words, fmt.Sprintf("%d x %s", count[what], what))
	}
	return strings.Join(words, ", ")
}

// waits says why not all workers run. A job that ran before keeps its state:
// Restarting until all run again.
func waits(w *world, p *plan, have, all int32) {
	reason, message := waiting(w)
	switch {
	case reason != "":
		p.status.Message = message
	case p.status.State == v1alpha1.StateRestarting && have == 0:
		// the message still says why it restarts
	case have > 0:
		p.status.Message = fmt.Sprintf("%d of %d workers run", have, all)
	case w.progress != nil && w.progress.Starts == 0 && w.progress.DataBytes < w.progress.DataBytesAll:
		p.status.Message = fmt.Sprintf("copying data: %s of %s", term.Bytes(w.progress.DataBytes), term.Bytes(w.progress.DataBytesAll))
		p.look(progressWait)
	default:
		p.status.Message = fmt.Sprintf("waiting for %d workers to start", all)
	}
	if reason != "" && have == 0 {
		p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, reason, message)
	}
}

// progressWait is the time between looks at data that is being copied.
const progressWait = 2 * time.Second

// ranImage is the reference, by digest, of the image a worker runs, or "". An
// id without a repository is not the digest of a manifest and pulls nothing.
func ranImage(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		if c.Name == Container && digestOf(c.Image) != "" {
			return c.Image
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == Container && strings.Contains(c.ImageID, "@") && digestOf(c.ImageID) != "" {
			return c.ImageID
		}
	}
	return ""
}
