package plugin

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// portTaken puts a pod on a node that has its port, which the board knows nothing of.
func (w *world) portTaken(node string, change ...func(*corev1.Pod)) {
	w.t.Helper()
	at := func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node} }
	w.place("web-"+node, nil, append(change, port, at)...)
}

// apart keeps pods of one name on nodes of their own.
func apart(p *corev1.Pod) {
	p.Labels = map[string]string{"apart": p.Name[:strings.LastIndex(p.Name, "-")]}
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
		{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: p.Labels}}}}}
}

// noTours fails the test if something is remembered of gangs that are placed.
func (w *world) noTours() {
	w.t.Helper()
	c := w.devices.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tours) > 0 {
		w.t.Errorf("of gangs that are placed there are still %d tours", len(c.tours))
	}
}

// TestSecondBestDomain: where the gang would go by its devices a port is taken. The board
// places it in the next one.
func TestSecondBestDomain(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice, rack(node("a1", 64), "a"), rack(node("b1", 64), "b"), rack(node("c1", 64), "c"),
		slice("a1", "T4"), slice("b1", "T4", "T4"), slice("c1", "T4", "T4", "T4"))
	w.portTaken("a1")
	before := gangs(t, howAgain)
	w.group("one", 1, oneRack)
	w.gang("one", 1, whole, port)
	if got := w.members("one", 1); !slices.Equal(got, []string{"b1: d0"}) {
		t.Errorf("it is at %q", got)
	}
	if got := w.attempts("one"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("it was tried in %q", got)
	}
	if gangs(t, howAgain) != before {
		t.Error("upstream placed the gang, and the board could")
	}
	w.noTours()
}

// TestLastDomain: in 19 of 20 racks a port is taken. The gang gets to the last one, in the
// order of what is left of devices, in few attempts; there its pods have to be on two nodes,
// where the board would have them on one.
func TestLastDomain(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice)
	const racks = 20
	for r := range racks {
		for n := range 2 {
			name := fmt.Sprintf("r%02d-%d", r, n)
			w.create(rack(node(name, 64), name[:3]))
			models := slices.Repeat([]string{"T4"}, 1)
			if r == racks-1 {
				models = append(models, "T4", "T4")
			}
			w.create(slice(name, models...))
			if r < racks-1 {
				w.portTaken(name)
			}
		}
	}
	w.group("pair", 2, oneRack)
	w.gang("pair", 2, whole, port)
	got := w.members("pair", 2)
	if got[0][:6] != "r19-0:" || got[1][:6] != "r19-1:" {
		t.Errorf("they are at %q", got)
	}
	want := []string{"r00", "r01", "r00", "r01 r02", "r03 r04 r05 r06", "r07 r08 r09 r10 r11 r12 r13 r14", "r15 r16 r17 r18 r19"}
	if got := slices.Compact(w.attempts("pair")); !slices.Equal(got, want) { // the last ones twice, if the board has both on one node first
		t.Errorf("they were tried in\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	w.noTours()
}

// TestOnlyDomainsWithRoom: upstream is not given domains that lack devices or processors.
func TestOnlyDomainsWithRoom(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice, rack(node("a1", 64), "a"), rack(node("b1", 2), "b"), rack(node("c1", 64), "c"), rack(node("d1", 64), "d"), rack(node("d2", 64), "d"),
		slice("a1", "T4"), slice("b1", "T4", "T4", "T4"), slice("c1", "T4", "T4", "T4"), slice("d1", "T4", "T4"), slice("d2", "T4", "T4", "T4"))
	w.group("two", 2, oneRack)
	w.gang("two", 2, whole, apart, func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = *node("", 2).Status.Capacity.Cpu()
	})
	if got := w.members("two", 2); got[0][:3] != "d1:" || got[1][:3] != "d2:" {
		t.Errorf("they are at %q", got)
	}
	if got := w.attempts("two"); slices.ContainsFunc(got, func(s string) bool { return strings.ContainsAny(s, "ab") }) {
		t.Errorf("they were tried in %q, and a lacks devices, b processors", got)
	}
}

