package nvidia

import (
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// partsMax bounds the MIG instances of a card. Hardware has eight at most.
const partsMax = 64

// splitFaults are those of a card in MIG mode as a whole: CUDA does not see it. It is
// no fault of the hardware, but Failed is the only state in which no job is sent
// there: what is Degraded works, and of what is Unknown nobody complained.
func (c *card) splitFaults() []device.Fault {
	f := device.Fault{Code: "mig-no-instances", State: device.Failed,
		Message: "it is in MIG mode, where only its instances can be used, and has none; make some with nvidia-smi mig -cgi PROFILE -C, or leave the mode with nvidia-smi -mig 0"}
	switch {
	case !c.split():
		return nil
	case len(c.Parts) > 0: // since its devices were found
		f.Code, f.Message = "mig-instances", "it is in MIG mode, where only its instances can be used; find the machine's devices anew"
	}
	return []device.Fault{f}
}

// split finds the MIG instances of cards, which take the cards' places.
func (m *machine) split(a *answer) {
	named := map[string]*listed{} // by UUID of the card
	for i := range a.list {
		named[a.list[i].uuid] = &a.list[i]
	}
	caps := capabilities{h: m.h}
	for _, g := range m.gpus {
		switch {
		case g.card != nil && g.card.split() && !g.card.PartsUnknown:
			g.partsOfCard(named[g.d.UUID])
		case (g.card == nil || g.card.PartsUnknown) && m.h != nil && g.minor() >= 0:
			g.partsOfFiles(&caps)
		}
	}
}

// partsOfCard finds the instances that a card tells of.
func (g *gpu) partsOfCard(l *listed) {
	used := map[int]bool{}
	for i := range g.card.Parts {
		n := index(g.card.Parts[i].Index)
		if n < 0 || n >= partsMax || used[n] {
			n = partsMax + i // it does not count them as it should; they stay apart
		}
		used[n] = true
		g.parts = append(g.parts, g.part(n, &g.card.Parts[i], l))
	}
}

// part makes a device of an instance. What sort it is and what it is called the list
// says, by its number.
//
// Several compute instances of one GPU instance share its memory; each is given all
// of it here, as NVML does.
func (g *gpu) part(number int, s *slot, l *listed) part {
	p := part{d: g.share(number), gi: index(s.GI), ci: index(s.CI)}
	d := &p.d
	if l != nil {
		if n := slices.IndexFunc(l.parts, func(x listedPart) bool { return x.index == number }); n >= 0 {
			d.Profile, d.UUID = l.parts[n].profile, l.parts[n].uuid
			d.Note(device.Origin{From: l.from}, "profile")
		}
	}
	p.identify(g)
	if n, ok := amount(s.FB.Total); ok {
		d.Memory = n
		d.Note(device.Origin{From: g.from}, "memory")
	}
	if d.Units = max(0, index(s.Units)); d.Units > 0 {
		d.Note(device.Origin{From: g.from}, "units")
	}
	d.Note(device.Origin{From: g.from}, "uuid")
	d.Health = g.card.health(s.faults(g.card))
	d.Reading = s.reading()
	return p
}

// partsOfFiles finds the instances of a card by the driver's files alone.
func (g *gpu) partsOfFiles(caps *capabilities) {
	for i, x := range caps.instances(g.minor()) {
		p := part{d: g.share(i), gi: x[0], ci: x[1]}
		p.identify(g)
		g.parts = append(g.parts, p)
	}
}

// share makes a device that is a part of the card, with what parts and whole have in
// common. MIG instances cannot use NVLink.
func (g *gpu) share(ordinal int) device.Device {
	d := g.d.Clone()
	d.Form, d.Ordinal, d.Parent, d.UUID = device.MIG, ordinal, g.d.UUID, ""
	d.Memory, d.Reading, d.Fabric, d.Links = 0, nil, nil, nil
	delete(d.Provenance, "memory")
	delete(d.Provenance, "uuid")
	return d
}

// identify gives an instance that has no UUID the name that drivers before 470 gave
// it, and that newer ones still understand.
func (p *part) identify(g *gpu) {
	if p.d.UUID == "" && g.d.UUID != "" && p.gi >= 0 && p.ci >= 0 {
		p.d.UUID = fmt.Sprintf("MIG-%s/%d/%d", g.d.UUID, p.gi, p.ci)
	}
}

// faults are the card's, and the errors of the instance's own.
func (s *slot) faults(c *card) []device.Fault {
	faults := slices.DeleteFunc(c.faults(), func(f device.Fault) bool { return strings.HasPrefix(f.Code, "mig-") })
	if n, ok := count(s.Errors); ok && n > 0 && !slices.ContainsFunc(faults, func(f device.Fault) bool { return f.Code == "ecc-uncorrected" }) {
		faults = append(faults, uncorrectedFault(n))
	}
	return faults
}

// reading is the instance's: of its own it has only a meter of memory.
func (s *slot) reading() *device.Reading {
	n, ok := amount(s.FB.Used)
	if !ok {
		return nil
	}
	return &device.Reading{MemoryUsed: new(n)}
}

// minor is the number of the card's device file, -1 if unknown.
func (g *gpu) minor() int {
	if g.info != nil && g.info.minor >= 0 {
		return g.info.minor
	}
	if g.card != nil {
		return deviceNumber(strings.TrimSpace(g.card.Minor))
	}
	return -1
}
