package scheduler

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// again is how long all pods of a gang that wait are not tried again after they were.
const again = 100 * time.Millisecond

// calmer passes on which pods are to be tried again. Upstream's plugin for gangs asks
// for all pods of a gang that have no place yet each time that one gets its place: a million times
// for a gang of a thousand, all in one go, in which only the first time makes a difference. So what is asked
// for the same gang right after is left out.
type calmer struct {
	fwk.PodActivator
	mu   sync.Mutex
	last map[types.NamespacedName]time.Time // by pod group
}

func newCalmer(a fwk.PodActivator) *calmer {
	return &calmer{PodActivator: a, last: map[types.NamespacedName]time.Time{}}
}

// Activate passes on a single pod always: it is that for which others give way.
func (c *calmer) Activate(log klog.Logger, pods map[string]*corev1.Pod) {
	if len(pods) > 1 {
		pods = c.left(pods)
	}
	if len(pods) > 0 {
		c.PodActivator.Activate(log, pods)
	}
}

func (c *calmer) left(pods map[string]*corev1.Pod) map[string]*corev1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for group, at := range c.last {
		if now.Sub(at) >= again {
			delete(c.last, group)
		}
	}
	left, fresh := map[string]*corev1.Pod{}, map[types.NamespacedName]bool{}
	for key, p := range pods {
		if p.Spec.SchedulingGroup == nil || p.Spec.SchedulingGroup.PodGroupName == nil {
			left[key] = p
			continue
		}
		group := types.NamespacedName{Namespace: p.Namespace, Name: *p.Spec.SchedulingGroup.PodGroupName}
		if _, just := c.last[group]; just && !fresh[group] {
			continue
		}
		c.last[group], fresh[group], left[key] = now, true, p
	}
	return left
}
