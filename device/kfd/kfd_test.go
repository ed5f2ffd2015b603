package kfd

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
	"polder.dev/polder/device/pci"
)

func TestParse(t *testing.T) {
	got := parse([]byte("simd_count 416\nhive_id 18091350218769748594\nname\nbad -1\nworse 1 2\nunique_id 99999999999999999999\n\nlast 7"))
	want := map[string]uint64{"simd_count": 416, "hive_id": 18091350218769748594, "last": 7}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	many := parse([]byte(strings.Repeat("x 1\n", 10) + func() string {
		var b strings.Builder
		for i := range 10 * propertiesMax {
			fmt.Fprintf(&b, "p%d 1\n", i)
		}
		return b.String()
	}()))
	if len(many) > propertiesMax {
		t.Errorf("kept %d properties", len(many))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("cpu_cores_count 0\nsimd_count 152\nlocation_id 1281\ndomain 0\nhive_id 15188982192727901047\n"))
	f.Add([]byte("\x00\xff 1\n a b\nx 18446744073709551615"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := Node{Properties: parse(b), Banks: []Bank{{Heap: heapPublic, Size: 1}}}
		if len(n.Properties) > propertiesMax {
			t.Errorf("%d properties", len(n.Properties))
		}
		address, partition := n.Place(func(string) bool { return false })
		if a, ok := device.Address(address); !ok || a != address || partition < 0 || partition > 15 {
			t.Errorf("place %q, partition %d", address, partition)
		}
		if n.Units() < 0 || strings.ContainsAny(n.Architecture(), " -") {
			t.Errorf("units %d, architecture %q", n.Units(), n.Architecture())
		}
		if id := Unique(string(b)); id != "" && len(id) != 16 {
			t.Errorf("number %q", id)
		}
	})
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		what                  string
		location, domain, gfx uint64
		known                 string
		address               string
		partition             int
	}{
		{"a whole MI210", 25344, 0, 90010, "", "0000:63:00.0", 0},
		{"the second partition of an MI300X, in the function", 1281, 0, 90402, "", "0000:05:00.0", 1},
		{"the eighth, in the high bits", 7<<28 | 0x0500, 0, 90402, "", "0000:05:00.0", 7},
		{"a function that the bus knows", 0x0503, 0, 90402, "0000:05:00.3", "0000:05:00.3", 0},
		{"an old GPU that is a second function", 0x0501, 0, 90006, "", "0000:05:00.1", 0},
		{"one of which the bus knows the first", 0x0502, 0, 0, "0000:05:00.0", "0000:05:00.0", 2},
		{"a domain of 32 bits", 0x0100, 0x10000, 110001, "", "10000:01:00.0", 0},
	} {
		n := Node{Properties: map[string]uint64{"location_id": c.location, "domain": c.domain, "gfx_target_version": c.gfx}}
		address, partition := n.Place(func(a string) bool { return a == c.known })
		if address != c.address || partition != c.partition {
			t.Errorf("%s: at %s, partition %d; want %s, %d", c.what, address, partition, c.address, c.partition)
		}
	}
}

