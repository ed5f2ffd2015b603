package plugin

import (
	"fmt"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/dynamic-resource-allocation/cel"

	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
)

// TestNamedDevicesAreGiven: a claim that names devices gets one of these, whatever the
// policy would choose, alone and in a gang; and none while they are taken.
func TestNamedDevicesAreGiven(t *testing.T) {
	gates(t, "gangs", "topology")
	w := start(t, Config{Policy: "polder"}, &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: claim.Class, UID: "ours"}}, node("a", 64))
	w.releases()
	var all []device.Device
	for _, n := range []string{"gpu-0", "gpu-1"} {
		all = append(all, device.Device{Name: n, UUID: "u-" + n, Kind: device.GPU, Vendor: "nvidia", Product: "H100", Form: device.Whole, Software: "cuda", Memory: 80 << 30,
			Partitions: []device.Partition{{Profile: "half", Count: 2, Memory: 40 << 30, Share: 500}}, Driver: device.Driver{Version: "1"}})
	}
	name := "a"
	pools := profile.Pool(all, true)
	for i, p := range pools {
		w.create(&resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: string('x' + rune(i))}, Spec: resourcev1.ResourceSliceSpec{
			Driver: profile.Domain, NodeName: &name, Devices: p.Devices, SharedCounters: p.Counters, Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: int64(len(pools))}}})
	}
	half := func(uuids ...string) *resourcev1.ResourceClaim {
		c, err := claim.Compile(device.Requirement{Count: 1, Kinds: []device.Kind{device.GPU}, Software: []string{"cuda"}, Memory: 20 << 30, Share: true})
		if err != nil {
			t.Fatal(err)
		}
		claim.Only(&c, uuids)
		return &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: c}}
	}
	first := w.place("first", half())
	other := map[string]string{"a: gpu-0-half-0": "1", "a: gpu-0-half-1": "1", "a: gpu-1-half-0": "0", "a: gpu-1-half-1": "0"}[first]
	if other == "" {
		t.Fatalf("the first is at %q", first)
	}
	if got, want := w.place("named", half("u-gpu-"+other+"/half/1")), "a: gpu-"+other+"-half-1"; got != want {
		t.Errorf("it is at %q, want %q", got, want)
	}
	w.group("pair", 1)
	w.gang("pair", 1, func() *resourcev1.ResourceClaim { return half("u-gpu-" + other + "/half/0") })
	if got, want := w.members("pair", 1)[0], "a: gpu-"+other+"-half-0"; got != want {
		t.Errorf("the gang is at %q, want %q", got, want)
	}
	w.submit("late", half("u-gpu-"+other+"/half/1"))
	w.wait("late", refusedFor("cannot allocate all claims"))
}

// TestAllDevicesThatMayBeNamedCanBe: the API server takes such a selector.
func TestAllDevicesThatMayBeNamedCanBe(t *testing.T) {
	var uuids []string
	for i := range 64 { // as many and as long as spec.move takes
		uuids = append(uuids, fmt.Sprintf("%064d", i))
	}
	c := resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{Exactly: &resourcev1.ExactDeviceRequest{}}}}
	claim.Only(&c, uuids)
	e := c.Requests[0].Exactly.Selectors[0].CEL.Expression
	compiled := cel.GetCompiler(cel.Features{}).CompileCELExpression(e, cel.Options{})
	if compiled.Error != nil || compiled.MaxCost > resourcev1.CELSelectorExpressionMaxCost || len(e) > resourcev1.CELSelectorExpressionMaxLength {
		t.Errorf("%d bytes, cost %d, %v", len(e), compiled.MaxCost, compiled.Error)
	}
}
