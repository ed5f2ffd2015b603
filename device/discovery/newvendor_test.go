package discovery

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/conformance"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
	"polder.dev/polder/device/profile"
)

// acmeFamily and acme are the whole room of a vendor that there is not: what somebody
// would write who adds one.
var acmeFamily = pci.Family{Vendor: "acme", Kind: device.NPU, Numbers: []string{"acce"}, Classes: []string{"1200"}, Software: "acme"}

type acme struct{}

func (acme) Name() string                 { return "acme" }
func (acme) Owns(f *device.Function) bool { return acmeFamily.Owns(f) }
func (acme) dir(f *device.Function) string {
	return path.Join("sys/bus/pci/devices", f.Address, "acme")
}

func (a acme) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	devices := acmeFamily.Devices(h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		if !h.Exists(a.dir(d.PCI)) {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "has no driver; load the module acme to use it"})
			continue
		}
		if mib, ok := h.Int(a.dir(d.PCI), "memory_mib"); ok && mib > 0 && mib < 1<<30 {
			d.Memory = mib << 20
		}
		if serial := h.String(a.dir(d.PCI), "serial"); serial != "" {
			d.Serial, d.UUID = serial, "acme-"+serial
		}
		d.FLOPS = map[device.Precision]int64{device.BF16: 400e12, device.INT8: 800e12}
		d.Health = device.Of()
		n, err := h.Node(fmt.Sprintf("/dev/acme%d", i), false)
		if err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v", err)})
			continue
		}
		d.Nodes = []device.Node{n}
	}
	return devices, errors.Join(errs...)
}

func (acme) Edits(devices []device.Device) device.Edits {
	var e device.Edits
	for _, d := range devices {
		e.Nodes = append(e.Nodes, d.Nodes...)
	}
	return e
}

// acmeMachine has two of its cards, and one of its network cards.
func acmeMachine() *devicetest.Machine {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:01:00.0", ID: "acce:0100", Class: "020000"})
	for i, address := range []string{"0000:3b:00.0", "0000:af:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "acce:0001", Class: "120000", Driver: "acme", NUMA: fmt.Sprint(i)})
		m.Write(dir+"/acme/memory_mib", "65536").Write(dir+"/acme/serial", fmt.Sprintf("A%04d", i))
	}
	return m.Write("sys/module/acme/version", "1.2.3")
}

func TestNewVendorKeepsThePromises(t *testing.T) {
	devicetest.Suite{Adapter: acme{}, Machine: acmeMachine, Devices: 2, Strangers: []device.Function{{Vendor: "acce", Device: "0100", Class: "020000"}}}.Run(t)
}

// TestNewVendorIsOneRoomAndOneLine follows the devices of a new vendor from the bus to
// a job: nothing on the way knows vendors by name.
func TestNewVendorIsOneRoomAndOneLine(t *testing.T) {
	h, err := acmeMachine().Host()
	if err != nil {
		t.Fatal(err)
	}
	v := Run(t.Context(), h, append(Adapters(), acme{})) // the line
	var names []string
	for _, d := range v.Devices {
		names = append(names, d.Name+" "+d.Adapter+" "+d.Driver.Version)
	}
	if want := []string{"npu-0000-3b-00-0 acme 1.2.3", "npu-0000-af-00-0 acme 1.2.3"}; !slices.Equal(names, want) || len(v.Problems) > 0 {
		t.Fatalf("found are %q, not %q, with the problems %v", names, want, v.Problems)
	}

	node := "n"
	var published []resourcev1.ResourceSlice
	for _, s := range profile.Pool(v.Devices, false) {
		published = append(published, resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{
			Driver: profile.Domain, NodeName: &node, Devices: s.Devices, Pool: resourcev1.ResourcePool{Name: node, Generation: 1, ResourceSliceCount: 1},
		}})
	}
	for _, r := range conformance.Check(published) {
		for _, x := range r.Results {
			if !x.OK {
				t.Errorf("%s is broken: %v", x.Rule, x.Failures)
			}
		}
	}

	offers := claim.Offers(published, nil)
	if len(offers) != 2 {
		t.Fatalf("there are %d offers", len(offers))
	}
	want := device.Requirement{Count: 2, Kinds: []device.Kind{device.NPU}, Memory: 64 << 30, Precision: device.BF16}
	if fit := claim.Fit(want, offers); len(fit[node]) != 2 {
		t.Errorf("%d devices fit: %+v", len(fit[node]), claim.Explain(want, offers[0]).Checks)
	}
	if why := claim.Impossible(want, offers); why != "" {
		t.Errorf("it is impossible: %s", why)
	}
	c, err := claim.Compile(want)
	if err != nil || strings.Contains(c.Requests[0].Exactly.Selectors[0].CEL.Expression, "acme") {
		t.Errorf("the claim names the vendor, or is none: %v", err)
	}
	want.Memory *= 2
	if why := claim.Impossible(want, offers); !strings.Contains(why, "128 GiB") {
		t.Errorf("twice the memory is refused with %q", why)
	}
}
