package plugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// ran says for how long a pod runs, and saved when its job last saved.
func ran(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.StartTime = &metav1.Time{Time: time.Now().Add(-d)} }
}

func saved(ago time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationSaved, time.Now().Add(-ago).UTC().Format(time.RFC3339))
	}
}

// savedTogether is when the job of a gang last saved.
func savedTogether(ago time.Duration) func(*schedulingv1beta1.PodGroup) {
	return func(g *schedulingv1beta1.PodGroup) {
		if ago > 0 {
			metav1.SetMetaDataAnnotation(&g.ObjectMeta, v1alpha1.AnnotationSaved, time.Now().Add(-ago).UTC().Format(time.RFC3339))
		}
	}
}

// mark changes that.
func (w *world) mark(group string, ago time.Duration) {
	w.t.Helper()
	groups := w.SchedulingV1beta1().PodGroups("default")
	g, err := groups.Get(w.t.Context(), group, metav1.GetOptions{})
	if err == nil {
		savedTogether(ago)(g)
		_, err = groups.Update(w.t.Context(), g, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func garbled(p *corev1.Pod) {
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, v1alpha1.AnnotationSaved, "yesterday")
}

func cores(n int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = *resource.NewQuantity(n, resource.DecimalSI)
	}
}

func onNode(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: name} }
}

// load is a job that runs: what it is called, where, its devices, and what else is said
// of it.
type load struct {
	name, node string
	devices    int64
	change     []func(*corev1.Pod)
}

// TestWhoLosesLeastGivesWay, of those of one priority: each story is told with the
// nodes in both orders, so that none comes true by the order of their names.
func TestWhoLosesLeastGivesWay(t *testing.T) {
	for name, tc := range map[string]struct {
		loads []load
		want  int64 // devices
		goes  []string
	}{
		"whoever has just saved, before one that is younger and never did": {[]load{
			{"fresh", "a", 1, []func(*corev1.Pod){ran(5 * time.Hour), saved(time.Minute)}},
			{"never", "b", 1, []func(*corev1.Pod){ran(3 * time.Hour)}},
			{"old", "c", 1, []func(*corev1.Pod){ran(5 * time.Hour), saved(4 * time.Hour)}},
		}, 1, []string{"fresh"}},
		"of two on one node": {[]load{
			{"old", "a", 1, []func(*corev1.Pod){ran(2 * time.Hour)}},
			{"fresh", "a", 1, []func(*corev1.Pod){ran(5 * time.Hour), saved(time.Minute)}},
		}, 1, []string{"fresh"}},
		"but the priority comes first": {[]load{
			{"low", "a", 1, []func(*corev1.Pod){ran(5 * time.Hour)}},
			{"fresh", "b", 1, []func(*corev1.Pod){ran(5 * time.Hour), saved(time.Second), priority(2)}},
		}, 1, []string{"low"}},
		"time counts for each device": {[]load{
			{"two", "a", 2, []func(*corev1.Pod){ran(time.Hour)}},
			{"one", "b", 1, []func(*corev1.Pod){ran(90 * time.Minute)}},
		}, 1, []string{"one"}},
		"several that lose less together than one does": {[]load{
			{"one", "a", 2, []func(*corev1.Pod){ran(time.Hour)}},
			{"b1", "b", 1, []func(*corev1.Pod){ran(10 * time.Minute)}},
			{"b2", "b", 1, []func(*corev1.Pod){ran(20 * time.Minute)}},
		}, 2, []string{"b1", "b2"}},
		"nobody is dearer by what is said to be saved": {[]load{
			{"liar", "a", 1, []func(*corev1.Pod){ran(time.Hour), saved(100 * time.Hour)}},
			{"honest", "b", 1, []func(*corev1.Pod){ran(2 * time.Hour)}},
		}, 1, []string{"liar"}},
		"nor by what nobody can read": {[]load{
			{"garbled", "a", 1, []func(*corev1.Pod){ran(time.Hour), garbled}},
			{"honest", "b", 1, []func(*corev1.Pod){ran(2 * time.Hour)}},
		}, 1, []string{"garbled"}},
		"to have saved in the future is to lose nothing": {[]load{
			{"early", "a", 1, []func(*corev1.Pod){ran(time.Hour), saved(-time.Hour)}},
			{"honest", "b", 1, []func(*corev1.Pod){ran(time.Minute)}},
		}, 1, []string{"early"}},
	} {
		for _, turned := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, turned %v", name, turned), func(t *testing.T) {
				gates(t, "gangs", "topology")
				loads := slices.Clone(tc.loads)
				w := loaded(t, turned, loads)
				w.place("high", want(tc.want, 1000), priority(10))
				w.expectGone(loads, tc.goes)
			})
		}
	}
}

