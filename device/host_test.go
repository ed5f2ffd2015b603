package device_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device"
)

func TestReadFileStopsAt4MiB(t *testing.T) {
	h := device.Host{FS: fstest.MapFS{
		"long":  {Data: bytes.Repeat([]byte("x"), 5<<20)},
		"some":  {Data: bytes.Repeat([]byte("x"), 3<<20)},
		"empty": {},
	}}
	if _, err := h.ReadFile("long"); !errors.Is(err, device.ErrTooLong) {
		t.Errorf("5 MiB give %v", err)
	}
	if b, err := h.ReadFile("some"); len(b) != 3<<20 || err != nil {
		t.Errorf("3 MiB give %d bytes, %v", len(b), err)
	}
	if b, err := h.ReadFile("empty"); len(b) != 0 || err != nil {
		t.Errorf("nothing gives %q, %v", b, err)
	}
	if _, err := h.ReadFile("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gives %v", err)
	}
}

func TestHostReadsValues(t *testing.T) {
	h := device.Host{FS: fstest.MapFS{
		"d/text":    {Data: []byte("  a value \n")},
		"d/bytes":   {Data: []byte("a\xff\xfeb\n")},
		"d/decimal": {Data: []byte("-12\n")},
		"d/hex":     {Data: []byte("0x10de\n")},
		"d/word":    {Data: []byte("many\n")},
		"d/link":    {Data: []byte("../../bus/pci/drivers/nvidia"), Mode: fs.ModeSymlink},
	}}
	for name, want := range map[string]string{"text": "a value", "bytes": "ab", "none": ""} {
		if got := h.String("d", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]int64{"decimal": -12, "hex": 0x10de} {
		if got, ok := h.Int("d", name); got != want || !ok {
			t.Errorf("%s is %d, %v", name, got, ok)
		}
	}
	if n, ok := h.Int("d/word"); ok {
		t.Errorf("a word is the number %d", n)
	}
	if got := h.Link("d/link"); got != "nvidia" {
		t.Errorf("the link is %q", got)
	}
	if h.Link("d/text") != "" || h.Dir("none") != nil || !h.Exists("d/text") || h.Exists("d/none") {
		t.Error("what is not there is")
	}
	if got := h.Dir("d"); !slices.IsSorted(got) || len(got) != 6 {
		t.Errorf("the directory has %v", got)
	}
}

func TestNodeIsADeviceOnALiveMachine(t *testing.T) {
	root := os.DirFS("/")
	h := device.Host{FS: root, Live: true}
	n, err := h.Node("/dev/null", true)
	if err != nil || n.Type != "c" || n.Major != 1 || n.Minor != 3 || !n.Shared {
		t.Errorf("/dev/null is %+v, %v", n, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Node(file, false); err == nil {
		t.Error("a plain file is taken for a device")
	}
	if _, err := h.Node("/dev/none-such", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gives %v", err)
	}
	h = device.Host{FS: fstest.MapFS{}}
	if n, err := h.Node("/dev/nvidia0", false); err != nil || n != (device.Node{Path: "/dev/nvidia0", Type: "c"}) {
		t.Errorf("on a copy of a machine it is %+v, %v", n, err)
	}
}

func TestAtReadsAnyForm(t *testing.T) {
	h := device.Host{Functions: []device.Function{{Address: "0000:3b:00.0", Vendor: "a"}, {Address: "0000:af:00.0", Vendor: "b"}}}
	if f, ok := h.At("00000000:AF:00.0"); !ok || f != &h.Functions[1] {
		t.Errorf("found %+v", f)
	}
	if _, ok := h.At("3b:00.1"); ok {
		t.Error("found what is not there")
	}
	if got := h.Owned(func(f *device.Function) bool { return f.Vendor == "a" }); len(got) != 1 || got[0] != &h.Functions[0] {
		t.Errorf("owned are %v", got)
	}
}
