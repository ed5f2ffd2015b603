package catalogue

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
)

// vendors are the slugs that the rooms below device use.
var vendors = []string{
	"nvidia", "amd", "intel", "google", "aws", "huawei", "cambricon", "hygon", "moorethreads", "metax", "iluvatar", "enflame",
	"kunlunxin", "biren", "thead", "tenstorrent", "qualcomm", "rebellions", "furiosa", "marvell",
}

// stacks are the software that accelerators of a kind have; network and FPGA cards
// have none.
var stacks = []string{
	"cuda", "rocm", "xpu", "hpu", "xla", "neuron", "cann", "neuware", "dtk", "musa", "maca", "corex", "topsrider", "xre", "supa",
	"ppu", "metalium", "qaic", "rbln", "furiosa",
}

func products(t *testing.T) []Product {
	t.Helper()
	read, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return read.products
}

func TestEntriesAreWellFormed(t *testing.T) {
	id := regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{4}$`)
	fabrics := []string{"", "nvlink", "xgmi", "hccs", "ici", "neuronlink", "roce", "xelink"}
	for _, p := range products(t) {
		if !slices.Contains(vendors, p.Vendor) || p.Name == "" || !slices.Contains(device.Kinds(), p.Kind) {
			t.Errorf("%s %q of kind %q: one of them is none", p.Vendor, p.Name, p.Kind)
		}
		for _, s := range p.PCI {
			if !id.MatchString(s) {
				t.Errorf("%s: %q is not written as 10de:2330", p.Name, s)
			}
		}
		none := p.Kind == device.DPU || p.Kind == device.FPGA
		if none != (p.Software == "") || !none && !slices.Contains(stacks, p.Software) {
			t.Errorf("%s %s: software is %q", p.Vendor, p.Name, p.Software)
		}
		if !slices.Contains(fabrics, p.Fabric) || p.Fabric == "" && (p.FabricBandwidth != nil || p.FabricSize != 0) || p.Fabric != "" && p.FabricSize < 2 {
			t.Errorf("%s %s: fabric %q of %d", p.Vendor, p.Name, p.Fabric, p.FabricSize)
		}
	}
}

func TestNumbersAreSane(t *testing.T) {
	const g, tera = int64(1e9), int64(1e12)
	for _, p := range products(t) {
		within(t, &p, "memory", p.Memory, 8*g, 512*g)
		within(t, &p, "memoryBandwidth", p.MemoryBandwidth, 100*g, 20000*g)
		within(t, &p, "fabricBandwidth", p.FabricBandwidth, 50*g, 4000*g)
		for precision, v := range p.FLOPS {
			if !slices.Contains(device.Precisions(), precision) || v == nil {
				t.Errorf("%s: %q is no precision, or has no value", p.Name, precision)
			}
			within(t, &p, string(precision), v, 50*tera, 20000*tera)
		}
		if half, byte8 := p.FLOPS[device.BF16], p.FLOPS[device.FP8]; half != nil && byte8 != nil && byte8.N < half.N {
			t.Errorf("%s is slower in fp8 than in bf16", p.Name)
		}
	}
}

func within(t *testing.T, p *Product, what string, v *Value, least, most int64) {
	t.Helper()
	if v == nil {
		return
	}
	if v.N < least || v.N > most {
		t.Errorf("%s %s: %s is %d", p.Vendor, p.Name, what, v.N)
	}
	if len(v.Source) < 3 {
		t.Errorf("%s %s: %s comes from %q", p.Vendor, p.Name, what, v.Source)
	}
}

func TestPartitionsFit(t *testing.T) {
	for _, p := range products(t) {
		for _, x := range p.Partitions {
			if x.Profile == "" || x.Count < 1 || x.Source == "" || x.Share < 1 || x.Share*x.Count > 1000 {
				t.Errorf("%s: %+v", p.Name, x)
			}
			if p.Memory != nil && x.Memory.Value()*int64(x.Count) > p.Memory.N+p.Memory.N/20 {
				t.Errorf("%s: %d of %s are more than its memory", p.Name, x.Count, x.Profile)
			}
		}
	}
}

func TestNamesTellProductsApart(t *testing.T) {
	seen := map[string]string{}
	for _, p := range products(t) {
		for _, n := range append([]string{p.Name}, p.Names...) {
			key := p.Vendor + "/" + plain(p.Vendor, n)
			if other, ok := seen[key]; ok && other != p.Name {
				t.Errorf("%s %s and %s are both called %q", p.Vendor, p.Name, other, n)
			}
			seen[key] = p.Name
			if got, ok := ByName(p.Vendor, n); !ok || got.Name != p.Name {
				t.Errorf("%s %q is found as %+v", p.Vendor, n, got)
			}
		}
	}
}

// TestSharedNumbersBeginWithoutNumbers holds the rule at the head of the data: who
// has only the PCI number of several products must not be given the memory of one.
func TestSharedNumbersBeginWithoutNumbers(t *testing.T) {
	read, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for id, same := range read.byID {
		if first := same[0]; len(same) > 1 && (first.Memory != nil || first.MemoryBandwidth != nil || first.FLOPS != nil || first.Partitions != nil) {
			t.Errorf("%s is %d products, and the first, %s, has numbers", id, len(same), first.Name)
		}
		for _, p := range same {
			if p.Vendor != same[0].Vendor {
				t.Errorf("%s is of %s and %s", id, p.Vendor, same[0].Vendor)
			}
		}
	}
}

// TestDriversNames are what the programs on real machines print.
func TestDriversNames(t *testing.T) {
	for _, c := range []struct{ vendor, prints, product string }{
		{"nvidia", "NVIDIA H100 80GB HBM3", "H100 SXM5 80GB"},
		{"nvidia", "NVIDIA H200", "H200 SXM"},
		{"nvidia", "NVIDIA L40S", "L40S"},
		{"nvidia", "NVIDIA B200", "B200"},
		{"nvidia", "NVIDIA GB200", "GB200"},
		{"nvidia", "NVIDIA GB10", "GB10"},
		{"nvidia", "NVIDIA A100-SXM4-40GB", "A100 SXM4 40GB"},
		{"nvidia", "NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"},
		{"nvidia", "Tesla T4", "T4"},
		{"amd", "AMD Instinct MI300X OAM", "MI300X"},
		{"amd", "AMD Instinct MI308X OAM", "MI308X"},
		{"amd", "Arcturus GL-XL [Instinct MI100]", "MI100"},
		{"huawei", "910B2", "Ascend 910B2"},
		{"huawei", "Ascend910B2", "Ascend 910B2"},
		{"huawei", "Ascend 910A", "Ascend 910A"},
		{"hygon", "K100_AI", "K100-AI"},
		{"metax", "MXC500", "C500"},
		{"cambricon", "MLU590", "MLU590"},
		{"tenstorrent", "p150a", "Blackhole p150a"},
		{"tenstorrent", "n300", "Wormhole"},
		{"thead", "PPU-ZW810E", "PPU-ZW810E"},
	} {
		if p, ok := ByName(c.vendor, c.prints); !ok || p.Name != c.product {
			t.Errorf("%s %q is %+v, not %s", c.vendor, c.prints, p, c.product)
		}
	}
}

// left are the numbers of the list of vendors that are not in the catalogue.
var left = map[string]string{
	"10de:1af1": "a switch of NVLink, not an accelerator", "10de:22a3": "a switch of NVLink, not an accelerator",
	"15b3:c2d3": "the management function of a card that a2d6 shows", "15b3:c2d5": "the management function of a card that a2dc shows",
	"15b3:c2d6": "the management function of a card that a2df shows",
	"15b3:1021": "a network card without processors", "15b3:1023": "a network card without processors", "15b3:1025": "a network card without processors",
	"1dd8:1004": "the management function of a card that 1002 shows",
	"1dd8:0002": "a bridge", "1dd8:0008": "a bridge",
	"8086:1599": "pci.ids has a plain network port", "8086:124c": "pci.ids has a plain network port", "8086:124d": "pci.ids has a plain network port",
	"177d:a063": "a function that only the system on the card sees",
	"1e3e:0001": "seen in a test fixture only",
	"1e60:2864": "no room finds devices of Hailo", "1e60:45c4": "no room finds devices of Hailo",
	"1ac1:089a": "no room finds devices of Coral",
}

func TestListOfVendorsIsCovered(t *testing.T) {
	b, err := os.ReadFile("../../../shared/data/devices/specs/vendors.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the list of vendors is not here")
	}
	var list map[string]json.RawMessage
	if err := errors.Join(err, json.Unmarshal(b, &list)); err != nil {
		t.Fatal(err)
	}
	delete(list, "_note")
	unused := maps.Clone(left)
	for family, raw := range list {
		var v struct {
			PCIVendor string            `json:"pciVendor"`
			Devices   map[string]string `json:"devices"`
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("%s: %v", family, err)
		}
		for number := range v.Devices {
			number, _, _ = strings.Cut(number, "/") // the subsystem follows
			id := v.PCIVendor + ":" + number
			_, have := ByID(id)
			if _, out := left[id]; have == out {
				t.Errorf("%s, %s: in the catalogue is %v, among those left out %v", id, family, have, out)
			}
			delete(unused, id)
		}
	}
	if len(unused) > 0 {
		t.Errorf("left out, but in no list: %v", unused)
	}
}
