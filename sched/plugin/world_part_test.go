package plugin

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"polder.dev/polder/system/layout"
)

// The parts of a device that is cut as with MIG: slices of computing, of seven, and of
// memory, from one of eight on.
var migParts = []struct {
	name               string
	slices, at, memory int
}{
	{"7g", 7, 0, 8}, {"4g", 4, 0, 4}, {"3g", 3, 0, 4}, {"3g", 3, 4, 4}, {"2g", 2, 0, 2}, {"2g", 2, 2, 2}, {"2g", 2, 4, 2},
	{"1g", 1, 0, 1}, {"1g", 1, 1, 1}, {"1g", 1, 2, 1}, {"1g", 1, 3, 1}, {"1g", 1, 4, 1}, {"1g", 1, 5, 1}, {"1g", 1, 6, 1},
}

func number(n int) resourcev1.Counter {
	return resourcev1.Counter{Value: *resource.NewQuantity(int64(n), resource.DecimalSI)}
}

// consumed is the counters that a part takes.
func consumed(slices, at, memory int) map[string]resourcev1.Counter {
	out := map[string]resourcev1.Counter{"multiprocessors": number(slices)}
	for i := at; i < at+memory; i++ {
		out[fmt.Sprint("memory-slice-", i)] = number(1)
	}
	return out
}

// cut is a node's pool of so many devices that can be cut: a slice with their counters,
// and two with what can be had of them.
func cut(of string, devices int) []runtime.Object {
	spec := resourcev1.ResourceSliceSpec{Driver: driver, NodeName: &of, Pool: resourcev1.ResourcePool{Name: of, ResourceSliceCount: 3}}
	var sets []resourcev1.CounterSet
	var all []resourcev1.Device
	text := func(s string) resourcev1.DeviceAttribute { return resourcev1.DeviceAttribute{StringValue: &s} }
	for i := range devices {
		set := fmt.Sprint("gpu", i)
		sets = append(sets, resourcev1.CounterSet{Name: set, Counters: consumed(7, 0, 8)})
		for _, p := range migParts {
			all = append(all, resourcev1.Device{
				Name:             fmt.Sprintf("%s-%s-%d", set, p.name, p.at),
				Attributes:       map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"model": text("H100"), "profile": text(p.name), "parentUUID": text(of + set)},
				ConsumesCounters: []resourcev1.DeviceCounterConsumption{{CounterSet: set, Counters: consumed(p.slices, p.at, p.memory)}},
			})
		}
	}
	var out []runtime.Object
	add := func(name string, change func(*resourcev1.ResourceSliceSpec)) {
		s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: of + "-" + name}, Spec: spec}
		change(&s.Spec)
		out = append(out, s)
	}
	half := len(all) / 2
	add("counters", func(s *resourcev1.ResourceSliceSpec) { s.SharedCounters = sets })
	add("devices-0", func(s *resourcev1.ResourceSliceSpec) { s.Devices = all[:half] })
	add("devices-1", func(s *resourcev1.ResourceSliceSpec) { s.Devices = all[half:] })
	return out
}

// part is a claim of so many parts of a size.
func part(count int64, size string) *resourcev1.ResourceClaim {
	return want(count, 1000, fmt.Sprintf("device.attributes[%q].profile == %q", driver, size))
}

// kinds is a workload of one of each of these models.
func kinds(t *testing.T, models ...string) string {
	var all []string
	for _, m := range models {
		all = append(all, fmt.Sprintf(`{"Weight":1,"Request":{"CPU":1000,"Count":1,"Share":1,"Models":[%q]}}`, m))
	}
	return expect(t, `{"Kinds":[`+strings.Join(all, ",")+`]}`)
}

