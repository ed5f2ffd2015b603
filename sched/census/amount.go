package census

import (
	corev1 "k8s.io/api/core/v1"

	"polder.dev/polder/sched"
)

// Amounts are the CPU and memory that a pod asks for, as the scheduler counts them: what
// runs for ever together, or one of those that run first beside what was started before
// it, and what the sandbox takes.
func Amounts(spec *corev1.PodSpec) sched.Request {
	of := func(c *corev1.Container, name corev1.ResourceName) int64 {
		q, ok := c.Resources.Requests[name]
		if !ok {
			q = c.Resources.Limits[name] // which a request is by default
		}
		if name == corev1.ResourceCPU {
			return q.MilliValue()
		}
		return q.Value()
	}
	sum := func(name corev1.ResourceName) int64 {
		always, most := int64(0), int64(0)
		for n := range spec.InitContainers {
			c := &spec.InitContainers[n]
			if p := c.RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
				always += of(c, name)
				continue
			}
			most = max(most, always+of(c, name))
		}
		for n := range spec.Containers {
			always += of(&spec.Containers[n], name)
		}
		return max(always, most)
	}
	extra := spec.Overhead
	return sched.Request{CPU: sum(corev1.ResourceCPU) + extra.Cpu().MilliValue(), Memory: sum(corev1.ResourceMemory) + extra.Memory().Value()}
}
