package plugin

import (
	"errors"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"
)

// groups is what the scheduler knows of pod groups: how many pods each has, and wants.
type groups struct {
	fwk.Handle
	manages
	fwk.PodGroupState
	has   int
	wants *int32 // nil: it is no gang
}

func (g groups) PodGroupManager() fwk.PodGroupManager    { return g }
func (g groups) PodGroups() fwk.PodGroupLister           { return groupLister(g) }
func (g groups) PodGroupStates() fwk.PodGroupStateLister { return stateLister(g) }
func (g groups) AllPodsCount() int                       { return g.has }

type (
	manages     interface{ fwk.PodGroupManager }
	groupLister groups
	stateLister groups
)

var errNoGroup = errors.New("there is none")

func (g groupLister) Get(_, name string) (*schedulingv1beta1.PodGroup, error) {
	if name != "ring" {
		return nil, errNoGroup
	}
	p := &schedulingv1beta1.PodGroup{}
	if g.wants != nil {
		p.Spec.SchedulingPolicy.Gang = &schedulingv1beta1.GangSchedulingPolicy{MinCount: *g.wants}
	}
	return p, nil
}

func (g stateLister) Get(string, string) (fwk.PodGroupState, error) { return groups(g), nil }

func TestWhoIsHelpedByAPodThatComes(t *testing.T) {
	for what, c := range map[string]struct {
		group string
		groups
		itself bool
	}{
		"a pod of no gang":            {},
		"of a gang that is not whole": {"ring", groups{has: 2, wants: ptr.To[int32](3)}, false},
		"that makes a gang whole":     {"ring", groups{has: 3, wants: ptr.To[int32](3)}, true},
		"of a gang that is more so":   {"ring", groups{has: 4, wants: ptr.To[int32](3)}, true},
		"of a group that is no gang":  {"ring", groups{has: 1}, true},
		"of a group that nobody made": {"other", groups{has: 1}, false},
	} {
		p := pod("one")
		if c.group != "" {
			p.Spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: &c.group}
		}
		got, err := (&Devices{handle: c.groups}).completed(logr.Discard(), nil, p)
		if err != nil || got.AllPods || (len(got.Pods) == 1) != c.itself || c.itself && got.Pods[0] != (types.NamespacedName{Namespace: p.Namespace, Name: "one"}) {
			t.Errorf("%s: %+v, %v; want itself: %v", what, got, err, c.itself)
		}
	}
	if got, err := (&Devices{}).completed(logr.Discard(), nil, "no pod"); err != nil || !got.AllPods {
		t.Errorf("what is no pod helps %+v, %v, want everybody asked", got, err)
	}
}
