package device_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

func at(address string, kind device.Kind, ordinal int) device.Device {
	return device.Device{Kind: kind, Vendor: "v", Ordinal: ordinal, PCI: &device.Function{Address: address}}
}

func names(devices []device.Device) []string {
	var out []string
	for _, d := range devices {
		out = append(out, d.Name)
	}
	return out
}

func TestNames(t *testing.T) {
	devices := []device.Device{
		at("10000:01:00.0", device.GPU, 0), // a domain beyond four digits comes last
		at("2000:01:00.0", device.GPU, 0),
		at("0000:3b:00.0", device.NPU, 1),
		at("0000:3b:00.0", device.NPU, 0),
		at("0000:3b:00.0", device.NPU, 0), // an adapter that forgot to count
		{Kind: device.CPU, Vendor: "v"},
		{Kind: device.CPU, Vendor: "v", UUID: "own"},
	}
	device.Names(devices)
	want := []string{"cpu-0", "cpu-1", "gpu-2000-01-00-0", "gpu-10000-01-00-0", "npu-0000-3b-00-0", "npu-0000-3b-00-0-c1", "npu-0000-3b-00-0-d2"}
	if diff := cmp.Diff(want, names(devices)); diff != "" {
		t.Error(diff)
	}
	if d := devices[0]; d.UUID != "v-cpu-0" || d.Provenance["uuid"].From == "" {
		t.Errorf("a device without a UUID has %q, from %v", d.UUID, d.Provenance)
	}
	if d := devices[1]; d.UUID != "own" || d.Provenance != nil {
		t.Errorf("a device with a UUID of its own has %q, from %v", d.UUID, d.Provenance)
	}
}

// TestNamesTwice: an inventory is named again when devices of another are joined.
func TestNamesTwice(t *testing.T) {
	devices := make([]device.Device, 24)
	for i := range devices {
		devices[i] = device.Device{Kind: device.NPU, Vendor: "v", Serial: fmt.Sprint(i)}
	}
	device.Names(devices)
	once := slices.Clone(devices)
	device.Names(devices)
	if diff := cmp.Diff(once, devices); diff != "" {
		t.Errorf("naming again changes names:\n%s", diff)
	}
	if d := devices[10]; d.Name != "npu-10" || d.Serial != "10" {
		t.Errorf("the eleventh is %s, serial %s", d.Name, d.Serial)
	}
}

// TestCompareNamesOrders looks that it is an order: the same whichever way names come.
func TestCompareNamesOrders(t *testing.T) {
	want := []string{"cpu-0", "cpu-2", "cpu-10", "gpu-0000-03-00-0", "gpu-0000-3b-00-0", "gpu-0000-3b-00-0-c1", "gpu-0000-3b-00-0-c2",
		"gpu-0000-3b-00-0-c10", "gpu-0000-c1-00-0", "gpu-2000-01-00-0", "gpu-10000-01-00-0", "npu-9", "npu-11"}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		got := slices.Clone(want)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, device.CompareNames)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d:\n%s", seed, diff)
		}
	}
}

func TestFind(t *testing.T) {
	v := device.Inventory{Devices: []device.Device{{Name: "gpu-0", UUID: "a"}, {Name: "gpu-1", UUID: "b"}}}
	for _, c := range []struct{ by, want string }{{"gpu-1", "gpu-1"}, {"a", "gpu-0"}, {"c", ""}, {"", ""}} {
		d, ok := v.Find(c.by)
		if ok != (c.want != "") || ok && d.Name != c.want {
			t.Errorf("%q finds %+v", c.by, d)
		}
	}
}

func TestProblem(t *testing.T) {
	err := fmt.Errorf("looking: %w", errors.Join(device.Problem{Where: "/dev/x", What: "is gone"}, device.Problem{What: "is old"}))
	if got := err.Error(); got != "looking: /dev/x: is gone\nis old" {
		t.Errorf("the error reads %q", got)
	}
	if !errors.As(err, new(device.Problem)) {
		t.Error("a problem is lost among errors")
	}
}

func TestHealthIsTheWorstOfItsFaults(t *testing.T) {
	degraded, failed := device.Fault{Code: "slow", State: device.Degraded}, device.Fault{Code: "gone", State: device.Failed}
	note := device.Fault{Code: "no-link", State: device.Healthy}
	for _, c := range []struct {
		faults []device.Fault
		want   device.State
		first  string
	}{
		{nil, device.Healthy, ""},
		{[]device.Fault{note}, device.Healthy, "no-link"},
		{[]device.Fault{note, degraded}, device.Degraded, "slow"},
		{[]device.Fault{degraded, failed}, device.Failed, "gone"},
	} {
		h := device.Of(c.faults...)
		if h.State != c.want || c.first != "" && h.Faults[0].Code != c.first {
			t.Errorf("%v make %+v", c.faults, h)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	whole := device.Device{
		PCI: &device.Function{Address: "0000:01:00.0"}, NUMA: new(1), Fabric: &device.Fabric{Index: new(1)},
		FLOPS: map[device.Precision]int64{device.BF16: 1}, Features: []string{"sve"}, Links: []device.Link{{To: "a"}},
		Nodes: []device.Node{{Path: "/dev/a"}}, Partitions: []device.Partition{{Profile: "p"}},
		Health:     device.Health{Faults: []device.Fault{{Code: "a"}}},
		Reading:    &device.Reading{Power: new(1.0), MemoryUsed: new(int64(1)), Errors: map[string]int64{"a": 1}},
		Provenance: map[string]device.Origin{"uuid": {From: "a"}},
	}
	c := whole.Clone()
	if diff := cmp.Diff(whole, c); diff != "" {
		t.Fatalf("the copy differs:\n%s", diff)
	}
	before := whole.Clone()
	c.PCI.Address, *c.NUMA, *c.Fabric.Index, c.FLOPS[device.BF16] = "b", 2, 2, 2
	c.Features[0], c.Links[0].To, c.Nodes[0].Path, c.Partitions[0].Profile = "b", "b", "b", "b"
	c.Health.Faults[0].Code, *c.Reading.Power, *c.Reading.MemoryUsed, c.Reading.Errors["a"] = "b", 2, 2, 2
	c.Provenance["uuid"] = device.Origin{From: "b"}
	if diff := cmp.Diff(before, whole); diff != "" {
		t.Errorf("changing the copy changed the device:\n%s", diff)
	}
}
