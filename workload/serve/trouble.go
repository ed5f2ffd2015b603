package serve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// Limits of what a message takes up.
const (
	messageBytesMax = 1024
	lastBytesMax    = 400
	lastLines       = 3
)

// silentAfter is how long a replica may run before it is told that it is not ready.
const silentAfter = 10 * time.Second

// trouble says in one sentence, which names what to change, what keeps the replicas of a
// revision from being ready; "" when there is nothing to tell but that it takes its time.
func trouble(w *world, set *appsv1.ReplicaSet, pods []corev1.Pod) string {
	for i := range pods {
		if node := emulated(w, &pods[i]); node != "" {
			return fmt.Sprintf("placed on node %s, which is emulated: it is planned there, and nothing runs", node)
		}
	}
	for i := range pods {
		if text := stuck(w.svc, set, &pods[i]); text != "" {
			return text
		}
	}
	if scheduler := unplaced(pods); scheduler != "" {
		return unschedulable(set, scheduler)
	}
	if text := w.warnings[set.Name]; text != "" {
		return "its pods cannot be made: " + text
	}
	for i := range pods {
		if silent(w.now, &pods[i]) {
			return fmt.Sprintf("its program runs and does not answer %s at port %d yet (spec.readyPath, spec.port); `polder service logs %s` shows what it says",
				readyPath(w.svc), port(w.svc), w.svc.Name)
		}
	}
	return ""
}

// emulated is the emulated node that a pod is on, or "".
func emulated(w *world, p *corev1.Pod) string {
	for i := range w.nodes {
		if _, yes := w.nodes[i].Labels[v1alpha1.LabelEmulated]; yes && w.nodes[i].Name == p.Spec.NodeName {
			return p.Spec.NodeName
		}
	}
	return ""
}

// unplaced is what the scheduler says of pods that it has no room for, or "".
func unplaced(pods []corev1.Pod) string {
	for i := range pods {
		for _, c := range pods[i].Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable && pods[i].Spec.NodeName == "" {
				return c.Message
			}
		}
	}
	return ""
}

// unschedulable puts what a replica asks for before the scheduler's own words.
func unschedulable(set *appsv1.ReplicaSet, scheduler string) string {
	asked := set.Spec.Template.Spec.Containers[0].Resources.Requests
	text := fmt.Sprintf("%s CPU and %.1f GiB", asked.Cpu(), float64(asked.Memory().Value())/(1<<30))
	for _, s := range workload.Stacks() {
		if q, ok := asked[s.Resource]; ok {
			text += fmt.Sprintf(" and %d %s", q.Value(), s.Resource)
		}
	}
	return fmt.Sprintf("there is no room for a replica, which wants %s: ask for less in spec.resources, or free some. Scheduler: %s", text, strings.TrimSuffix(scheduler, "."))
}

// stuck says what keeps a placed replica from running.
func stuck(svc *v1alpha1.InferenceService, set *appsv1.ReplicaSet, p *corev1.Pod) string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if s := c.State.Waiting; s != nil {
			switch s.Reason {
			case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
				return fmt.Sprintf("%s cannot be pulled: %s", imageNamed(svc, set, s.Message), clip(cause(s.Message), lastBytesMax))
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return "a replica cannot be started: " + clip(s.Message, lastBytesMax)
			}
		}
		if c.Ready {
			continue
		}
		if t := c.State.Terminated; t != nil {
			return died(svc, set, t)
		}
		if t := c.LastTerminationState.Terminated; t != nil && c.RestartCount > 0 {
			return died(svc, set, t)
		}
	}
	return ""
}

// cause is why an image could not be pulled. While the kubelet waits before it tries again
// it says so first, and the cause after it: what is told is to stay the same.
func cause(message string) string {
	if _, after, ok := strings.Cut(message, "ErrImagePull: "); ok {
		return after
	}
	return message
}

// imageNamed finds which image a message is about, and names the field it comes from.
func imageNamed(svc *v1alpha1.InferenceService, set *appsv1.ReplicaSet, message string) string {
	spec := &set.Spec.Template.Spec
	for _, v := range spec.Volumes {
		if v.Name == volumeModel && v.Image != nil && strings.Contains(message, v.Image.Reference) {
			return "the model's files (spec.model)"
		}
	}
	if svc.Spec.Image != "" {
		return fmt.Sprintf("the image %s (spec.image)", svc.Spec.Image)
	}
	return fmt.Sprintf("the image %s of runtime %q (spec.runtime)", spec.Containers[0].Image, svc.Spec.Runtime)
}

// died says in words how a replica's program ended, what to do about it, and what it said
// last.
func died(svc *v1alpha1.InferenceService, set *appsv1.ReplicaSet, t *corev1.ContainerStateTerminated) string {
	var text string
	switch {
	case t.Reason == "OOMKilled":
		limits := set.Spec.Template.Spec.Containers[0].Resources.Limits
		text = fmt.Sprintf("a replica ran out of memory, of which it has %s: raise spec.resources.memory", limits.Memory())
	case t.Reason == "StartError", t.Reason == "ContainerCannotRun":
		text = fmt.Sprintf("a replica could not be started (exit code %d): check that spec.command is in the image", t.ExitCode)
	case t.ExitCode > 128 && t.ExitCode < 160:
		text = fmt.Sprintf("a replica was killed by signal %d", t.ExitCode-128)
	default:
		text = fmt.Sprintf("a replica ended with exit code %d; `polder service logs %s` shows what it said", t.ExitCode, svc.Name)
	}
	if said := lastSaid(t.Message); said != "" {
		text += "; its last words: " + said
	}
	return text
}

// lastSaid are the last lines of a program's output, in one.
func lastSaid(message string) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(message, "?")), "\n")
	text := strings.Join(lines[max(0, len(lines)-lastLines):], " | ")
	if len(text) > lastBytesMax {
		text = "..." + strings.ToValidUTF8(text[len(text)-lastBytesMax:], "")
	}
	return text
}

// silent reports whether a replica's program has run for a while and is not ready.
func silent(now time.Time, p *corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if r := c.State.Running; r != nil && !c.Ready && now.Sub(r.StartedAt.Time) >= silentAfter {
			return true
		}
	}
	return false
}

// clip shortens s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n-3], "") + "..."
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