// loaded is a world in which the loads run, on nodes that have no device more than they
// need.
func loaded(t *testing.T, turned bool, loads []load) *world {
	t.Helper()
	has := map[string]int64{}
	for i := range loads {
		if turned {
			loads[i].node = string('z' - (loads[i].node[0] - 'a'))
		}
		has[loads[i].node] += loads[i].devices
	}
	w := start(t, Config{Policy: "polder"}, anyDevice)
	w.releases()
	for name, n := range has {
		w.create(node(name, 64))
		w.create(slice(name, slices.Repeat([]string{"T4"}, int(n))...))
	}
	for _, l := range loads {
		change := append([]func(*corev1.Pod){priority(1), onNode(l.node)}, l.change...)
		if got := w.place(l.name, want(l.devices, 1000), change...); !strings.HasPrefix(got, l.node) {
			t.Fatalf("%s is at %q", l.name, got)
		}
	}
	return w
}

func (w *world) expectGone(loads []load, want []string) {
	w.t.Helper()
	var gone []string
	for _, l := range loads {
		if !w.there(l.name) {
			gone = append(gone, l.name)
		}
	}
	if !slices.Equal(gone, want) {
		w.t.Errorf("%q had to go, want %q", gone, want)
	}
}

// TestTheGangThatLosesLeastGivesWay to a gang, and to a pod.
func TestTheGangThatLosesLeastGivesWay(t *testing.T) {
	type side struct {
		priority int32
		ran      time.Duration
		saved    time.Duration // ago; 0: never
	}
	for name, tc := range map[string]struct{ goes, stays side }{
		"of one priority, who has saved":    {side{1, 5 * time.Hour, time.Minute}, side{1, 2 * time.Hour, 0}},
		"or has done so later":              {side{1, 5 * time.Hour, time.Minute}, side{1, 5 * time.Hour, 3 * time.Hour}},
		"of lower priority, whoever it is":  {side{1, 5 * time.Hour, 0}, side{2, 5 * time.Hour, time.Second}},
		"who has never saved and is young":  {side{1, time.Minute, 0}, side{1, 5 * time.Hour, time.Hour}},
		"of one priority, who started late": {side{1, time.Hour, 0}, side{1, 2 * time.Hour, 0}},
	} {
		for _, turned := range []bool{false, true} {
			for _, gang := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, turned %v, to a gang %v", name, turned, gang), func(t *testing.T) {
					gates(t, "gangs", "topology")
					w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 64), node("b", 64), slice("a", "T4", "T4"), slice("b", "T4", "T4"))
					w.releases()
					at := map[string]string{"goes": "a", "stays": "b"}
					if turned {
						at = map[string]string{"goes": "b", "stays": "a"}
					}
					for who, s := range map[string]side{"goes": tc.goes, "stays": tc.stays} {
						said := s.saved
						if gang { // of which the scheduler hears after what is said before it is made
							said = s.saved * 20
						}
						w.group(who, 2, groupPriority(s.priority), savedTogether(said))
						w.gang(who, 2, whole, priority(s.priority), onNode(at[who]), ran(s.ran))
						w.members(who, 2)
						if gang {
							w.mark(who, s.saved)
						}
					}
					if gang {
						w.group("high", 2, groupPriority(10))
						w.gang("high", 2, whole, priority(10))
						w.members("high", 2)
					} else {
						w.place("high", want(2, 1000), priority(10))
					}
					for p, want := range map[string]bool{"goes-0": false, "goes-1": false, "stays-0": true, "stays-1": true} {
						if w.there(p) != want {
							t.Errorf("%s there: %v", p, !want)
						}
					}
				})
			}
		}
	}
}

