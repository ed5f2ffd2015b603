package aws

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// dir is where the driver tells of its chips, as neuron0. It is below "virtual"
// because the driver says of no chip what PCI function it is.
const dir = "sys/devices/virtual/neuron_device"

// Limits of what is believed of a machine. The driver knows 64 chips of 8 cores.
const (
	chipsMax = 256
	coresMax = 1024
	linksMax = 64
)

func entry(n int) string { return "neuron" + strconv.Itoa(n) }

// number is N of a name that is prefix and N; -1 if it is another.
func number(name, prefix string) int {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != digits {
		return -1
	}
	return n
}

// chips are the driver's numbers of its chips.
func chips(h *device.Host) []int {
	var out []int
	for _, name := range h.Dir(dir) {
		if n := number(name, "neuron"); n >= 0 && len(out) < chipsMax {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// read fills c.d with what the driver and neuron-ls tell of it.
func (c *chip) read(h *device.Host) error {
	d, at := c.d, path.Join(dir, entry(c.number))
	if s := h.String(at, "info/serial_number"); strings.Trim(s, "0") != "" {
		d.Serial, d.UUID = s, "neuron-"+s
	}
	if name := h.String(at, "info/architecture/device_name"); name != "" && (d.Product == "" || strings.HasPrefix(d.Product, "device ")) {
		d.Product = name
	}
	d.Architecture = h.String(at, "info/architecture/arch_type")
	if n, ok := h.Int(at, "core_count"); ok && n > 0 && n <= coresMax {
		d.Units = int(n)
	}
	d.Driver.Module = "neuron"
	d.Driver.Version = h.String("sys/module/neuron/version")
	c.linked = neighbours(h.String(at, "connected_devices"))
	if c.row != nil {
		c.row.fill(c)
	}
	if d.Product == "" {
		d.Product = "Neuron device"
	}
	d.Health, d.Reading = meters(h, c.number)
	n, err := h.Node("/dev/"+entry(c.number), false)
	if err != nil {
		return device.Problem{Where: entry(c.number), What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	d.Nodes = []device.Node{n}
	return nil
}

// neighbours reads "12, 3, 4, 1".
func neighbours(s string) []int {
	var out []int
	for _, f := range strings.Split(s, ",") {
		if n := number(strings.TrimSpace(f), ""); n >= 0 && len(out) < linksMax {
			out = append(out, n)
		}
	}
	return out
}

// counters are the errors that the driver counts, and what AWS says of them.
var counters = []struct {
	file, code, message string
	state               device.State
}{
	{"mem_ecc_uncorrected", "memory-ecc-uncorrected", "its memory had %d errors that cannot be repaired, and results may be wrong; replace the instance", device.Failed},
	{"sram_ecc_uncorrected", "sram-ecc-uncorrected", "its on-chip memory had %d uncorrected errors, and results may be wrong; stop and start the instance", device.Failed},
	{"mem_ecc_repairable_uncorrected", "memory-ecc-repairable", "its memory had %d errors that can be repaired; reload the driver or reboot the instance", device.Degraded},
}

// meters reads the health and the meters of a chip. Chips of the first generation
// have no counters of errors.
func meters(h *device.Host, n int) (device.Health, *device.Reading) {
	health, r := device.Health{State: device.Unknown}, &device.Reading{}
	var faults []device.Fault
	for _, c := range counters {
		v, ok := h.Int(dir, entry(n), "stats/hardware", c.file)
		if !ok || v < 0 {
			continue
		}
		if r.Errors == nil {
			r.Errors = map[string]int64{}
		}
		r.Errors[c.code] = v
		if v > 0 {
			faults = append(faults, device.Fault{Code: c.code, Message: fmt.Sprintf(c.message, v), State: c.state})
		}
		health = device.Of(faults...)
	}
	r.MemoryUsed = used(h, n)
	if r.Errors == nil && r.MemoryUsed == nil {
		r = nil
	}
	return health, r
}

// used adds up what the cores of a chip have in use of its memory.
func used(h *device.Host, n int) *int64 {
	var sum *int64
	at := path.Join(dir, entry(n))
	names := h.Dir(at)
	for _, name := range names[:min(len(names), coresMax)] {
		if number(name, "neuron_core") < 0 {
			continue
		}
		if v, ok := h.Int(at, name, "stats/memory_usage/device_mem/total"); ok && v >= 0 && v < memoryMax {
			if sum == nil {
				sum = new(int64)
			}
			*sum += v
		}
	}
	return sum
}
