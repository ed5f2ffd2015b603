package discovery

import (
	"slices"
	"sync"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Limits of what is kept of the log, whatever it says: no machine has more functions
// that are devices, and no card needs more faults to be known as ill.
const (
	addressesMax = 1024
	faultsMax    = 16
)

// ledger keeps what the kernel's log told of devices, by PCI address.
type ledger struct {
	ears []ear

	mu    sync.Mutex
	count int // of messages that said something
	at    map[string][]heard
}

// ear is one who understands messages.
type ear struct {
	name string
	hear func(message string) (device.Heard, bool)
}

// heard is a fault, who heard of it, and after how many messages it was told last.
type heard struct {
	device.Fault
	by   string
	when int
}

func newLedger(adapters []device.Adapter) *ledger {
	l := &ledger{ears: []ear{{"pci", pci.Hear}}, at: map[string][]heard{}}
	for _, a := range adapters {
		if listener, ok := a.(device.Listener); ok {
			l.ears = append(l.ears, ear{a.Name(), listener.Hear})
		}
	}
	return l
}

// hear takes in a message. It reports whether something is not as it was: a fault that
// is told a hundred times is told once.
func (l *ledger) hear(message string) (changed bool) {
	for _, e := range l.ears {
		if h, ok := e.hear(message); ok {
			changed = l.note(e.name, h) || changed
		}
	}
	return changed
}

func (l *ledger) note(by string, h device.Heard) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if !h.Over && h.Fault.Code == "" {
		return true // there is something to see
	}
	before := slices.Clone(l.at[h.Address])
	if h.Over {
		changed = l.over(by, h.Address)
	}
	if h.Address == "" {
		return changed
	}
	if h.Fault.Code != "" {
		l.add(h.Address, heard{h.Fault, by, l.count})
	}
	return !slices.EqualFunc(before, l.at[h.Address], func(a, b heard) bool { return a.Fault == b.Fault })
}

// over forgets the faults at an address, or all that one has heard of.
func (l *ledger) over(by, address string) (changed bool) {
	if address != "" {
		_, changed = l.at[address]
		delete(l.at, address)
		return changed
	}
	return l.forget(func(_ string, f heard) bool { return f.by == by })
}

// forget removes faults.
func (l *ledger) forget(which func(address string, f heard) bool) (changed bool) {
	for address, faults := range l.at {
		left := slices.DeleteFunc(slices.Clone(faults), func(f heard) bool { return which(address, f) })
		changed = changed || len(left) < len(faults)
		if l.at[address] = left; len(left) == 0 {
			delete(l.at, address)
		}
	}
	return changed
}

func (l *ledger) add(address string, f heard) {
	faults, known := l.at[address]
	if i := slices.IndexFunc(faults, func(o heard) bool { return o.Code == f.Code }); i >= 0 {
		faults[i] = f
		return
	}
	if len(faults) >= faultsMax || !known && len(l.at) >= addressesMax {
		return
	}
	l.at[address] = append(faults, f)
}

// now is the moment after the messages heard so far.
func (l *ledger) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// settle forgets what was told until then of devices whose driver has said since that
// they need nothing.
func (l *ledger) settle(devices []device.Device, then int) {
	sound := map[string]bool{}
	for i := range devices {
		if devices[i].PCI != nil && devices[i].Health.Sound {
			sound[devices[i].PCI.Address] = true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(func(address string, f heard) bool { return sound[address] && f.when <= then })
}

// tell adds what was heard of a device to what was found of it.
func (l *ledger) tell(d *device.Device) {
	if d.PCI == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := slices.Clone(d.Health.Faults)
	for _, f := range l.at[d.PCI.Address] {
		i := slices.IndexFunc(faults, func(o device.Fault) bool { return o.Code == f.Code })
		switch {
		case i < 0:
			faults = append(faults, f.Fault)
		case f.State == device.Failed:
			faults[i] = f.Fault
		}
	}
	if !slices.Equal(faults, d.Health.Faults) {
		sound := d.Health.Sound
		d.Health = device.Of(faults...)
		d.Health.Sound = sound
	}
}
