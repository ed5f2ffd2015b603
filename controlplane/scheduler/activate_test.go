package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// asked is what the queue is asked for.
type asked [][]string

func (a *asked) Activate(_ klog.Logger, pods map[string]*corev1.Pod) {
	*a = append(*a, slices.Sorted(maps.Keys(pods)))
}

// some pods of a group; of none if it is "".
func some(group string, from, to int) map[string]*corev1.Pod {
	pods := map[string]*corev1.Pod{}
	for i := from; i < to; i++ {
		name := fmt.Sprintf("%s-%d", group, i)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name}}
		if group != "" {
			p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &group}
		}
		pods[name] = p
	}
	return pods
}

func TestAGangIsTriedAgainOnceInAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got asked
		c := newCalmer(&got)
		log := klog.Background()
		for i := range 4 { // as pods of one gang get their places
			c.Activate(log, some("a", i, 4))
		}
		both := some("b", 0, 2)
		maps.Copy(both, some("a", 2, 4))
		maps.Copy(both, some("", 0, 1))
		c.Activate(log, both)
		time.Sleep(again)
		c.Activate(log, some("a", 2, 4))
		want := asked{
			{"a-0", "a-1", "a-2", "a-3"},
			{"a-3"}, // a single pod is always passed on
			{"-0", "b-0", "b-1"},
			{"a-2", "a-3"},
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("the queue was asked for %q, want %q", got, want)
		}
		if len(c.last) != 1 {
			t.Errorf("%d gangs are remembered, want the one of now", len(c.last))
		}
	})
}
