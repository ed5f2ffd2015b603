package moorethreads

import (
	"fmt"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has two cards with their sound; the files are numbered the other way
// round. The class of the files is made up: the driver's is not known.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:18:00.0", "0000:a4:00.0"} {
		dir := "../../../" + strings.TrimPrefix(m.Plug(devicetest.Card{Address: address, ID: "1ed5:0323", Class: "030200", Driver: "mtgpu", NUMA: fmt.Sprint(i)}), "sys/")
		m.Plug(devicetest.Card{Address: strings.TrimSuffix(address, "0") + "1", ID: "1ed5:03ff", Class: "040300", Driver: "snd_hda_intel"})
		m.Symlink(fmt.Sprintf("sys/dev/char/239:%d", 1-i), "../"+dir[len("../../"):]+fmt.Sprintf("/mtgpu/mtgpu.%d", 1-i)).Write(fmt.Sprintf("dev/mtgpu.%d", 1-i), "")
		m.Symlink(fmt.Sprintf("sys/class/drm/renderD%d/device", 128+i), dir).Write(fmt.Sprintf("dev/dri/renderD%d", 128+i), "")
		m.Symlink(fmt.Sprintf("sys/class/drm/card%d/device", 1+i), dir).Write(fmt.Sprintf("dev/dri/card%d", 1+i), "")
	}
	return m.Write("sys/module/mtgpu/version", "2.7.0")
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Strangers: []device.Function{
		{Vendor: "1ed5", Device: "01ff", Class: "040300"}, {Vendor: "1ed5", Device: "02ff", Class: "040300"}, {Vendor: "1ed5", Device: "03ff", Class: "040300"},
		{Vendor: "1e2b", Device: "0323", Class: "030200"}, // whom lists of folklore give to Moore Threads
	}}.Run(t)
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.Kind != device.GPU || d.Software != "musa" || d.Driver.Version != "2.7.0" || d.Health.State != device.Unknown {
		t.Errorf("the first is %+v", d)
	}
	if len(d.Nodes) != 3 || d.Nodes[0].Path != "/dev/mtgpu.1" || d.Nodes[2].Path != "/dev/dri/renderD128" {
		t.Errorf("its files are %+v", d.Nodes)
	}
}

// Without a link from file to card, a single file is that of a single card; of
// several none is certain.
func TestUnlinked(t *testing.T) {
	m := machine()
	for f := range m.Files {
		if strings.HasPrefix(f, "sys/dev/char") {
			delete(m.Files, f)
		}
	}
	devices, err := m.Discover(t, New())
	if err == nil || len(devices) != 2 || devices[0].Nodes != nil || devices[1].Nodes != nil {
		t.Errorf("of two: %+v, %v", devices, err)
	}
	m = devicetest.New().Write("dev/mtgpu.4", "").Write("dev/mtgpu", "")
	m.Plug(devicetest.Card{Address: "0000:18:00.0", ID: "1ed5:0201", Class: "030000", Driver: "mtgpu"})
	devices, err = m.Discover(t, New())
	if err != nil || len(devices) != 1 || devices[0].Nodes[0].Path != "/dev/mtgpu.4" {
		t.Errorf("of one: %+v, %v", devices, err)
	}
}
