package catalogue

import (
	"testing"

	"polder.dev/polder/device"
)

// TestAnchors are numbers that were looked up with care: memory in GB or GiB,
// bandwidth in GB/s, dense TFLOPS, bandwidth of all links in GB/s, devices of a
// domain. Zero: nobody vouches for it.
func TestAnchors(t *testing.T) {
	const g, gi, tera = 1e9, 1 << 30, 1e12
	for _, c := range []struct {
		vendor, name                         string
		memory, unit, bandwidth              float64
		bf16, fp16, fp8, int8, links, domain float64
	}{
		{"nvidia", "V100 SXM2 32GB", 32, g, 898, 0, 125, 0, 0, 300, 8},
		{"nvidia", "A100 SXM4 80GB", 80, g, 2039, 312, 312, 0, 0, 600, 8},
		{"nvidia", "L4", 24, g, 300, 121, 121, 242, 0, 0, 0},
		{"nvidia", "L40S", 48, g, 864, 362, 362, 733, 0, 0, 0},
		{"nvidia", "H20", 96, g, 4000, 148, 148, 296, 0, 900, 8},
		{"nvidia", "H100 PCIe", 80, g, 2000, 756, 756, 1513, 0, 600, 2},
		{"nvidia", "H100 SXM5", 80, g, 3350, 989.5, 989.5, 1979, 0, 900, 8},
		{"nvidia", "H200", 141, g, 4800, 989.5, 989.5, 1979, 0, 900, 8},
		{"nvidia", "B200", 180, g, 7700, 2250, 2250, 4500, 0, 1800, 8},
		{"nvidia", "GB200", 186, g, 8000, 2500, 2500, 5000, 0, 1800, 72},
		{"nvidia", "GB300", 279, g, 8000, 2500, 2500, 5000, 0, 1800, 72},
		{"amd", "MI250X", 128, g, 3200, 383, 383, 0, 0, 800, 8},
		{"amd", "MI250X chip", 64, g, 1600, 191.5, 191.5, 0, 0, 0, 0},
		{"amd", "MI300X", 192, g, 5300, 1307.4, 1307.4, 2614.9, 0, 896, 8},
		{"amd", "MI325X", 256, g, 6000, 1307.4, 1307.4, 2614.9, 0, 896, 8},
		{"amd", "MI308X", 192, g, 5300, 612, 0, 1224, 0, 896, 8},
		{"amd", "MI350X", 288, g, 8000, 2310, 2310, 4614, 0, 1075, 8},
		{"amd", "MI355X", 288, g, 8000, 2516.6, 0, 5033, 0, 1075, 8},
		{"intel", "Gaudi2", 96, gi, 2450, 432, 0, 865, 0, 600, 8},
		{"intel", "Gaudi3", 128, g, 3700, 1835, 0, 1835, 0, 1200, 8},
		{"aws", "Inferentia2", 32, gi, 820, 190, 190, 190, 0, 0, 0},
		{"aws", "Trainium1", 32, gi, 820, 191, 0, 191, 0, 384, 16},
		{"aws", "Trainium2", 96, gi, 2900, 667, 667, 1299, 0, 1280, 64},
		{"aws", "Trainium3", 144, g, 4900, 671, 0, 2517, 0, 2560, 144},
		{"google", "TPU v4", 32, gi, 1200, 275, 0, 0, 0, 300, 4096},
		{"google", "TPU v5e", 16, gi, 819, 197, 0, 0, 393, 400, 256},
		{"google", "TPU v5p", 95, gi, 2765, 459, 0, 0, 0, 1200, 8960},
		{"google", "TPU v6e", 32, gi, 1640, 918, 0, 918, 0, 800, 256},
		{"google", "TPU7x", 192, gi, 7380, 2307, 0, 4614, 0, 1200, 9216},
		{"huawei", "910B2", 64, gi, 1600, 0, 0, 0, 0, 392, 8},
		{"huawei", "910B3", 64, gi, 1600, 0, 0, 0, 0, 392, 8},
		{"huawei", "910B4", 32, gi, 800, 0, 0, 0, 0, 0, 8},
		{"huawei", "910C", 128, g, 3200, 0, 780, 0, 0, 350, 384},
		{"moorethreads", "MTT S5000", 80, g, 0, 0, 0, 0, 0, 0, 0},
		{"hygon", "K100-AI", 65520.0 / 1024, gi, 0, 0, 0, 0, 0, 0, 0},
		{"cambricon", "MLU590", 0, g, 0, 0, 0, 0, 0, 0, 0},
		{"kunlunxin", "P800 PCIe", 96, gi, 0, 0, 0, 0, 0, 0, 0},
	} {
		p, ok := ByName(c.vendor, c.name)
		if !ok {
			t.Errorf("%s %s is not in the catalogue", c.vendor, c.name)
			continue
		}
		for what, pair := range map[string][2]float64{
			"memory":           {n(p.Memory), c.memory * c.unit},
			"bandwidth":        {n(p.MemoryBandwidth), c.bandwidth * g},
			"bf16":             {n(p.FLOPS[device.BF16]), c.bf16 * tera},
			"fp16":             {n(p.FLOPS[device.FP16]), c.fp16 * tera},
			"fp8":              {n(p.FLOPS[device.FP8]), c.fp8 * tera},
			"int8":             {n(p.FLOPS[device.INT8]), c.int8 * tera},
			"fabric bandwidth": {n(p.FabricBandwidth), c.links * g},
			"fabric size":      {float64(p.FabricSize), c.domain},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s %s: %s is %.0f, not %.0f", c.vendor, c.name, what, pair[0], pair[1])
			}
		}
	}
}

func n(v *Value) float64 {
	if v == nil {
		return 0
	}
	return float64(v.N)
}
