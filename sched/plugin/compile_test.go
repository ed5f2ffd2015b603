package plugin

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/dynamic-resource-allocation/cel"
	"k8s.io/utils/ptr"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/stock"
)

// shop has three models of one driver: T4 and A100 are shared by memory, P100 is not;
// MIG, which can be had whole or in parts, and devices that share counters of two sets.
func shop() *compiler {
	k := stock.NewCatalogue()
	device := func(model, memory string, shared bool) *resourcev1.Device {
		d := &resourcev1.Device{Name: "d", Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"model": {StringValue: &model}},
			Capacity: map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {Value: resource.MustParse(memory)}}}
		if shared {
			d.AllowMultipleAllocations = ptr.To(true)
		}
		return d
	}
	k.Of(driver, device("T4", "16Gi", true))
	k.Of(driver, device("A100", "80Gi", true))
	k.Of(driver, device("P100", "16Gi", false))
	var pieces []stock.Piece
	for i, model := range []string{"MIG", "MIG 2g", "MIG 1g", "MIG 1g"} {
		d := device(model, []string{"40Gi", "20Gi", "10Gi", "10Gi"}[i], false)
		d.ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: "s", Counters: map[string]resourcev1.Counter{"slices": {Value: *resource.NewQuantity([]int64{7, 2, 1, 1}[i], resource.DecimalSI)}}}}
		pieces = append(pieces, stock.Piece{Device: d, Class: k.Of(driver, d)})
	}
	if k.Cut(map[string]resourcev1.Counter{"slices": {Value: resource.MustParse("7")}}, pieces) == nil {
		panic("the board cannot say these parts")
	}
	odd := device("odd", "1Gi", false)
	odd.ConsumesCounters = []resourcev1.DeviceCounterConsumption{{CounterSet: "s"}, {CounterSet: "t"}}
	k.Cut(nil, []stock.Piece{{Device: odd, Class: k.Of(driver, odd)}})
	return newCompiler(k, func(name string) (*resourcev1.DeviceClass, error) {
		if name != "any" {
			return nil, fmt.Errorf("no class %s", name)
		}
		return anyDevice, nil
	}, cel.Features{EnableConsumableCapacity: true})
}

func memory(c *resourcev1.ResourceClaim, amount string) *resourcev1.ResourceClaim {
	c.Spec.Devices.Requests[0].Exactly.Capacity = &resourcev1.CapacityRequirements{Requests: map[resourcev1.QualifiedName]resource.Quantity{"memory": resource.MustParse(amount)}}
	return c
}

// several is a claim with the requests of others.
func several(claims ...*resourcev1.ResourceClaim) *resourcev1.ResourceClaim {
	out := &resourcev1.ResourceClaim{}
	for _, c := range claims {
		out.Spec.Devices.Requests = append(out.Spec.Devices.Requests, c.Spec.Devices.Requests...)
	}
	return out
}

// first is a claim that takes the first of these that is there.
func first(claims ...*resourcev1.ResourceClaim) *resourcev1.ResourceClaim {
	var list []resourcev1.DeviceSubRequest
	for i, c := range claims {
		e := c.Spec.Devices.Requests[0].Exactly
		list = append(list, resourcev1.DeviceSubRequest{Name: fmt.Sprint("s", i), DeviceClassName: e.DeviceClassName, Selectors: e.Selectors, AllocationMode: e.AllocationMode, Count: e.Count, Capacity: e.Capacity})
	}
	return &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Name: "r", FirstAvailable: list}}}}}
}

const (
	notMIG = `!device.attributes["driver.test"].model.startsWith("MIG") && device.attributes["driver.test"].model != "odd"`
	ofMIG  = `device.attributes["driver.test"].model.startsWith("MIG")`
)

