package discovery

import (
	"context"
	"slices"

	"polder.dev/polder/device"
	"polder.dev/polder/device/kernlog"
)

// Listen hears what the machine's log told of devices, and goes on hearing until ctx
// ends. The channel has something when that changed, and is closed when the log cannot
// be heard any more. Changes that come while one waits to be taken are one, so a flood of
// messages is no flood of changes. With an error, Find and Measure do without the log.
func (m *Machine) Listen(ctx context.Context) (<-chan struct{}, error) {
	l, err := kernlog.Open(m.root)
	if err != nil {
		return nil, err
	}
	if err := l.Replay(func(message string) { m.log.hear(message) }); err != nil {
		_ = l.Close()
		return nil, err
	}
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		defer l.Close()
		_ = l.Follow(ctx, func(message string) {
			if m.log.hear(message) {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
	}()
	return changed, nil
}

// Tell sets the health of devices, which Find or Measure returned, to what these found
// and what was heard. It asks nobody, so it is quick where a program of a vendor whose
// card is ill may not be.
func (m *Machine) Tell(devices []device.Device) {
	m.restore(devices)
	for i := range devices {
		m.log.tell(&devices[i])
	}
}

// found keeps the health that devices were found with, and adds what was heard.
// Messages before then are over for those that are sound.
func (m *Machine) found(devices []device.Device, then int) {
	own := make(map[string]device.Health, len(devices))
	for i := range devices {
		own[devices[i].UUID] = device.Health{State: devices[i].Health.State, Faults: slices.Clone(devices[i].Health.Faults)}
	}
	m.mu.Lock()
	m.own = own
	m.mu.Unlock()
	m.log.settle(devices, then)
	for i := range devices {
		m.log.tell(&devices[i])
	}
}

// restore takes away what was heard of devices.
func (m *Machine) restore(devices []device.Device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range devices {
		if h, ok := m.own[devices[i].UUID]; ok {
			devices[i].Health = device.Health{State: h.State, Faults: slices.Clone(h.Faults)}
		}
	}
}

// replay takes in what this machine's log holds, once.
func (l *ledger) replay() error {
	log, err := kernlog.Open("/")
	if err != nil {
		return err
	}
	defer log.Close()
	return log.Replay(func(message string) { l.hear(message) })
}

// concerns reports whether the log would tell of any of the devices.
func (l *ledger) concerns(devices []device.Device) bool {
	return slices.ContainsFunc(devices, func(d device.Device) bool {
		return slices.ContainsFunc(l.ears, func(e ear) bool { return d.PCI != nil && d.Adapter == e.name })
	})
}
