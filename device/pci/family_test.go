package pci_test

import (
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

// number returns a number of a product of the catalogue of a kind.
func number(t *testing.T, kind device.Kind) (id string, vendor string) {
	t.Helper()
	for _, p := range catalogue.All() {
		if p.Kind == kind && len(p.PCI) > 0 {
			return p.PCI[0], p.Vendor
		}
	}
	t.Skipf("the catalogue has no %s with a number", kind)
	return "", ""
}

func TestOwns(t *testing.T) {
	plain := pci.Family{Vendor: "v", Numbers: []string{"aaaa", "bbbb"}, Classes: []string{"1200", "0302"}, Except: []string{"0042"}}
	only := pci.Family{Vendor: "v", Numbers: []string{"aaaa"}, Classes: []string{"12"}, Only: []string{"1200"}}
	for _, c := range []struct {
		name   string
		family pci.Family
		f      device.Function
		want   bool
	}{
		{"its class", plain, device.Function{Vendor: "aaaa", Device: "0001", Class: "120000"}, true},
		{"its second number", plain, device.Function{Vendor: "bbbb", Device: "0001", Class: "030200"}, true},
		{"another class", plain, device.Function{Vendor: "aaaa", Device: "0001", Class: "020000"}, false},
		{"another vendor", plain, device.Function{Vendor: "cccc", Device: "0001", Class: "120000"}, false},
		{"an exception", plain, device.Function{Vendor: "aaaa", Device: "0042", Class: "120000"}, false},
		{"no class", plain, device.Function{Vendor: "aaaa", Device: "0001"}, false},
		{"out of what may be", only, device.Function{Vendor: "aaaa", Device: "0001", Class: "128000"}, false},
		{"of what may be", only, device.Function{Vendor: "aaaa", Device: "0001", Class: "120000"}, true},
	} {
		if got := c.family.Owns(&c.f); got != c.want {
			t.Errorf("%s: owns is %v", c.name, got)
		}
	}
}

// TestOwnsByNumber has a product of the catalogue whose class says nothing.
func TestOwnsByNumber(t *testing.T) {
	id, vendor := number(t, device.NPU)
	f := device.Function{Vendor: id[:4], Device: id[5:], Class: "ff0000"}
	m := pci.Family{Vendor: vendor, Kind: device.NPU, Numbers: []string{id[:4]}}
	if !m.Owns(&f) {
		t.Errorf("%s is in the catalogue, and is not owned", id)
	}
	m.Vendor = "another"
	if m.Owns(&f) {
		t.Errorf("%s of %s is owned by %s", id, vendor, m.Vendor)
	}
}

// TestOwnsKeepsKindsApart: vendors of GPUs sell network cards that compute and FPGAs
// under the same number and class.
func TestOwnsKeepsKindsApart(t *testing.T) {
	for _, kind := range []device.Kind{device.DPU, device.FPGA} {
		id, vendor := number(t, kind)
		f := device.Function{Vendor: id[:4], Device: id[5:], Class: "120000"}
		for _, other := range device.Kinds() {
			m := pci.Family{Vendor: vendor, Kind: other, Numbers: []string{id[:4]}, Classes: []string{"1200"}}
			if got := m.Owns(&f); got != (other == kind) {
				t.Errorf("the %s %s is owned by a family of %s: %v", kind, id, other, got)
			}
		}
	}
}

func TestDevice(t *testing.T) {
	m := devicetest.New()
	m.Plug(accelerator)
	vf := accelerator
	vf.Address, vf.ID, vf.Driver, vf.NUMA = "0000:3b:00.4", "aaaa:ffff", "", ""
	m.Symlink(m.Plug(vf)+"/physfn", "../0000:3b:00.0")
	m.Plug(devicetest.Card{Address: "0000:3b:00.1", ID: "aaaa:0001", Class: "040300"})
	m.Write("sys/module/nvidia/version", "580.95.05")
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	family := pci.Family{Vendor: "nvidia", Kind: device.GPU, Numbers: []string{"10de", "aaaa"}, Classes: []string{"0302"}, Software: "cuda"}
	devices := family.Devices(h)
	if len(devices) != 2 {
		t.Fatalf("%d devices", len(devices))
	}
	a, b := devices[0], devices[1]
	if a.Form != device.Whole || a.Driver != (device.Driver{Module: "nvidia", Version: "580.95.05"}) || *a.NUMA != 1 || a.PCI.Address != "0000:3b:00.0" || a.Software != "cuda" {
		t.Errorf("the card is %+v", a)
	}
	if p, ok := catalogue.ByID("10de:2330"); ok && (a.Product != p.Name || a.Provenance["product"].From != "catalogue") {
		t.Errorf("its product is %q, from %v", a.Product, a.Provenance)
	}
	if b.Form != device.VF || b.Product != "device aaaa:ffff" || b.NUMA != nil || b.Kind != device.GPU || len(b.Provenance) != 0 {
		t.Errorf("the virtual function is %+v", b)
	}
	if a.Health.State != device.Unknown || b.Health.State != device.Unknown {
		t.Error("the health of what nobody asked is known")
	}
}
