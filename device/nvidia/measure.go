package nvidia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// Measure implements device.Meter. It asks NVML, if that answered when it was last
// asked, or else runs nvidia-smi, and that again for the names of MIG instances if one
// of the devices is one. That NVML does not answer is a problem only if nvidia-smi does
// not either. Devices are told by their UUID, as indices change when a card is lost.
func (x *Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil
	}
	a := &answer{}
	if !x.silent.Load() {
		a = askNVML(ctx, h, "-meters")
		x.silent.Store(len(a.log.cards) == 0)
	}
	if len(a.log.cards) == 0 {
		b := measureSMI(ctx, h, devices)
		if len(b.log.cards) == 0 {
			b.errs = append(a.errs, b.errs...)
		}
		a = b
	}
	a.place(a.unmeasured(devices))
	for i := range devices {
		a.measure(&devices[i])
	}
	return errors.Join(a.errs...)
}

// measureSMI asks nvidia-smi for what changes.
func measureSMI(ctx context.Context, h *device.Host, devices []device.Device) *answer {
	a := &answer{}
	out, err := run(ctx, h, "-q", "-x")
	a.lost = parseLost(out, err)
	var bad error
	if a.log, bad = parseLog(out); len(a.log.cards) == 0 {
		a.problem(fmt.Sprintf("says nothing that can be read (%s), so the health of GPUs is not known; run nvidia-smi -q -x to see why", excuse(out, err, bad)))
	}
	for i := range devices {
		if devices[i].Form == device.MIG && len(a.log.cards) > 0 {
			a.askList(ctx, h, true)
			break
		}
	}
	return a
}

// unmeasured are the addresses of devices' cards that nobody told of.
func (a *answer) unmeasured(devices []device.Device) []string {
	var out []string
	for i := range devices {
		d := &devices[i]
		if d.PCI != nil && d.Form != device.VF && a.cardOf(d) == nil && !slices.Contains(out, d.PCI.Address) {
			out = append(out, d.PCI.Address)
		}
	}
	return out
}

// measure sets a device's health and meters. What cannot be asked any more is
// Unknown: that it was well before says nothing.
func (a *answer) measure(d *device.Device) {
	d.Reading, d.Health = nil, device.Health{State: device.Unknown}
	c := a.cardOf(d)
	switch {
	case c == nil && d.PCI != nil && d.Form != device.VF:
		if f, ok := missing(a, d.PCI.Address); ok {
			d.Health = device.Of(f)
		}
	case c == nil:
	case d.Form == device.MIG:
		s := a.slotOf(c, d)
		if s == nil {
			if len(a.list) > 0 && !a.nameless(c) {
				d.Health = device.Of(device.Fault{Code: "mig-missing", State: device.Failed,
					Message: "the MIG instance does not exist any more; the machine's devices are to be found anew"})
			}
			return
		}
		d.Health, d.Reading = c.health(s.faults(c)), s.reading()
	default:
		d.Health, d.Reading = c.health(c.faults()), c.reading()
	}
}

// cardOf finds a device's card, or that of a part.
func (a *answer) cardOf(d *device.Device) *card {
	uuid := d.UUID
	if d.Form == device.MIG {
		uuid = d.Parent
	}
	for _, c := range a.log.cards {
		if identity(c.UUID) != "" && identity(c.UUID) == uuid {
			return c
		}
	}
	if identity(uuid) != "" || d.PCI == nil {
		return nil
	}
	for _, c := range a.log.cards { // the driver had not told its UUID
		if c.address() == d.PCI.Address {
			return c
		}
	}
	return nil
}

// nameless reports whether a card may have instances of which the UUIDs are not known.
func (a *answer) nameless(c *card) bool {
	return c.PartsUnknown || slices.ContainsFunc(a.list, func(l listed) bool {
		return l.from == nvml && l.uuid == identity(c.UUID) && slices.ContainsFunc(l.parts, func(p listedPart) bool { return p.uuid == "" })
	})
}

// slotOf finds a MIG instance: by its UUID in the list, or by the numbers in its name.
func (a *answer) slotOf(c *card, d *device.Device) *slot {
	number := -1
	for _, l := range a.list {
		for _, p := range l.parts {
			if p.uuid == d.UUID && l.uuid == identity(c.UUID) {
				number = p.index
			}
		}
	}
	for i := range c.Parts {
		s := &c.Parts[i]
		own := fmt.Sprintf("MIG-%s/%d/%d", strings.TrimSpace(c.UUID), index(s.GI), index(s.CI))
		if number >= 0 && index(s.Index) == number || own == d.UUID {
			return s
		}
	}
	return nil
}
