package nvidia

import (
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// tell takes over what was said of cards.
func (m *machine) tell(a *answer) {
	here, known := map[string]*gpu{}, map[string]*gpu{}
	for _, g := range m.gpus {
		if g.d.PCI != nil {
			here[g.d.PCI.Address] = g
		}
		if g.d.UUID != "" {
			known[g.d.UUID] = g
		}
	}
	for _, c := range a.log.cards {
		g := here[c.address()]
		if c.address() == "" {
			g = known[identity(c.UUID)]
		}
		if g != nil && g.card != nil {
			continue // no two cards are in one place
		}
		if g == nil { // it sees what the bus does not show
			g = &gpu{d: device.Device{Kind: family.Kind, Vendor: family.Vendor, Product: unnamed, Software: family.Software, Form: device.Whole}}
			if f, ok := c.function(); ok {
				g.d.PCI = &f
				here[f.Address] = g
			}
			m.gpus = append(m.gpus, g)
		}
		g.card = c
		g.fill(m.h, &a.log)
	}
	a.place(m.untold())
	for _, g := range m.gpus {
		if g.card == nil {
			g.unlisted(a)
		}
	}
}

// untold are the addresses of the GPUs that the driver has and nobody told of.
func (m *machine) untold() []string {
	var out []string
	for _, g := range m.gpus {
		if g.card == nil && g.awaited() {
			out = append(out, g.d.PCI.Address)
		}
	}
	return out
}

// place finds out where the cards are that NVML could not reach, of which it does not
// tell the address: if nobody told of as many others, they are these.
func (a *answer) place(addresses []string) {
	if len(a.unreached) == 0 || len(a.unreached) != len(addresses) || len(slices.Compact(slices.Clone(a.unreached))) > 1 {
		return
	}
	for _, address := range addresses {
		a.lost[address] = a.unreached[0]
	}
}

// fill sets what files lack.
func (g *gpu) fill(h *device.Host, l *smiLog) {
	c, d, from := g.card, &g.d, device.Origin{From: l.from}
	text := func(field *string, value, name string) {
		if *field == "" && value != "" {
			*field = value
			d.Note(from, name)
		}
	}
	g.from = l.from
	g.name(word(c.Product), l.from)
	text(&d.UUID, identity(c.UUID), "uuid")
	text(&d.Serial, code(c.Serial), "serial")
	text(&d.Driver.Firmware, code(c.BIOS), "driver.firmware")
	text(&d.Driver.Version, code(l.driver), "driver.version")
	text(&d.Driver.Stack, code(l.cuda), "driver.stack")
	text(&d.Family, word(c.Architecture), "family")
	// "Ada Lovelace" is "ada" to the libraries, as in NVML_DEVICE_ARCH_ADA.
	first, _, _ := strings.Cut(strings.ToLower(word(c.Architecture)), " ")
	text(&d.Architecture, first, "architecture")
	if n, ok := amount(c.FB.Total); ok {
		d.Memory = n
		d.Note(from, "memory")
	} else if n := hostMemory(h); c.unified() && n > 0 {
		d.Memory = n
		d.Note(device.Origin{From: "proc/meminfo, which the GPU shares with the host's processors"}, "memory")
	}
	if g.info == nil || !g.info.excluded {
		d.Health = c.health(c.faults())
	}
	d.Reading = c.reading()
}

// function is the card's PCI function as it says it. It does not tell all of the class.
func (c *card) function() (f device.Function, ok bool) {
	if f.Address = c.address(); f.Address == "" {
		return f, false
	}
	f.Vendor = "10de"
	if v, d, ok := identifier(c.PCI.Device); ok {
		f.Vendor, f.Device = v, d
	}
	if v, d, ok := identifier(c.PCI.Sub); ok {
		f.SubVendor, f.SubDevice = v, d
	}
	f.Link = pcieLink(c.PCI.Gen, c.PCI.Width)
	f.LinkMax = pcieLink(c.PCI.GenMax, c.PCI.WidthMax)
	return f, true
}

// identifier reads "294110DE" as vendor 10de, device 2941.
func identifier(s string) (vendor, dev string, ok bool) {
	s = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(s), "0x"))
	if _, err := strconv.ParseUint(s, 16, 32); err != nil || len(s) != 8 {
		return "", "", false
	}
	return s[4:], s[:4], true
}

// pcieLink reads "5" and "16x".
func pcieLink(gen, width string) device.PCIeLink {
	g, w := index(gen), index(strings.TrimSuffix(strings.TrimSpace(width), "x"))
	if g < 1 || g > 9 || w < 1 || w > 32 {
		return device.PCIeLink{}
	}
	return device.PCIeLink{Generation: g, Lanes: w}
}

// unified reports whether the GPU has no memory but that of the host, as the GB10:
// nvidia-smi then has no amount for either of its kinds of memory. A card that fails
// says something else than N/A.
func (c *card) unified() bool {
	none := func(s string) bool {
		s = strings.TrimSpace(s)
		return s == saysNothing || s == "Not Supported"
	}
	return none(c.FB.Total) && none(c.BAR1.Total) && !c.split()
}

// hostMemory is the host's memory in bytes, 0 if unknown.
func hostMemory(h *device.Host) int64 {
	if h == nil {
		return 0
	}
	for line := range strings.Lines(h.String("proc/meminfo")) {
		value, ok := strings.CutPrefix(line, "MemTotal:")
		value, kb := strings.CutSuffix(strings.TrimSpace(value), " kB")
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 40); ok && kb && err == nil {
			return int64(n) << 10
		}
	}
	return 0
}

// unlisted judges a GPU that the driver has but nobody tells of. Jobs on it would
// fail.
func (g *gpu) unlisted(a *answer) {
	if !g.awaited() {
		return
	}
	if f, ok := missing(a, g.d.PCI.Address); ok {
		g.d.Health = device.Of(f)
	}
}

// awaited reports whether the driver has the GPU, so that it should be told of.
func (g *gpu) awaited() bool {
	return g.d.Form == device.Whole && g.bound() && (g.info == nil || !g.info.excluded) && g.d.PCI != nil
}

// missing is the fault of a card that the log does not tell of; ok is false if
// nothing is known of it.
func missing(a *answer, address string) (f device.Fault, ok bool) {
	why, lost := a.lost[address]
	switch {
	case lost && strings.Contains(why, saysLost):
		return lostFault, true
	case lost:
		return device.Fault{Code: "gpu-unreachable", State: device.Failed, Message: a.log.source() + " cannot reach it: " + why}, true
	case len(a.log.cards) > 0:
		return device.Fault{Code: "gpu-missing", State: device.Failed,
			Message: a.log.source() + " does not list it, so no program here can use it; look into the kernel's log"}, true
	}
	return f, false
}