// overdrawn fails the test if claims have more of a device's counters than there is. It
// returns which parts of so many nodes with so many devices could still be had.
func (w *world) overdrawn(nodes []string, devices int) (left map[string]int) {
	w.t.Helper()
	list := w.claims()
	used, taken := map[string]int{}, map[string]bool{}
	for i := range list {
		c := &list[i]
		if c.Status.Allocation == nil {
			continue
		}
		for _, r := range c.Status.Allocation.Devices.Results {
			if taken[r.Pool+" "+r.Device] {
				w.t.Errorf("%s of %s is taken twice", r.Device, r.Pool)
			}
			taken[r.Pool+" "+r.Device] = true
		}
	}
	each := func(do func(device, part string, takes map[string]resourcev1.Counter, size string)) {
		for _, n := range nodes {
			for i := range devices {
				for _, p := range migParts {
					do(fmt.Sprintf("%s gpu%d", n, i), fmt.Sprintf("%s gpu%d-%s-%d", n, i, p.name, p.at), consumed(p.slices, p.at, p.memory), p.name)
				}
			}
		}
	}
	most := consumed(7, 0, 8)
	each(func(device, part string, takes map[string]resourcev1.Counter, _ string) {
		for name, n := range takes {
			if !taken[part] {
				continue
			}
			if used[device+name] += int(n.Value.Value()); used[device+name] > int(ptr.To(most[name]).Value.Value()) {
				w.t.Errorf("%d of %s of %s are taken", used[device+name], name, device)
			}
		}
	})
	left = map[string]int{}
	each(func(device, part string, takes map[string]resourcev1.Counter, size string) {
		fits := !taken[part]
		for name, n := range takes {
			fits = fits && used[device+name]+int(n.Value.Value()) <= int(ptr.To(most[name]).Value.Value())
		}
		if fits {
			left[size]++
		}
	})
	return left
}

// chose fails the test if the board did not decide.
func chose(t *testing.T, before int) {
	t.Helper()
	if now := count(t, howChosen); now == before {
		t.Error("upstream chose, so this test shows nothing")
	}
}

// TestPartsOfWhatIsCut: a small part goes onto the device that is cut already, at a place
// where a large one still has its own, and whoever wants a whole device still finds it.
// Upstream's plugin cuts what it finds first, and strands both.
func TestPartsOfWhatIsCut(t *testing.T) {
	for _, c := range []struct {
		policy string
		room   bool
	}{{"polder", true}, {"fgd", true}, {layout.PolicyStock, false}} {
		t.Run(c.policy, func(t *testing.T) {
			config := Config{Policy: c.policy, Workload: kinds(t, "H100 7g", "H100 4g", "H100 3g", "H100 1g")}
			w := start(t, config, append([]runtime.Object{anyDevice, node("a", 64)}, cut("a", 2)...)...)
			before := count(t, howChosen)
			// Whoever comes first has the last device cut, as it is after others have gone.
			w.place("first", want(1, 1000, fmt.Sprintf(`device.attributes[%q].profile == "3g" && device.attributes[%q].parentUUID == "agpu1"`, driver, driver)))
			small := []string{w.place("one", part(1, "1g")), w.place("two", part(1, "1g"))}
			w.submit("large", part(1, "7g"))
			if !c.room {
				w.wait("large", func(p *corev1.Pod) bool { return len(p.Status.Conditions) > 0 })
				p, err := w.CoreV1().Pods("default").Get(t.Context(), "large", metav1.GetOptions{})
				if err != nil || p.Spec.NodeName != "" {
					t.Errorf("upstream leaves a whole device with the parts at %q: %v", small, err)
				}
				return
			}
			if got := w.wait("large", placed); got != "a: gpu0-7g-0" {
				t.Errorf("is at %q", got)
			}
			for _, at := range small {
				if !strings.HasPrefix(at, "a: gpu1-1g-") {
					t.Errorf("a small part is at %q", at)
				}
			}
			chose(t, before)
			w.overdrawn([]string{"a"}, 2)
		})
	}
}