func TestArchitecture(t *testing.T) {
	for v, want := range map[uint64]string{0: "", 90402: "gfx942", 90010: "gfx90a", 90208: "gfx928", 100301: "gfx1031", 110001: "gfx1101", math.MaxUint64: ""} {
		n := Node{Properties: map[string]uint64{"gfx_target_version": v}}
		if got := n.Architecture(); got != want {
			t.Errorf("%d is %q, want %q", v, got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	for _, c := range []struct {
		what   string
		n      Node
		bytes  int64
		system bool
	}{
		{"a card with a small window", Node{Banks: []Bank{{heapPublic, 256 << 20}, {heapPrivate, 16108 << 20}}}, 16364 << 20, false},
		{"processors and GPU in one node", Node{Banks: []Bank{{heapSystem, 64 << 30}}, Properties: map[string]uint64{"cpu_cores_count": 16}}, 64 << 30, true},
		{"an old driver", Node{Properties: map[string]uint64{"local_mem_size": 17163091968}}, 17163091968, false},
		{"nothing is said", Node{}, 0, false},
	} {
		if bytes, system := c.n.Memory(); bytes != c.bytes || system != c.system {
			t.Errorf("%s: %d bytes, of the system %v", c.what, bytes, system)
		}
	}
}

func TestUnique(t *testing.T) {
	for s, want := range map[string]string{
		"0x2150e7d042a1124": "02150e7d042a1124", "0123456789ABCDEF\n": "0123456789abcdef",
		"0000000000000000": "", "N/A": "", "": "", "11111111111111111": "",
	} {
		if got := Unique(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestLinkCounts(t *testing.T) {
	for _, c := range []struct {
		l    Link
		want device.Link
		ok   bool
	}{
		{Link{Type: linkXGMI, Min: 50000, Max: 50000}, device.Link{To: "x", Type: "xgmi", Count: 1, Bandwidth: 50e9}, true},
		{Link{Type: linkXGMI, Min: 50000, Max: 200000}, device.Link{To: "x", Type: "xgmi", Count: 4, Bandwidth: 200e9}, true},
		{Link{Type: linkXGMI}, device.Link{To: "x", Type: "xgmi"}, true},
		{Link{Type: linkPCIe, Min: 312, Max: 32000}, device.Link{To: "x", Type: "pcie", Bandwidth: 32e9}, true},
		{Link{Type: linkXGMI, Min: 1, Max: math.MaxUint64}, device.Link{To: "x", Type: "xgmi"}, true},
		{Link{Type: 1}, device.Link{To: "x"}, false},
	} {
		got, ok := c.l.of("x")
		if d := cmp.Diff(c.want, got); ok != c.ok || d != "" {
			t.Errorf("%+v: %v\n%s", c.l, ok, d)
		}
	}
}

// fake is a machine with KFD nodes of two vendors and of a processor.
func fake(t *testing.T, nodes map[int]string) (*device.Host, *Line) {
	t.Helper()
	m := devicetest.New()
	for number, text := range nodes {
		m.Write(fmt.Sprintf("%s/%d/properties", dir, number), text)
	}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	family := &pci.Family{Vendor: "amd", Kind: device.GPU, Numbers: []string{"1002"}, Classes: []string{"0380"}}
	return h, &Line{Family: family, Owns: family.Owns, Vendor: 0x1002, Prefix: "amd"}
}

func TestFindPassesOverOthers(t *testing.T) {
	h, l := fake(t, map[int]string{
		0: "cpu_cores_count 64\nsimd_count 0",
		1: "simd_count 256\nsimd_per_cu 4\nvendor_id 7572\nlocation_id 1792\ndrm_render_minor 128",
		2: "simd_count 256\nsimd_per_cu 4\nvendor_id 4098\nlocation_id 2048\ndrm_render_minor 129\nunique_id 255",
	})
	found, err := l.Find(h)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d devices, error %v; one of three nodes is AMD's", len(found), err)
	}
	d := found[0].Device
	if d.PCI.Address != "0000:08:00.0" || d.PCI.ID() != "1002:0000" || d.UUID != "amd-00000000000000ff" || d.Units != 64 || d.Form != device.Whole {
		t.Errorf("it is %+v at %+v", d, d.PCI)
	}
	want := []device.Node{{Path: "/dev/kfd", Type: "c", Shared: true}, {Path: "/dev/dri/renderD129", Type: "c"}}
	if diff := cmp.Diff(want, d.Nodes); diff != "" {
		t.Error(diff)
	}
}

func TestFindTellsTwinsApart(t *testing.T) {
	same := "simd_count 256\nvendor_id 4098\nlocation_id 6400\nunique_id 14073402507705256556\ndrm_render_minor "
	h, l := fake(t, map[int]string{1: same + "128", 2: same + "129"})
	found, err := l.Find(h)
	if err != nil || len(found) != 2 {
		t.Fatalf("%d devices, error %v", len(found), err)
	}
	a, b := found[0].Device, found[1].Device
	if a.UUID != "amd-c34ec50444dd0a6c" || b.UUID != a.UUID+"-1" || a.Form != device.Whole || a.Ordinal != 0 || b.Ordinal != 1 {
		t.Errorf("they are %s (%d, %s) and %s (%d)", a.UUID, a.Ordinal, a.Form, b.UUID, b.Ordinal)
	}
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	h, l := fake(t, map[int]string{1: "simd_count 256\nvendor_id 4098\nlocation_id 6400"})
	found, err := l.Find(h)
	if len(found) != 1 || len(found[0].Device.Nodes) != 0 || err == nil || !strings.Contains(err.Error(), "0000:19:00.0: KFD does not tell the number") {
		t.Errorf("%d devices, error %v", len(found), err)
	}
}
