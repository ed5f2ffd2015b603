package google

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
)

const uuid = "0A1B2C3D-1111-2222-3333-444455556666"

// v5e has four chips that are given to programs through vfio, made from what tpu-info
// reads.
func v5e() *devicetest.Machine {
	m := devicetest.New().Write("sys/class/dmi/id/product_uuid", uuid)
	for i := range 4 {
		m.Plug(devicetest.Card{Address: fmt.Sprintf("0000:00:0%d.0", 4+i), ID: "1ae0:0063", Sub: "1ae0:0000", Class: "ff0000", Driver: "vfio-pci", IOMMUGroup: fmt.Sprint(10 - i), NUMA: "0"})
	}
	m.Plug(devicetest.Card{Address: "0000:00:01.0", ID: "1ae0:0042", Class: "020000", Driver: "gvnic"})
	return m
}

// old has two chips with the driver of up to v4, whose files are numbered the other
// way round than the functions.
func old(id, sub string) *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:00:05.0", "0000:00:04.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: id, Sub: sub, Class: "ff0000", Driver: "accel"})
		m.Symlink(fmt.Sprintf("%s/accel%d/device", class, i), "../../../"+strings.TrimPrefix(dir, "sys/"))
	}
	m.Write(class+"/accel_core/x", "").Write(class+"/accel7/y", "")
	return m
}

func paths(d *device.Device) []string {
	var out []string
	for _, n := range d.Nodes {
		out = append(out, n.Path)
	}
	return out
}

var strangers = []device.Function{
	{Vendor: "1ae0", Device: "0042", Class: "020000"}, {Vendor: "1ae0", Device: "001f", Class: "010802"},
	{Vendor: "1ae0", Device: "abcd", Class: "120000"}, {Vendor: "1ae0", Device: "9999", Class: "020000"},
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: v5e, Devices: 4, Strangers: strangers}.Run(t)
}

func TestSuiteWithAccelDriver(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: func() *devicetest.Machine { return old("1ae0:005e", "1ae0:0000") }, Devices: 2, Strangers: strangers}.Run(t)
}

func TestChipsOfVFIO(t *testing.T) {
	devices, err := v5e().Discover(t, New())
	if err != nil || len(devices) != 4 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[0]
	if d.Product != "TPU v5e" || d.Kind != device.TPU || !slices.Equal(paths(d), []string{"/dev/vfio/10", "/dev/vfio/vfio"}) || !d.Nodes[1].Shared {
		t.Errorf("the first is %+v", d)
	}
	if d.Fabric == nil || d.Fabric.Domain != "ici-0a1b2c3d-1111-2222-3333-444455556666" || d.Health.State != device.Unknown {
		t.Errorf("fabric %+v, health %+v", d.Fabric, d.Health)
	}
	catalogue.Fill(d)
	if d.Memory != 16<<30 || d.FLOPS[device.BF16] != 197e12 || d.Fabric.Bandwidth != 400e9 {
		t.Errorf("the catalogue gives it %d bytes, %v, %+v", d.Memory, d.FLOPS, d.Fabric)
	}
	if e := New().Edits(devices); e.Env["TPU_CHIPS_PER_HOST_BOUNDS"] != "2,2,1" || len(e.Nodes) != 5 {
		t.Errorf("four chips are given with %+v", e)
	}
	if e := New().Edits(devices[:3]); e.Env != nil || len(e.Nodes) != 4 {
		t.Errorf("three chips, which are no mesh, are given with %+v", e)
	}
}

func TestFilesOfAccelAreFoundByTheirFunctions(t *testing.T) {
	devices, err := old("1ae0:005e", "1ae0:0000").Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	for _, d := range devices {
		want := map[string]string{"0000:00:05.0": "/dev/accel0", "0000:00:04.0": "/dev/accel1"}[d.PCI.Address]
		if got := paths(&d); !slices.Equal(got, []string{want}) {
			t.Errorf("the files of %s are %v, not %s", d.PCI.Address, got, want)
		}
	}
}

func TestSubsystemTellsGenerations(t *testing.T) {
	for sub, want := range map[string]struct {
		product string
		memory  int64
	}{"1ae0:004e": {"TPU v2", 16 << 30}, "1ae0:004f": {"TPU v3", 32 << 30}, "1ae0:0000": {"TPU v2 or v3", 0}} {
		devices, _ := old("1ae0:0027", sub).Discover(t, New())
		d := devices[0]
		if catalogue.Fill(&d); d.Product != want.product || d.Memory != want.memory {
			t.Errorf("subsystem %s is a %s with %d bytes", sub, d.Product, d.Memory)
		}
	}
}

func TestTwoFunctionsAreOneChip(t *testing.T) {
	m := devicetest.New()
	for i, address := range []string{"0000:00:04.0", "0000:00:04.1", "0000:00:05.0", "0000:00:05.1"} {
		m.Plug(devicetest.Card{Address: address, ID: "1ae0:0076", Class: "ff0000", Driver: "vfio-pci", IOMMUGroup: fmt.Sprint(i)})
	}
	devices, err := m.Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := &devices[1]
	if d.PCI.Address != "0000:00:05.0" || d.Product != "TPU7x" || !slices.Equal(paths(d), []string{"/dev/vfio/2", "/dev/vfio/3", "/dev/vfio/vfio"}) {
		t.Errorf("the second is %+v", d)
	}
	if d.Fabric == nil || d.Fabric.Domain != "" {
		t.Errorf("on a machine without a name the fabric is %+v", d.Fabric)
	}
}

func TestWithoutDriverNothingIsGiven(t *testing.T) {
	m := devicetest.New()
	m.Plug(devicetest.Card{Address: "0000:00:04.0", ID: "1ae0:006f", Class: "ff0000", IOMMUGroup: "3"})
	devices, err := m.Discover(t, New())
	if len(devices) != 1 || err == nil || len(devices[0].Nodes) != 0 || !strings.Contains(err.Error(), "vfio-pci") {
		t.Errorf("error %v, devices %+v", err, devices)
	}
}
