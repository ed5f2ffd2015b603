package metax

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// machine has two cards, the second of which has the first files.
func machine() *devicetest.Machine {
	m := devicetest.New()
	for i, address := range []string{"0000:0e:00.0", "0000:8a:00.0"} {
		dir := m.Plug(devicetest.Card{Address: address, ID: "9999:4001", Class: "038000", Driver: "metax", NUMA: fmt.Sprint(i)})
		for _, f := range []string{fmt.Sprintf("card%d", 2-i), fmt.Sprintf("renderD%d", 129-i)} {
			m.Symlink("sys/class/drm/"+f+"/device", "../../../"+strings.TrimPrefix(dir, "sys/")).Write("dev/dri/"+f, "")
		}
	}
	return m.Write("dev/mxcd", "").Write("dev/mxgd", "").Write("sys/module/metax/version", "3.6.11")
}

func TestSuite(t *testing.T) {
	devicetest.Suite{Adapter: New(), Machine: machine, Devices: 2, Strangers: []device.Function{
		{Vendor: "9999", Device: "9999", Class: "020000"}, // a card in development
		{Vendor: "9999", Device: "4001", Class: "040300"},
		{Vendor: "1eae", Device: "4001", Class: "038000"}, // XFX, which lists of folklore give to MetaX
	}}.Run(t)
}

func paths(nodes []device.Node) string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Path)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestDiscover(t *testing.T) {
	devices, err := machine().Discover(t, New())
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	d := devices[0]
	if d.Kind != device.GPU || d.Vendor != "metax" || d.Driver.Version != "3.6.11" || *d.NUMA != 0 || d.Health.State != device.Unknown || d.Memory != 0 {
		t.Errorf("the first is %+v", d)
	}
	if got := paths(d.Nodes); got != "/dev/dri/card2 /dev/dri/renderD129 /dev/mxcd /dev/mxgd" {
		t.Errorf("its files are %s", got)
	}
	if got := paths(New().Edits(devices).Nodes); got != "/dev/dri/card1 /dev/dri/card2 /dev/dri/renderD128 /dev/dri/renderD129 /dev/mxcd /dev/mxgd" {
		t.Errorf("both are given %s", got)
	}
}

func TestWithoutDriver(t *testing.T) {
	m := machine()
	for f := range m.Files {
		if strings.HasPrefix(f, "sys/class") {
			delete(m.Files, f)
		}
	}
	devices, err := m.Discover(t, New())
	if len(devices) != 2 || err == nil || devices[0].Nodes != nil {
		t.Errorf("%+v, %v", devices, err)
	}
}
