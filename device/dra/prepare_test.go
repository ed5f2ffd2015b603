package dra

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// made is a machine with the devices of a test.
type made struct{ devices []device.Device }

func (m *made) Find(context.Context) (device.Inventory, error) {
	return device.Inventory{Devices: m.devices}, nil
}
func (*made) Stat(file string) (fs.FileInfo, error)           { return os.Stat(file) }
func (*made) Measure(context.Context, []device.Device) error  { return nil }
func (*made) Listen(context.Context) (<-chan struct{}, error) { return nil, nil }
func (*made) Tell([]device.Device)                            {}
func (*made) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Env: map[string]string{"VISIBLE": fmt.Sprint(len(devices))}, Mounts: []device.Mount{{Host: "/nowhere", Container: "/nowhere"}, {Host: "/etc", Container: "/opt/vendor"}}}
	for _, d := range devices {
		e.Nodes = append(e.Nodes, d.Nodes...)
		e.Nodes = append(e.Nodes, device.Node{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, Shared: true})
	}
	return e
}

// gpus are n devices, whose files are /dev/zero.
func gpus(n int) []device.Device {
	var out []device.Device
	for i := range n {
		out = append(out, device.Device{Name: fmt.Sprintf("gpu-%d", i), Kind: device.GPU, Vendor: "v", Product: "p", UUID: fmt.Sprint(i), Form: device.Whole,
			Health: device.Health{State: device.Healthy}, Nodes: []device.Node{{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5}}})
	}
	return out
}

// driver is one on directories of its own.
func driver(t testing.TB, dir string, m *made) *Driver {
	t.Helper()
	d, err := New(slog.New(slog.DiscardHandler), fake.NewClientset(), m, Config{Node: "n", Plugins: filepath.Join(dir, "plugins"),
		Registry: filepath.Join(dir, "registry"), CDI: filepath.Join(dir, "cdi"), State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.find(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// claimOf is a claim with devices of one request.
func claimOf(uid string, devices ...string) *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: "ns", Name: uid}, Status: resourcev1.ResourceClaimStatus{Allocation: &resourcev1.AllocationResult{}}}
	for _, name := range devices {
		c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results,
			resourcev1.DeviceRequestAllocationResult{Request: "accelerators/cuda-0", Driver: profile.Domain, Pool: "n", Device: name})
	}
	return c
}

func prepareOne(t testing.TB, d *Driver, c *resourcev1.ResourceClaim) kubeletplugin.PrepareResult {
	t.Helper()
	got, err := d.PrepareResourceClaims(t.Context(), []*resourcev1.ResourceClaim{c})
	if err != nil {
		t.Fatal(err)
	}
	return got[c.UID]
}

