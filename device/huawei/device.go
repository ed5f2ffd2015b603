package huawei

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// tool is where all comes from that the machine's files do not tell.
var tool = device.Origin{From: "npu-smi"}

// UUID makes an identity of what npu-smi calls VDie ID and DCMI the number of a die:
// five words in hex, with or without leading zeros. "" if s is none.
func UUID(s string) string {
	s = strings.TrimPrefix(s, "V1,") // how the 310B writes it
	words := strings.Fields(s)
	if len(words) != 5 {
		return ""
	}
	none := true
	for i, w := range words {
		if len(w) > 8 {
			return ""
		}
		w = strings.Repeat("0", 8-len(w)) + strings.ToLower(w)
		if _, err := hex.DecodeString(w); err != nil {
			return ""
		}
		none = none && w == "00000000"
		words[i] = w
	}
	if none {
		return ""
	}
	return "npu-" + strings.Join(words, "-")
}

// Product is the name of a chip as Huawei's documents write it, of what programs
// print: "910B2", "Ascend 910B2" and "Ascend910B2" are the "Ascend 910B2".
func Product(name string) string {
	name = strings.TrimSpace(name)
	if rest, ok := strings.CutPrefix(name, "Ascend"); ok {
		name = strings.TrimSpace(rest)
	}
	if name == "" {
		return ""
	}
	return "Ascend " + name
}

// devicesOf makes devices of the chips of a report; h is nil if there is no machine.
// The errors tell of chips whose device file is not known.
func devicesOf(h *device.Host, r *report) ([]device.Device, []error) {
	chips := r.sorted()
	out := make([]device.Device, 0, len(chips))
	at := map[string]int{} // how many at an address, or at none
	var errs []error
	var files *opener
	if h != nil && len(chips) > 0 {
		var err error
		if files, err = newOpener(h); err != nil {
			errs = append(errs, err)
		}
	}
	for _, c := range chips {
		d := c.device(h, r)
		d.Ordinal = at[c.bus]
		at[c.bus]++
		if files != nil {
			var err error
			if d.Nodes, err = files.nodes(c, alone(chips, c)); err != nil {
				errs = append(errs, err)
			}
		}
		out = append(out, d)
	}
	if len(chips) > 1 && len(r.links) > 0 && r.join(chips, out) {
		errs = append(errs, device.Problem{Where: "npu-smi info -t topo", What: "names chips that cannot be told from its other tables; which of them are joined is not known"})
	}
	return out, errs
}

// alone reports whether a chip is the only one at its PCI address.
func alone(chips []*chip, c *chip) bool {
	return !slices.ContainsFunc(chips, func(o *chip) bool { return o != c && o.bus == c.bus })
}

// device makes one of a chip, without its files.
func (c *chip) device(h *device.Host, r *report) device.Device {
	d := device.Device{Kind: family.Kind, Vendor: family.Vendor, Software: family.Software, Form: device.Whole}
	d.PCI = c.function(h)
	if h != nil && d.PCI != nil && family.Owns(d.PCI) {
		d = bare(h, d.PCI)
	} else if h != nil {
		d.Driver.Version = installed(h, "usr/local/Ascend/driver/version.info")
	}
	if name := Product(c.name); name != "" && (name != "Ascend 910" || d.Product == "" || strings.HasPrefix(d.Product, "device ")) {
		d.Product = name // the 910C calls itself "Ascend910": then its number says more
		d.Note(tool, "product")
	}
	if d.Product == "" {
		d.Product = "Ascend"
	}
	set := func(to *string, field string, values ...string) {
		for _, v := range values {
			if *to == "" && v != "" && !slices.Contains([]string{"NA", "-", "xxx"}, v) {
				*to = v
				d.Note(tool, field)
			}
		}
	}
	card := r.cards[c.npu]
	set(&d.UUID, "uuid", UUID(c.values["VDie ID"]), UUID(c.values["Die ID"]))
	set(&d.Serial, "serial", c.values["Serial Number"], card["Serial Number"])
	set(&d.Driver.Version, "driver.version", c.values["Software Version"], card["Software Version"], r.version)
	set(&d.Driver.Firmware, "driver.firmware", c.values["Firmware Version"], card["Firmware Version"])
	if c.memory > 0 {
		d.Memory = c.memory
		d.Note(tool, "memory")
	}
	if n := id(c.values["Aicore Count"]); n > 0 {
		d.Units = n
		d.Note(tool, "units")
	}
	d.Health, d.Reading = c.verdict, c.reading()
	return d
}

// function is where a chip is plugged in: as the bus says, else as npu-smi says.
func (c *chip) function(h *device.Host) *device.Function {
	if c.bus == "" {
		return nil
	}
	if h != nil {
		if f, ok := h.At(c.bus); ok {
			return f
		}
	}
	number := func(key string) string {
		s, ok := strings.CutPrefix(strings.ToLower(c.values[key]), "0x")
		if b, err := hex.DecodeString(s); !ok || err != nil || len(b) != 2 {
			return ""
		}
		return s
	}
	return &device.Function{
		Address: c.bus, Vendor: number("PCI Vendor ID"), Device: number("PCI Device ID"),
		SubVendor: number("Subsystem Vendor ID"), SubDevice: number("Subsystem Device ID"),
	}
}

// installed is the version of an installed package, as its file version.info says.
func installed(h *device.Host, file string) string {
	for line := range strings.Lines(h.String(file)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version="); ok && len(v) < 64 {
			return v
		}
	}
	return ""
}

// String is the name of a chip for people.
func (k key) String() string { return fmt.Sprintf("NPU %d chip %d", k.npu, k.chip) }
