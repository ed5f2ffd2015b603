package nvidia

import (
	"errors"
	"fmt"

	"polder.dev/polder/device"
)

// Read implements device.Reader. It reads a document of polder-nvml, or a file with the
// output of `nvidia-smi -q -x`. What `nvidia-smi -L` and `nvidia-smi topo -m` print may be in
// the same file, before or after it; the names of MIG instances and the links between
// cards are in these only. Of a file that has `nvidia-smi -L` alone the names are
// known and nothing else.
//
// The devices have no device files: those are told by the machine.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	if len(output) > outputMax {
		return nil, fmt.Errorf("longer than %d MiB: %w", outputMax>>20, device.ErrFormat)
	}
	if a, err := parseNVML(output); err == nil {
		return a.read()
	}
	a := &answer{list: parseList(string(output)), cells: parseMatrix(string(output)), lost: parseLost(output, nil)}
	l, err := parseLog(output)
	a.log = l
	if len(l.cards) == 0 {
		if len(a.list) == 0 {
			return nil, errors.Join(device.ErrFormat, err)
		}
		err = nil // the list is all there is
	}
	m := &machine{}
	m.tell(a)
	if len(l.cards) == 0 {
		m.tellList(a)
	}
	m.split(a)
	m.join(a)
	if err != nil {
		err = device.Problem{Where: smi, What: fmt.Sprintf("its output cannot be read to the end (%v); cards after that are not known", err)}
	}
	return m.devices(), err
}

// read makes devices of a document of polder-nvml.
func (a *answer) read() ([]device.Device, error) {
	m := &machine{errs: a.errs}
	m.tell(a)
	m.split(a)
	m.join(a)
	if n := len(a.unreached); n > 0 {
		m.errs = append(m.errs, device.Problem{Where: nvml, What: fmt.Sprintf("could not reach %d of the cards (%s); they are not among the devices", n, a.unreached[0])})
	}
	return m.devices(), errors.Join(m.errs...)
}

// tellList makes devices of the list alone.
func (m *machine) tellList(a *answer) {
	for _, l := range a.list {
		g := &gpu{d: device.Device{Kind: family.Kind, Vendor: family.Vendor, Product: unnamed, Software: family.Software, Form: device.Whole,
			UUID: l.uuid, Health: device.Health{State: device.Unknown}}}
		g.name(word(l.product), smi)
		g.d.Note(device.Origin{From: smi}, "uuid")
		for i, x := range l.parts {
			p := part{d: g.share(i), gi: -1, ci: -1}
			p.d.Ordinal, p.d.Profile, p.d.UUID = max(0, x.index), x.profile, x.uuid
			p.d.Note(device.Origin{From: smi}, "uuid", "profile")
			g.parts = append(g.parts, p)
		}
		m.gpus = append(m.gpus, g)
	}
}
