package device_test

import (
	"regexp"
	"testing"

	"polder.dev/polder/device"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"as sysfs writes it", "0000:3b:00.0", "0000:3b:00.0"},
		{"as NVML writes it", "00000000:3B:00.0", "0000:3b:00.0"},
		{"as npu-smi writes it", "0000:C1:00.0", "0000:c1:00.0"},
		{"as neuron-ls writes it, without a domain", "cc:00.0", "0000:cc:00.0"},
		{"without a function", "0000:3b:00", "0000:3b:00.0"},
		{"between spaces", "  0000:06:00.0\n", "0000:06:00.0"},
		{"a domain of Intel's VMD", "10000:e1:00.0", "10000:e1:00.0"},
		{"the largest domain", "ffffffff:ff:1f.7", "ffffffff:ff:1f.7"},
		{"a short domain", "1:3b:00.0", "0001:3b:00.0"},
		{"nothing", "", ""},
		{"one number", "3b", ""},
		{"four numbers", "0000:00:3b:00.0", ""},
		{"with more behind, as Hygon's program writes it", "0000:06:00.0 --> SN: 1", ""},
		{"a bus beyond all", "0000:100:00.0", ""},
		{"a slot beyond all", "0000:3b:20.0", ""},
		{"a function beyond all", "0000:3b:00.8", ""},
		{"a domain beyond all", "100000000:3b:00.0", ""},
		{"no bus", "0000::00.0", ""},
		{"an empty function", "0000:3b:00.", ""},
		{"a sign", "0000:+b:00.0", ""},
		{"0x", "0x00:3b:00.0", ""},
		{"no hex", "0000:3g:00.0", ""},
		{"a port of PCI Express", "0000:00:01.1:pcie01", ""},
	} {
		got, ok := device.Address(c.in)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q is read as %q, %v", c.name, c.in, got, ok)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"0000:3b:00.0", "00000000:3B:00.0", "cc:00.0", "10000:e1:00.0", "0000:06:00.0 --> SN", "::.", "0:0:0.0", "-1:00:00.0"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := device.Address(s)
		if !ok {
			if a != "" {
				t.Errorf("%q is no address, and is read as %q", s, a)
			}
			return
		}
		if !form.MatchString(a) {
			t.Errorf("%q is read as %q, which is not in the one form", s, a)
		}
		if again, ok := device.Address(a); !ok || again != a {
			t.Errorf("%q is read as %q, and that as %q", s, a, again)
		}
	})
}

func TestPCIeLinkString(t *testing.T) {
	for want, l := range map[string]device.PCIeLink{
		"gen5x16": {Generation: 5, Lanes: 16},
		"gen3x1":  {Generation: 3, Lanes: 1},
		"":        {Generation: 5},
	} {
		if got := l.String(); got != want {
			t.Errorf("%+v is %q, want %q", l, got, want)
		}
	}
}
