package train

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/workload"
)

// waiting says why workers do not run yet, in one sentence that names what to
// change, and the reason in one word. Both are empty when there is nothing to
// tell but that it takes its time.
func waiting(w *world) (reason, message string) {
	pods := w.workers()
	if node := emulatedNode(w, pods); node != "" {
		return "Emulated", fmt.Sprintf("placed on node %s, which is emulated: it is planned there, and nothing runs", node)
	}
	for i := range pods {
		if r, m := stuck(w.job, &pods[i]); r != "" {
			return r, m
		}
	}
	if scheduler := unplaced(pods); scheduler != "" {
		return corev1.PodReasonUnschedulable, unschedulable(w, scheduler)
	}
	if len(w.warnings) > 0 {
		return "Blocked", strings.Join(w.warnings, "; ")
	}
	return "", ""
}

// emulatedNode is the first emulated node that has one of the pods, or "".
func emulatedNode(w *world, pods []corev1.Pod) string {
	for i := range w.nodes {
		if _, emulated := w.nodes[i].Labels[v1alpha1.LabelEmulated]; !emulated {
			continue
		}
		for j := range pods {
			if pods[j].Spec.NodeName == w.nodes[i].Name {
				return w.nodes[i].Name
			}
		}
	}
	return ""
}

// unplaced is what the scheduler says of the workers it has no room for. Of a
// gang most only wait for each other: the one that names the nodes says most.
func unplaced(pods []corev1.Pod) string {
	said := ""
	for i := range pods {
		for _, c := range pods[i].Status.Conditions {
			if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable {
				continue
			}
			if strings.Contains(c.Message, "nodes are available") {
				return c.Message
			}
			if said == "" {
				said = c.Message
			}
		}
	}
	return said
}

// unschedulable puts what is asked beside what there is, and the scheduler's
// own words after it.
func unschedulable(w *world, scheduler string) string {
	n := int64(workers(w.job))
	c, err := choiceOf(w)
	if err != nil {
		return scheduler
	}
	asked := resources(w.job, c).Requests
	if pods := w.workers(); len(pods) > 0 {
		add(asked, pods[0].Spec.Overhead) // of a sandbox's class; the scheduler counts it, too
	}
	each, total := amounts(asked, asked, 1), amounts(asked, asked, n)
	holds := corev1.ResourceList{}
	count := 0
	for i := range w.nodes {
		if usable(&w.nodes[i]) {
			count++
			add(holds, w.nodes[i].Status.Allocatable)
		}
	}
	return fmt.Sprintf("it wants %d workers of %s each (%s in all); the cluster's usable nodes (%d) hold %s in all, and other work may use some of it. Scheduler: %s",
		n, each, total, count, amounts(asked, holds, 1), strings.TrimSuffix(scheduler, "."))
}

// usable reports whether work can be placed on the node.
func usable(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && !n.Spec.Unschedulable
		}
	}
	return false
}

// add adds b to a.
func add(a, b corev1.ResourceList) {
	for name, q := range b {
		sum := a[name].DeepCopy()
		sum.Add(q)
		a[name] = sum
	}
}

// amounts writes n times the amounts in list of the resources named by keys.
func amounts(keys, list corev1.ResourceList, n int64) string {
	var parts []string
	cpu := list[corev1.ResourceCPU]
	parts = append(parts, resource.NewMilliQuantity(cpu.MilliValue()*n, resource.DecimalSI).String()+" CPU")
	memory := list[corev1.ResourceMemory]
	parts = append(parts, fmt.Sprintf("%.1f GiB", float64(memory.Value())*float64(n)/(1<<30)))
	for _, s := range workload.Stacks() {
		if _, asked := keys[s.Resource]; asked {
			q := list[s.Resource]
			parts = append(parts, fmt.Sprintf("%d %s", q.Value()*n, s.Resource))
		}
	}
	return strings.Join(parts, ", ")
}

// stuck says what keeps a placed worker from starting.
func stuck(job *v1alpha1.TrainJob, p *corev1.Pod) (reason, message string) {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		s := c.State.Waiting
		if s == nil {
			continue
		}
		switch s.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
			return s.Reason, fmt.Sprintf("%s cannot be pulled: %s", imageNamed(job, p, s.Message), clip(s.Message, lastBytesMax))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff":
			return s.Reason, fmt.Sprintf("worker %d cannot be started: %s", index(p), clip(s.Message, lastBytesMax))
		}
	}
	return "", ""
}

// imageNamed finds which of the job's images a message is about, and names the
// field it comes from.
func imageNamed(job *v1alpha1.TrainJob, p *corev1.Pod, message string) string {
	about := func(ref string) bool { return strings.Contains(message, workload.Reference(ref, "")) }
	if about(job.Spec.Code.Image) {
		return fmt.Sprintf("the code image %s (spec.code.image)", job.Spec.Code.Image)
	}
	for i, d := range job.Spec.Data {
		if d.Image != "" && about(d.Image) {
			return fmt.Sprintf("the data image %s (spec.data[%d].image)", d.Image, i)
		}
	}
	image := ""
	if len(p.Spec.Containers) > 0 {
		image = p.Spec.Containers[0].Image
	}
	return fmt.Sprintf("the image %s of runtime %q (spec.runtime)", image, job.Spec.Runtime)
}

// unpullable says that an image will never come: its name is no name, or its
// registry has answered for longer than patience that there is none.
func unpullable(w *world, patience time.Duration) (message string, certain bool) {
	pods := w.workers()
	for i := range pods {
		reason, message := stuck(w.job, &pods[i])
		switch reason {
		case "InvalidImageName":
			return message, true
		case "ErrImagePull", "ImagePullBackOff":
			text := strings.ToLower(message)
			absent := strings.Contains(text, "not found") || strings.Contains(text, "manifest unknown") || strings.Contains(text, "name unknown")
			if absent && w.now.Sub(pods[i].CreationTimestamp.Time) >= patience {
				return message, true
			}
		}
	}
	return "", false
}

// clip shortens s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
