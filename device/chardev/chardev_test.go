package chardev

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

func machine() *devicetest.Machine {
	m := devicetest.New()
	m.Symlink("sys/dev/char/243:0", "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/kunlun/xpu0")
	m.Symlink("sys/dev/char/243:10", "../../devices/virtual/kunlun/xpu10")
	m.Symlink("sys/dev/char/243:2", "../../devices/virtual/kunlun/xpu2")
	m.Symlink("sys/dev/char/243:128", "../../devices/virtual/kunlun/xpuctrl")
	m.Symlink("sys/dev/char/1:3", "../../devices/virtual/mem/null")
	m.Symlink("sys/dev/char/261:0", "../../devices/pci0000:00/0000:02:00.0/accel/accel0")
	m.Write("sys/devices/pci0000:00/0000:02:00.0/accel/accel0/uevent", "MAJOR=261\nMINOR=0\nDEVNAME=accel/accel0\nDEVTYPE=accel_minor")
	m.Symlink("sys/dev/char/262:0", "../../devices/pci0000:00/0000:02:00.0/accel/accel1")
	m.Write("sys/devices/pci0000:00/0000:02:00.0/accel/accel1/uevent", "DEVNAME=../../etc/passwd")
	m.Symlink("sys/dev/char/nonsense", "../../devices/virtual/kunlun/xpu3")
	m.Write("sys/dev/char/9:9", "no link")
	return m
}

func TestRead(t *testing.T) {
	h, err := machine().Host()
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{Path: "/dev/xpu0", Number: 0, Major: 243, Minor: 0, Address: "0000:01:00.0"},
		{Path: "/dev/xpu2", Number: 2, Major: 243, Minor: 2},
		{Path: "/dev/xpu10", Number: 10, Major: 243, Minor: 10},
	}
	if diff := cmp.Diff(want, Read(h, "xpu")); diff != "" {
		t.Error(diff)
	}
	accel := Read(h, "accel")
	if len(accel) != 2 || accel[0].Path != "/dev/accel/accel0" || accel[1].Path != "/dev/accel1" {
		t.Errorf("the driver's name of the file is not heeded, or one out of /dev is: %+v", accel)
	}
	if none := Read(h, "gcu"); len(none) != 0 {
		t.Errorf("found %+v", none)
	}
}

func TestFindingOne(t *testing.T) {
	h, _ := machine().Host()
	xpu, accel := Read(h, "xpu"), Read(h, "accel")
	if f, ok := Of(xpu, "0000:01:00.0"); !ok || f.Number != 0 {
		t.Errorf("by address: %+v, %v", f, ok)
	}
	if f, ok := Minor(xpu, 10); !ok || f.Path != "/dev/xpu10" {
		t.Errorf("by minor number: %+v, %v", f, ok)
	}
	if _, ok := Of(accel, "0000:02:00.0"); ok {
		t.Error("of two files, one is taken for the only one")
	}
	if _, ok := Of(xpu, ""); ok {
		t.Error("no address is taken for one")
	}
}

func TestNode(t *testing.T) {
	h, _ := machine().Host()
	f, _ := Minor(Read(h, "xpu"), 2)
	n, err := f.Node(h, false)
	if diff := cmp.Diff(device.Node{Path: "/dev/xpu2", Type: "c", Major: 243, Minor: 2}, n); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	h.Live = true // where the file is missing
	if _, err := f.Node(h, false); err == nil {
		t.Error("a file that is not there is given to a container")
	}
}
