package discovery

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"polder.dev/polder/device"
)

// Machine is the machine this program runs on, looked at again and again, and listened
// to, if it is wanted.
type Machine struct {
	root     string
	adapters []device.Adapter
	log      *ledger

	mu  sync.Mutex
	own map[string]device.Health // of devices as they were found, by UUID
}

// NewMachine returns it. Its root directory is at root; see [OpenLive].
func NewMachine(root string) *Machine {
	a := Adapters()
	return &Machine{root: root, adapters: a, log: newLedger(a), own: map[string]device.Health{}}
}

// Find looks for devices.
func (m *Machine) Find(ctx context.Context) (device.Inventory, error) {
	h, done, err := OpenLive(m.root)
	if h == nil {
		return device.Inventory{}, err
	}
	defer done()
	now := m.log.now()
	v := look(ctx, h, m.adapters)
	v.Problems = append(v.Problems, problems("pci", err)...)
	m.found(v.Devices, now)
	return v, nil
}

// Measure reads health and meters of devices, which Find returned, again.
func (m *Machine) Measure(ctx context.Context, devices []device.Device) error {
	h, done, err := OpenLive(m.root)
	if h == nil {
		return err
	}
	defer done()
	now := m.log.now()
	m.restore(devices)
	err = measure(ctx, h, m.adapters, devices)
	m.found(devices, now)
	return err
}

// measure asks all meters at once. What one does not answer in time stays as it is.
func measure(ctx context.Context, h *device.Host, adapters []device.Adapter, devices []device.Device) error {
	ctx, cancel := context.WithTimeout(ctx, adapterTime)
	defer cancel()
	type question struct {
		of     string
		at     []int // its devices
		answer chan answer
	}
	var asked []question
	for _, a := range adapters {
		q := question{of: a.Name(), answer: make(chan answer, 1)}
		var own []device.Device // copies, for one who answers too late still writes
		for i := range devices {
			if devices[i].Adapter == q.of {
				own, q.at = append(own, devices[i].Clone()), append(q.at, i)
			}
		}
		if meter, ok := a.(device.Meter); ok && len(own) > 0 {
			asked = append(asked, q)
			go ask(q.answer, func() ([]device.Device, error) { return own, meter.Measure(ctx, h, own) })
		}
	}
	var errs []error
	for _, q := range asked {
		got := await(ctx, q.answer)
		for _, p := range problems(q.of, got.err) {
			errs = append(errs, p)
		}
		for j := range got.devices {
			devices[q.at[j]].Health, devices[q.at[j]].Reading = got.devices[j].Health, got.devices[j].Reading
		}
	}
	return errors.Join(errs...)
}

// Edits says what a container needs in order to use devices: that of each adapter,
// joined.
func (m *Machine) Edits(devices []device.Device) device.Edits {
	var all device.Edits
	for _, a := range m.adapters {
		own := slices.DeleteFunc(slices.Clone(devices), func(d device.Device) bool { return d.Adapter != a.Name() })
		if len(own) == 0 {
			continue
		}
		e := a.Edits(own)
		all.Nodes, all.Mounts = append(all.Nodes, e.Nodes...), append(all.Mounts, e.Mounts...)
		for k, v := range e.Env {
			if all.Env == nil {
				all.Env = map[string]string{}
			}
			all.Env[k] = v
		}
	}
	return all
}

// Stat looks at the file at an absolute path of the machine, without opening it.
func (m *Machine) Stat(file string) (fs.FileInfo, error) {
	if m.root == "/" {
		return os.Stat(file)
	}
	files, done, err := openRoot(m.root)
	if err != nil {
		return nil, err
	}
	defer done()
	return fs.Stat(files, strings.TrimPrefix(path.Clean(file), "/"))
}