func TestCompile(t *testing.T) {
	for _, c := range []struct {
		name  string
		claim *resourcev1.ResourceClaim
		want  wish
	}{
		{"a whole one of a model", want(1, 1000, model("T4")),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 1000, Models: []string{"T4"}}}}}},
		{"any that is no part", want(2, 1000, `!(device.attributes["driver.test"].model in ["MIG 1g", "MIG 2g", "odd"])`),
			wish{tiers: [][]sched.Request{{{Count: 2, Share: 1000}}}}},
		{"memory is another part of another model", memory(want(1, 1000, notMIG), "8Gi"),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 100, Models: []string{"A100"}}, {Count: 1, Share: 500, Models: []string{"T4"}}, {Count: 1, Share: 1000, Models: []string{"P100"}}}}}},
		{"what no other has", memory(want(1, 1000, notMIG), "20Gi"),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 250, Models: []string{"A100"}}}}}},
		{"a part", want(1, 1000, model("MIG 1g")),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 142, Models: []string{"MIG 1g"}}}}}},
		{"the whole of what has parts", want(1, 1000, model("MIG")),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 1000, Models: []string{"MIG"}}}}}},
		{"a part or the whole, by memory", memory(want(2, 1000, ofMIG), "15Gi"),
			wish{tiers: [][]sched.Request{{{Count: 2, Share: 285, Models: []string{"MIG", "MIG 2g"}}}}}},
		{"a whole one with parts or without", want(1, 1000, `device.attributes["driver.test"].model in ["MIG", "P100"]`),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 1000, Models: []string{"MIG", "P100"}}}}}},
		{"the same twice", several(want(1, 1000, model("T4")), want(2, 1000, model("T4"))),
			wish{tiers: [][]sched.Request{{{Count: 3, Share: 1000, Models: []string{"T4"}}}}}},
		{"two kinds", several(want(1, 1000, model("T4")), want(4, 1000, model("A100"))),
			wish{tiers: [][]sched.Request{{{Count: 4, Share: 1000, Models: []string{"A100"}}}}, also: true}},
		{"the first that is there", first(want(1, 1000, model("H100")), want(1, 1000, model("A100")), want(2, 1000, model("T4"))),
			wish{tiers: [][]sched.Request{{{Count: 1, Share: 1000, Models: []string{"A100"}}}, {{Count: 2, Share: 1000, Models: []string{"T4"}}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := shop().compile([]*resourcev1.ResourceClaim{c.claim})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(wish{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// bound is a claim some of whose devices have attributes in common.
func bound(c *resourcev1.ResourceClaim, all ...resourcev1.DeviceConstraint) *resourcev1.ResourceClaim {
	c.Spec.Devices.Constraints = all
	return c
}

func match(attribute resourcev1.FullyQualifiedName, requests ...string) resourcev1.DeviceConstraint {
	return resourcev1.DeviceConstraint{Requests: requests, MatchAttribute: &attribute}
}

// TestCompileConstraints: what the devices of one request must have in common is said;
// the rest is upstream's to find, on nodes where that much fits.
func TestCompileConstraints(t *testing.T) {
	two := func() *resourcev1.ResourceClaim { return want(2, 1000, model("T4")) }
	either := func() *resourcev1.ResourceClaim { return first(want(2, 1000, model("A100")), two()) }
	for _, c := range []struct {
		name     string
		claim    *resourcev1.ResourceClaim
		together []string // of each tier
		also     bool
	}{
		{"all", bound(two(), match("d/hive")), []string{"d/hive"}, false},
		{"by name", bound(two(), match("d/hive", "r")), []string{"d/hive"}, false},
		{"another's", bound(two(), match("d/hive", "s")), []string{""}, false},
		{"of alternatives", bound(either(), match("d/hive", "r/s1")), []string{"", "d/hive"}, false},
		{"each of its own", bound(either(), match("d/hive", "r/s0"), match("e/fabric", "r/s1")), []string{"d/hive", "e/fabric"}, false},
		{"two", bound(two(), match("d/hive"), match("d/root")), []string{"d/hive"}, true},
		{"distinct", bound(two(), resourcev1.DeviceConstraint{DistinctAttribute: ptr.To(resourcev1.FullyQualifiedName("d/hive"))}), []string{""}, true},
		{"of two requests", bound(several(two(), want(1, 1000, model("A100"))), match("d/hive")), []string{"d/hive"}, true},
		{"of parts", bound(want(2, 1000, model("MIG 1g")), match("d/parent")), []string{""}, true},
		{"of wholes that have parts", bound(want(2, 1000, model("MIG")), match("d/hive")), []string{"d/hive"}, false},
	} {
		w, err := shop().compile([]*resourcev1.ResourceClaim{c.claim})
		if err != nil {
			t.Fatal(c.name, err)
		}
		var together []string
		for _, tier := range w.tiers {
			together = append(together, tier[0].Together)
		}
		if diff := cmp.Diff(c.together, together); diff != "" || w.also != c.also {
			t.Errorf("%s: more is asked for: %v, %s", c.name, w.also, diff)
		}
	}
	lists := shop()
	lists.lists = true
	if w, err := lists.compile([]*resourcev1.ResourceClaim{bound(two(), match("d/hive"))}); err != nil || !w.also || w.tiers[0][0].Together != "" {
		t.Errorf("where attributes may be lists: %+v, %v", w, err)
	}
}

func TestCompileLeavesToUpstream(t *testing.T) {
	admin := want(1, 1000, model("T4"))
	admin.Spec.Devices.Requests[0].Exactly.AdminAccess = ptr.To(true)
	all := want(1, 1000, model("T4"))
	all.Spec.Devices.Requests[0].Exactly.AllocationMode = resourcev1.DeviceAllocationModeAll
	tolerant := want(1, 1000, model("T4"))
	tolerant.Spec.Devices.Requests[0].Exactly.Tolerations = []resourcev1.DeviceToleration{{Operator: resourcev1.DeviceTolerationOpExists}}
	classless := want(1, 1000, model("T4"))
	classless.Spec.Devices.Requests[0].Exactly.DeviceClassName = "none"
	for name, claim := range map[string]*resourcev1.ResourceClaim{
		"admin access": admin, "all devices": all, "tolerations": tolerant, "no such class": classless,
		"two sets":      want(1, 1000, model("odd")),
		"any of all":    want(1, 1000),
		"one by its id": want(1, 1000, `device.attributes["driver.test"].uuid == "x"`),
		"no such model": want(1, 1000, model("H100")),
		"no expression": want(1, 1000, `device.`),
		"no request":    {},
	} {
		if _, err := shop().compile([]*resourcev1.ResourceClaim{claim}); !errors.Is(err, errUpstream) {
			t.Errorf("%s: %v, want that it is left to upstream", name, err)
		}
	}
}