// TestPartsStrandLess: of the same pods, that ask for parts of all sizes and whole devices
// as they come, more is given out than upstream's plugin does. Those that leave open gaps.
func TestPartsStrandLess(t *testing.T) {
	nodes, devices := []string{"a", "b", "c", "d"}, 2
	sizes := map[string]int{"1g": 1, "2g": 2, "3g": 3, "4g": 4, "7g": 7}
	mix := []string{"1g", "1g", "1g", "1g", "2g", "2g", "3g", "4g", "7g"}
	asked, given := 0, map[string]int{}
	for seed := range int64(3) {
		for _, policy := range []string{layout.PolicyStock, "polder"} {
			draw := rand.New(rand.NewSource(seed))
			w := empty(t)
			w.create(anyDevice)
			for _, n := range nodes {
				w.create(node(n, 64))
				for _, o := range cut(n, devices) {
					w.create(o)
				}
			}
			stop := w.schedule(Config{Policy: policy, Workload: kinds(t, "H100 1g", "H100 1g", "H100 1g", "H100 1g", "H100 2g", "H100 2g", "H100 3g", "H100 4g", "H100 7g")})
			here := map[string]int{}
			for i := range 50 {
				name, size := fmt.Sprint("p", i), mix[draw.Intn(len(mix))]
				gone := fmt.Sprint("p", draw.Intn(i+1))
				asked += sizes[size]
				w.submit(name, part(1, size))
				w.wait(name, func(p *corev1.Pod) bool { return placed(p) || len(p.Status.Conditions) > 0 })
				p, err := w.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if placed(p) {
					here[name] = sizes[size]
					given[policy] += sizes[size]
				} else {
					w.leave(name)
				}
				if here[gone] > 0 && draw.Intn(2) == 0 {
					w.leave(gone)
					delete(here, gone)
				}
			}
			stop()
			w.overdrawn(nodes, devices)
		}
	}
	t.Logf("of %d sevenths of devices that were asked for were given out: %v", asked/2, given)
	if given["polder"] <= given[layout.PolicyStock] {
		t.Error("no more than upstream's plugin gives out")
	}
}

// leave has a pod go, with its claim.
func (w *world) leave(name string) {
	w.t.Helper()
	if err := w.CoreV1().Pods("default").Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.ResourceV1().ResourceClaims("default").Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// TestPreemptionFreesCounters: who wants a whole device has those give way who cut one, the
// least important.
func TestPreemptionFreesCounters(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, append([]runtime.Object{anyDevice, node("a", 64)}, cut("a", 2)...)...)
	w.releases()
	of := func(device, size string) *resourcev1.ResourceClaim {
		return want(1, 1000, fmt.Sprintf(`device.attributes[%[1]q].profile == %[2]q && device.attributes[%[1]q].parentUUID == %[3]q`, driver, size, "a"+device))
	}
	w.place("low", of("gpu0", "1g"), priority(1))
	w.place("lower", of("gpu0", "3g"), priority(0))
	w.place("middle", of("gpu1", "1g"), priority(5))
	if got := w.place("high", part(1, "7g"), priority(10)); got != "a: gpu0-7g-0" {
		t.Errorf("the important one is at %q", got)
	}
	if w.there("low") || w.there("lower") || !w.there("middle") {
		t.Errorf("low, lower and middle are there: %v, %v, %v", w.there("low"), w.there("lower"), w.there("middle"))
	}
	w.overdrawn([]string{"a"}, 2)
}

// TestSeveralPartsOfOneDevice: a claim for three gets them of one device, where only one
// has room, and one for more than there are is refused in words.
func TestSeveralPartsOfOneDevice(t *testing.T) {
	w := start(t, Config{Policy: "polder"}, append([]runtime.Object{anyDevice, node("a", 64), node("b", 64)}, append(cut("a", 1), cut("b", 1)...)...)...)
	before := count(t, howChosen)
	w.place("first", part(1, "4g"))
	if got := w.place("three", part(3, "2g")); !strings.Contains(got, "-2g-0") || !strings.Contains(got, "-2g-2") || !strings.Contains(got, "-2g-4") {
		t.Errorf("is at %q", got)
	}
	chose(t, before)
	refused := count(t, howRefused)
	w.submit("four", part(4, "2g"))
	w.wait("four", refusedFor("no node has the devices for 4 H100 2g, 1 cores, 1 GiB: 0 of 2 nodes: 2 have fewer than 4 such devices"))
	if count(t, howRefused) == refused {
		t.Error("the board did not refuse what no device has")
	}
	w.overdrawn([]string{"a", "b"}, 1)
}

