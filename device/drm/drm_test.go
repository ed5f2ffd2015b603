package drm

import (
	"testing"

	"polder.dev/polder/device/devicetest"
)

func TestReadKnowsFilesByTheirLink(t *testing.T) {
	m := devicetest.New()
	m.Symlink("sys/class/drm/card1/device", "../../../0000:03:00.0")
	m.Symlink("sys/class/drm/renderD128/device", "../../../0000:03:00.0")
	m.Symlink("sys/class/drm/card0/device", "../../../0000:C1:00.0")
	m.Symlink("sys/class/drm/card2/device", "../../../amdgpu_xcp_0")
	m.Symlink("sys/class/drm/renderD129/device", "../../../amdgpu_xcp_0")
	m.Symlink("sys/class/drm/card1-DP-1/device", "../../card1")
	m.Write("sys/class/drm/card3/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:09:00.0\nPCI_ID=1002:687F")
	m.Write("sys/class/drm/card4/dev", "226:4")
	m.Write("sys/class/drm/version", "drm 1.1.0 20060810")
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	x := Read(h)
	want := map[string]Device{
		"0000:03:00.0": {Name: "0000:03:00.0", Card: "card1", Render: "renderD128", Dir: "sys/class/drm/card1/device"},
		"0000:c1:00.0": {Name: "0000:c1:00.0", Card: "card0", Dir: "sys/class/drm/card0/device"},
		"amdgpu_xcp_0": {Name: "amdgpu_xcp_0", Card: "card2", Render: "renderD129", Dir: "sys/class/drm/card2/device"},
		"0000:09:00.0": {Name: "0000:09:00.0", Card: "card3", Dir: "sys/class/drm/card3/device"},
	}
	if len(x.Devices()) != len(want) {
		t.Errorf("found %d devices, there are %d", len(x.Devices()), len(want))
	}
	for name, w := range want {
		if d, ok := x.Named(name); !ok || *d != w {
			t.Errorf("%s is %+v, want %+v", name, d, w)
		}
	}
	if d, ok := x.Rendering("renderD129"); !ok || d.Name != "amdgpu_xcp_0" {
		t.Errorf("renderD129 is of %+v", d)
	}
	if _, ok := x.Rendering("renderD130"); ok {
		t.Error("a file that is not there has a device")
	}
}

func TestFunctionTakesNumbersOnly(t *testing.T) {
	m := devicetest.New()
	for file, text := range map[string]string{"vendor": "0x1002", "device": "0x687F", "class": "0x03", "subsystem_vendor": "1043", "subsystem_device": "0x12zz"} {
		m.Write("sys/class/drm/card0/device/"+file, text)
	}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	got := (&Device{Name: "0000:09:00.0", Dir: "sys/class/drm/card0/device"}).Function(h)
	if got.ID() != "1002:687f" || got.Class != "" || got.SubVendor != "" || got.SubDevice != "" || got.Driver != "" {
		t.Errorf("it is %+v", got)
	}
}

func FuzzSlot(f *testing.F) {
	f.Add("DRIVER=amdgpu\nPCI_SLOT_NAME=0000:09:00.0\n")
	f.Add("PCI_SLOT_NAME=")
	f.Fuzz(func(t *testing.T, uevent string) {
		if s := slot(uevent); len(s) > len(uevent) {
			t.Errorf("%q of %q", s, uevent)
		}
	})
}