// TestAGangGoesWhereLeastIsLost: a place is judged by all who have to go there.
func TestAGangGoesWhereLeastIsLost(t *testing.T) {
	both := func() *resourcev1.ResourceClaim { return want(2, 1000) }
	for name, tc := range map[string]struct {
		loads []load
		size  int
		claim func() *resourcev1.ResourceClaim
		goes  []string
	}{
		"where two lose more together than one does": {[]load{
			{"one", "a", 2, []func(*corev1.Pod){ran(50 * time.Minute)}},
			{"b1", "b", 1, []func(*corev1.Pod){ran(time.Hour)}},
			{"b2", "b", 1, []func(*corev1.Pod){ran(time.Hour)}},
			{"c1", "c", 1, []func(*corev1.Pod){ran(2 * time.Hour)}},
			{"c2", "c", 1, []func(*corev1.Pod){ran(time.Minute)}},
		}, 1, both, []string{"one"}},
		"and no more go than have to": {[]load{
			{"a1", "a", 2, []func(*corev1.Pod){ran(time.Hour)}},
			{"b1", "b", 2, []func(*corev1.Pod){ran(2 * time.Hour)}},
			{"c1", "c", 2, []func(*corev1.Pod){ran(3 * time.Hour)}},
		}, 2, both, []string{"a1", "b1"}},
		"of the less important all, before one of the others": {[]load{
			{"a1", "a", 1, []func(*corev1.Pod){ran(5 * time.Hour)}},
			{"a2", "a", 1, []func(*corev1.Pod){ran(5 * time.Hour)}},
			{"b1", "b", 2, []func(*corev1.Pod){ran(time.Second), priority(2)}},
		}, 1, both, []string{"a1", "a2"}},
	} {
		for _, turned := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, turned %v", name, turned), func(t *testing.T) {
				gates(t, "gangs", "topology")
				loads := slices.Clone(tc.loads)
				w := loaded(t, turned, loads)
				w.group("high", int32(tc.size), groupPriority(10))
				w.gang("high", tc.size, tc.claim, priority(10))
				w.members("high", tc.size)
				w.expectGone(loads, tc.goes)
			})
		}
	}
}

// TestProcessorsAreLostToo where there are no devices, whatever upstream would put back
// first.
func TestProcessorsAreLostToo(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, node("a", 8), node("b", 8))
	for _, l := range []struct {
		name string
		ran  time.Duration
	}{{"a", 3 * time.Hour}, {"b", time.Hour}, {"c", 2 * time.Hour}, {"d", 4 * time.Hour}} {
		w.place(l.name, nil, priority(1), cores(4), ran(l.ran))
	}
	w.group("high", 2, groupPriority(10))
	for i := range 2 {
		w.submit(fmt.Sprintf("high-%d", i), nil, ofGang("high"), priority(10), cores(4))
	}
	w.members("high", 2)
	for p, want := range map[string]bool{"a": true, "b": false, "c": false, "d": true} {
		if w.there(p) != want {
			t.Errorf("%s there: %v", p, !want)
		}
	}
}

// TestABudgetCountsBeforeWhatIsLost, as upstream has it.
func TestABudgetCountsBeforeWhatIsLost(t *testing.T) {
	for _, gang := range []bool{false, true} {
		t.Run(fmt.Sprint("to a gang ", gang), func(t *testing.T) {
			gates(t, "gangs", "topology")
			loads := []load{
				{"kept", "a", 1, []func(*corev1.Pod){ran(time.Minute), func(p *corev1.Pod) { p.Labels = map[string]string{"app": "kept"} }}},
				{"other", "b", 1, []func(*corev1.Pod){ran(5 * time.Hour)}},
			}
			w := start(t, Config{Policy: "polder"}, anyDevice, node("a", 8), node("b", 8), slice("a", "T4"), slice("b", "T4"))
			w.releases()
			budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kept"},
				Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept"}}}}
			if _, err := w.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), budget, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, l := range loads {
				w.place(l.name, whole(), append([]func(*corev1.Pod){priority(1), onNode(l.node)}, l.change...)...)
			}
			if gang {
				w.group("high", 1, groupPriority(10))
				w.gang("high", 1, whole, priority(10))
				w.members("high", 1)
			} else {
				w.place("high", whole(), priority(10))
			}
			w.expectGone(loads, []string{"other"})
		})
	}
}