// TestAnyPartIsTheSmallest: of parts that would do the smallest is given, not the first.
func TestAnyPartIsTheSmallest(t *testing.T) {
	w := start(t, Config{Policy: "polder", Workload: kinds(t, "H100 7g")}, append([]runtime.Object{anyDevice, node("a", 64)}, cut("a", 1)...)...)
	before := count(t, howChosen)
	if got := w.place("some", want(1, 1000, model("H100"))); !strings.HasPrefix(got, "a: gpu0-1g-") {
		t.Errorf("is at %q", got)
	}
	chose(t, before)
}

// TestGangsOfParts: a gang gets its parts where a whole device stays for another, all of
// them or none.
func TestGangsOfParts(t *testing.T) {
	gates(t, "gangs", "topology")
	config := Config{Policy: "polder", Workload: kinds(t, "H100 7g", "H100 2g")}
	w := start(t, config, append([]runtime.Object{anyDevice, node("a", 64), node("b", 64)}, append(cut("a", 1), cut("b", 1)...)...)...)
	claim := func() *resourcev1.ResourceClaim { return part(1, "2g") }
	w.group("g", 3)
	w.gang("g", 3, claim)
	var on []string
	for i := range 3 {
		on = append(on, strings.Fields(w.wait(fmt.Sprint("g-", i), placed))[0])
	}
	if len(slices.Compact(on)) != 1 {
		t.Errorf("the gang is on %v, and had room on one device", on)
	}
	w.group("h", 4)
	w.gang("h", 4, claim)
	w.wait("h-0", func(p *corev1.Pod) bool { return len(p.Status.Conditions) > 0 })
	if got := w.place("large", part(1, "7g")); got == on[0]+" gpu0-7g-0" {
		t.Errorf("is at %q, as the gang %v", got, on)
	}
	if n := len(w.taken()); n != 4 {
		t.Errorf("%d devices are taken, want the gang's 3 and the large one", n)
	}
	w.overdrawn([]string{"a", "b"}, 1)
}

// TestCountersAreNotOverdrawn: schedulers die in the middle of their work, and others go
// on, with parts of all sizes. Whatever the moment, no device is cut into more than it
// has, and in the end nobody waits for a part that some device has room for.
func TestCountersAreNotOverdrawn(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewSource(seed))
	w := empty(t)
	w.create(anyDevice)
	nodes, devices := []string{"n0", "n1", "n2", "n3"}, 2
	for _, name := range nodes {
		w.create(node(name, 64))
		for _, o := range cut(name, devices) {
			w.create(o)
		}
	}
	const lives, perLife = 4, 10
	sizes := []string{"1g", "1g", "1g", "2g", "3g", "4g", "7g"}
	asked := map[string]string{}
	for life := range lives {
		for i := range perLife {
			name := fmt.Sprintf("p%d-%d", life, i)
			asked[name] = sizes[draw.Intn(len(sizes))]
			w.submit(name, part(1, asked[name]))
		}
		stop := w.schedule(Config{Policy: "polder"})
		time.Sleep(time.Duration(draw.Intn(30)) * time.Millisecond) // the moment of death
		stop()
		w.overdrawn(nodes, devices)
	}
	t.Cleanup(w.schedule(Config{Policy: "polder"}))
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		left, waits := w.overdrawn(nodes, devices), ""
		for name, size := range asked {
			p, err := w.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !placed(p) && (left[size] > 0 || len(p.Status.Conditions) == 0) {
				waits = fmt.Sprintf("pod %s waits for a %s, of which %d could be had", name, size, left[size])
			}
		}
		if waits == "" {
			break
		} else if time.Now().After(end) {
			t.Fatal(waits)
		}
	}
}