func TestPrepareWritesWhatContainersNeed(t *testing.T) {
	dir := t.TempDir()
	d := driver(t, dir, &made{gpus(4)})
	c := claimOf("u1", "gpu-1", "gpu-2")
	c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results, resourcev1.DeviceRequestAllocationResult{Request: "nic", Driver: "dra.net", Pool: "n", Device: "eth0"})
	got := prepareOne(t, d, c)
	if got.Err != nil || len(got.Devices) != 2 {
		t.Fatalf("got %+v", got)
	}
	if ids := got.Devices[0].CDIDeviceIDs; len(ids) != 1 || ids[0] != "accelerator.polder.dev/claim=u1-accelerators.cuda-0" || len(got.Devices[1].CDIDeviceIDs) != 0 {
		t.Errorf("CDI devices are %v and %v", ids, got.Devices[1].CDIDeviceIDs)
	}
	b, err := os.ReadFile(filepath.Join(dir, "cdi", "polder-claim-u1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s cdi.Spec
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	e := s.Devices[0].ContainerEdits
	if !slices.Equal(e.Env, []string{"POLDER_DEVICES=gpu-1,gpu-2", "VISIBLE=2"}) {
		t.Errorf("environment is %v", e.Env)
	}
	if len(e.DeviceNodes) != 2 || e.DeviceNodes[0].Path != "/dev/zero" || e.DeviceNodes[1].Path != "/dev/null" {
		t.Errorf("device files are %+v", e.DeviceNodes)
	}
	if len(e.Mounts) != 1 || e.Mounts[0].ContainerPath != "/opt/vendor" {
		t.Errorf("mounts are %+v", e.Mounts)
	}
	if s.Version != "0.3.0" && s.Version != "0.5.0" {
		t.Errorf("version %s is newer than what is said needs", s.Version)
	}
}

func TestPrepareIsIdempotentAndOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	m := &made{gpus(2)}
	first := prepareOne(t, driver(t, dir, m), claimOf("u1", "gpu-0"))
	d := driver(t, dir, m) // another process
	again := prepareOne(t, d, claimOf("u1", "gpu-0"))
	if first.Err != nil || again.Err != nil || again.Devices[0].CDIDeviceIDs[0] != first.Devices[0].CDIDeviceIDs[0] {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if other := prepareOne(t, d, claimOf("u2", "gpu-0")); other.Err == nil || !strings.Contains(other.Err.Error(), "ns/u1") {
		t.Errorf("a device that u1 holds is prepared for u2: %v", other.Err)
	}
	for range 2 {
		got, err := d.UnprepareResourceClaims(t.Context(), []kubeletplugin.NamespacedObject{{UID: "u1"}})
		if err != nil || got["u1"] != nil {
			t.Errorf("unpreparing: %v, %v", got, err)
		}
	}
	if other := prepareOne(t, d, claimOf("u2", "gpu-0")); other.Err != nil {
		t.Errorf("a device that is free again: %v", other.Err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*", "*u1*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStoreAfterAKill(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"state/u1.json":              `{"uid":"u1","devices":["gpu-0"]}`, // killed before the CDI file
		"state/u2.json":              `{"uid":"u2","dev`,                 // cannot be, since files are renamed; yet
		"state/u3.json":              `{"uid":"../../x"}`,
		"cdi/polder-claim-u9.json":   `{}`, // killed while removing
		"cdi/somebody-elses.json":    `{}`,
		"state/.polder-1234abcd.tmp": `{"uid":"u4"}`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := driver(t, dir, &made{gpus(2)})
	if got := prepareOne(t, d, claimOf("u5", "gpu-0")); got.Err == nil {
		t.Error("what u1 holds was forgotten")
	}
	if got := prepareOne(t, d, claimOf("u1", "gpu-0")); got.Err != nil {
		t.Errorf("u1 cannot be prepared to its end: %v", got.Err)
	}
	var left []string
	for _, pattern := range []string{"cdi/*", "state/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range found {
			left = append(left, filepath.Base(f))
		}
	}
	if want := []string{"polder-claim-u1.json", "somebody-elses.json", "u1.json"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, not %v", left, want)
	}
}

func TestPrepareRefuses(t *testing.T) {
	ill, fake, moved := gpus(1)[0], gpus(1)[0], gpus(1)[0]
	ill.Name, ill.Health = "ill", device.Of(device.Fault{Code: "gpu-lost", State: device.Failed})
	fake.Name, fake.Emulated = "fake", true
	moved.Name, moved.Nodes = "moved", []device.Node{{Path: "/dev/zero", Type: "c", Major: 195, Minor: 0}}
	gone := moved
	gone.Name, gone.Nodes = "gone", []device.Node{{Path: "/dev/nowhere", Type: "c", Major: 195}}
	dir := t.TempDir()
	d := driver(t, dir, &made{[]device.Device{ill, fake, moved, gone}})
	for name, want := range map[string]string{"ill": "gpu-lost", "fake": "emulated", "moved": "not the device file", "gone": "gone", "gpu-9": "not on this node any more"} {
		if got := prepareOne(t, d, claimOf("u-"+name, name)); got.Err == nil || !strings.Contains(got.Err.Error(), want) {
			t.Errorf("%s: %v", name, got.Err)
		}
	}
	if got := prepareOne(t, d, claimOf("../../etc/x", "gpu-0")); got.Err == nil {
		t.Error("a UID that is a path is taken")
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "cdi")); len(files) > 0 {
		t.Errorf("what was refused left %v", files)
	}
}

func TestHealthIsToldAtOnceAndAgain(t *testing.T) {
	m := &made{gpus(2)}
	d := driver(t, t.TempDir(), m)
	ctx, cancel := context.WithCancel(t.Context())
	reports := make(chan kubeletplugin.DeviceHealthReport)
	done := make(chan error)
	go func() { done <- d.WatchHealthStatus(ctx, reports) }()
	if r := <-reports; len(r.Devices) != 2 || r.Devices[0].Health != kubeletplugin.HealthStatusHealthy {
		t.Errorf("the first report is %+v", r)
	}
	ill := gpus(2)
	ill[1].Health = device.Of(device.Fault{Code: "gpu-lost", State: device.Failed})
	if err := d.set(ctx, ill); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-reports:
		if r.Devices[1].Health != kubeletplugin.HealthStatusUnhealthy {
			t.Errorf("the change is not in %+v", r)
		}
	case <-time.After(healthEvery / 2):
		t.Error("a change is not told before its time")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the end is %v", err)
	}
}

func TestConcerns(t *testing.T) {
	event := func(fields ...string) []byte { return []byte(strings.Join(fields, "\x00")) }
	if !concerns(event("add@/devices/pci0000:00/0000:3b:00.0", "ACTION=add", "SUBSYSTEM=pci", "PCI_ID=10DE:2330")) {
		t.Error("a card that comes is not noticed")
	}
	if concerns(event("change@/devices/virtual/block/loop0", "SUBSYSTEM=block")) || concerns(nil) {
		t.Error("a disk is noticed")
	}
}

func BenchmarkPrepare(b *testing.B) {
	d := driver(b, b.TempDir(), &made{gpus(8)})
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		c := claimOf(fmt.Sprintf("u%d", i), "gpu-0", "gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5", "gpu-6", "gpu-7")
		began := time.Now()
		if got := prepareOne(b, d, c); got.Err != nil {
			b.Fatal(got.Err)
		}
		took = append(took, time.Since(began))
		if _, err := d.UnprepareResourceClaims(b.Context(), []kubeletplugin.NamespacedObject{{UID: c.UID}}); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