// TestApart: a gang whose pods want no other of it beside them gets a node for each, in a
// domain and without one, though the board would rather have them together.
func TestApart(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, anyDevice)
	for i := range 9 {
		name := fmt.Sprintf("n%d", i)
		w.create(rack(node(name, 64), fmt.Sprint("r", i/6)))
		w.create(slice(name, slices.Repeat([]string{"T4"}, 8)...))
	}
	on := func(name string, n int) {
		t.Helper()
		seen := map[string]bool{}
		for _, at := range w.members(name, n) {
			seen[at[:2]] = true
		}
		if len(seen) != n {
			t.Errorf("gang %s of %d is on %v", name, n, seen)
		}
	}
	w.group("six", 6, oneRack)
	w.gang("six", 6, whole, apart)
	on("six", 6)
	w.group("nine", 9)
	w.gang("nine", 9, whole, apart)
	on("nine", 9)
	w.overcommitted()
	w.noTours()
}

// TestPreemptionInSecondBestDomain: to where it would be cheapest to make others go the gang
// cannot go, because of one who does not give way. Those of the other rack go.
func TestPreemptionInSecondBestDomain(t *testing.T) {
	for _, c := range []struct {
		what   string
		change []func(*corev1.Pod)
	}{{"placed by the board", nil}, {"placed by upstream", []func(*corev1.Pod){apart}}} {
		t.Run(c.what, func(t *testing.T) {
			gates(t, "gangs", "topology")
			w := start(t, Config{Policy: "polder"}, anyDevice, rack(node("a1", 64), "a"), rack(node("b1", 64), "b"), rack(node("c1", 64), "c"),
				slice("a1", "T4"), slice("b1", "T4"), slice("c1", "T4"))
			w.releases()
			for _, n := range []string{"a1", "c1"} {
				w.portTaken(n, priority(10))
			}
			for i, n := range []string{"a1", "b1", "c1"} {
				w.place("low-"+n, whole(), priority(int32([]int{0, 2, 1}[i])), func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: n} })
			}
			w.group("high", 1, oneRack, groupPriority(10))
			w.gang("high", 1, whole, append(c.change, port, priority(10))...)
			if got := w.members("high", 1); !slices.Equal(got, []string{"b1: d0"}) {
				t.Errorf("it is at %q", got)
			}
			for p, want := range map[string]bool{"low-a1": true, "low-b1": false, "low-c1": true} {
				if w.there(p) != want {
					t.Errorf("%s there: %v", p, !want)
				}
			}
		})
	}
}

// TestNoHalfGangInDomains: schedulers die while gangs look for a domain that is none of the
// best. In the end as many are placed as there is room for, each in one.
func TestNoHalfGangInDomains(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewSource(seed))
	gates(t, "gangs", "topology")
	w := empty(t)
	w.create(anyDevice)
	const racks, open, nodes = 8, 3, 3
	stop := w.schedule(Config{Policy: "polder"})
	for r := range racks {
		for n := range nodes {
			name := fmt.Sprintf("r%d-%d", r, n)
			w.create(rack(node(name, 64), name[:2]))
			w.create(slice(name, "T4", "T4"))
			if r < racks-open {
				w.portTaken(name)
			}
		}
	}
	stop()
	const gangs = open + 1 // each wants the port of all nodes of a rack
	for g := range gangs {
		name := fmt.Sprint("g", g)
		w.group(name, nodes, oneRack)
		w.gang(name, nodes, whole, port)
		stop := w.schedule(Config{Policy: "polder"})
		time.Sleep(time.Duration(draw.Intn(60)) * time.Millisecond) // the moment of death
		stop()
		w.overcommitted()
	}
	t.Cleanup(w.schedule(Config{Policy: "polder"}))
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		full, part := 0, ""
		for g := range gangs {
			in, n := map[string]bool{}, 0
			for i := range nodes {
				p, err := w.CoreV1().Pods("default").Get(t.Context(), fmt.Sprintf("g%d-%d", g, i), metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if placed(p) {
					n++
					in[p.Spec.NodeName[:2]] = true
				}
			}
			switch {
			case n == nodes && len(in) == 1:
				full++
			case n > 0:
				part = fmt.Sprintf("%d of gang %d are placed, in %v", n, g, in)
			}
		}
		w.deallocate()
		if full == open && part == "" && len(w.taken()) == open*nodes {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d gangs are placed and %d devices held; %s\n%s", full, len(w.taken()), part, w.groups())
		}
	}
	w.overcommitted()
}
