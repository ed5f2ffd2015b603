package aws

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// The class of Neuron devices is "system peripheral", which says nothing, so only
// known numbers are owned. Elastic fabric adapters and disks have other numbers of the
// same vendor.
var family = pci.Family{Vendor: "aws", Kind: device.NPU, Numbers: []string{"1d0f"}, Except: []string{"efa0", "efa1", "efa2", "efa3", "efa4"}, Software: "neuron"}

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "aws" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (*Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	devices, numbers := family.Devices(h), chips(h)
	if len(numbers) == 0 {
		if len(devices) == 0 {
			return nil, nil
		}
		return devices, device.Problem{Where: "/" + dir, What: "is not there, so the devices have no files and cannot be used; load the driver neuron"}
	}
	rows, err := ask(ctx, h)
	if len(devices) == 0 { // a container that does not see the PCI bus
		all := make([]*chip, len(numbers))
		devices = make([]device.Device, len(numbers))
		for i, n := range numbers {
			devices[i] = device.Device{Kind: device.NPU, Vendor: "aws", Software: "neuron", Form: device.Whole}
			all[i] = &chip{d: &devices[i], number: n, row: rows[n]}
		}
		return devices, fill(h, all)
	}
	all, errs := place(devices, numbers, rows, err)
	return devices, errors.Join(fill(h, all), errs)
}

// chip is a device and what is known of it besides.
type chip struct {
	d *device.Device
	// number of the driver's.
	number int
	// row of neuron-ls, nil if there is none.
	row *row
	// linked are the numbers of the chips it has links to.
	linked []int
}

// place finds the driver's number of each device.
func place(devices []device.Device, numbers []int, rows map[int]*row, toolErr error) ([]*chip, error) {
	if len(devices) == 1 && len(numbers) == 1 {
		return []*chip{{d: &devices[0], number: numbers[0], row: rows[numbers[0]]}}, nil
	}
	byAddress := map[string]*row{}
	for _, n := range numbers {
		if r := rows[n]; r != nil {
			byAddress[r.address()] = r
		}
	}
	var all []*chip
	for i := range devices {
		if r := byAddress[devices[i].PCI.Address]; r != nil {
			all = append(all, &chip{d: &devices[i], number: *r.Device, row: r})
		}
	}
	if missing := len(devices) - len(all); missing > 0 {
		why := "neuron-ls does not tell of them"
		if toolErr != nil {
			why = toolErr.Error()
		}
		return all, device.Problem{Where: "neuron-ls", What: fmt.Sprintf("%d of %d devices have no device file, because which is theirs is not known (%s); install aws-neuronx-tools", missing, len(devices), why)}
	}
	return all, nil
}

func fill(h *device.Host, all []*chip) error {
	var errs []error
	for _, c := range all {
		if err := c.read(h); err != nil {
			errs = append(errs, err)
		}
	}
	connect(all)
	return errors.Join(errs...)
}

// Edits implements device.Adapter. The container's image brings the rest.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	return device.Edits{Nodes: device.Nodes(devices)}
}

// Measure implements device.Meter.
func (*Adapter) Measure(_ context.Context, h *device.Host, devices []device.Device) error {
	var errs []error
	for i := range devices {
		d := &devices[i]
		n := -1
		if len(d.Nodes) > 0 {
			n = number(d.Nodes[0].Path, "/dev/neuron")
		}
		if n < 0 || !h.Exists(dir, entry(n)) {
			d.Health, d.Reading = device.Health{State: device.Unknown}, nil
			errs = append(errs, device.Problem{Where: d.Name, What: "the driver neuron tells nothing of it any more; look at the kernel's log"})
			continue
		}
		d.Health, d.Reading = meters(h, n)
	}
	return errors.Join(errs...)
}
