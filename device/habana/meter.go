package habana

import (
	"context"
	"errors"
	"fmt"
	"math"

	"polder.dev/polder/device"
)

// Measure implements device.Meter. Health and the limit of power are the driver's, the
// rest is hl-smi's: what the sensors in sysfs are of, the firmware alone knows.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	var errs []error
	rows, err := query(ctx, h, meters)
	if err != nil && len(devices) > 0 {
		errs = append(errs, device.Problem{Where: smi, What: fmt.Sprintf("cannot be used (%v); what the accelerators draw, hold and do is not known", err)})
	}
	entries := list(h)
	for i := range devices {
		d := &devices[i]
		if d.PCI == nil {
			continue
		}
		d.Reading, d.Health = &device.Reading{}, device.Health{State: device.Unknown}
		if e, ok := entries[d.PCI.Address]; ok {
			d.Health = e.health(h)
			if limit, ok := e.number(h, "max_power"); ok && limit > 0 {
				d.Reading.PowerLimit = new(float64(limit) / 1000)
			}
		} else if len(d.Nodes) > 0 {
			d.Health = device.Of(device.Fault{Code: "device-lost", State: device.Failed, Message: "the driver no longer lists it"})
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "is gone: the driver no longer lists it"})
		}
		if x, ok := rows[d.PCI.Address]; ok {
			x.measure(d)
		}
	}
	return errors.Join(errs...)
}

// measure sets what the row says of meters, and counts errors of memory as a fault.
func (x row) measure(d *device.Device) {
	if d.Reading == nil {
		d.Reading = &device.Reading{}
	}
	r := d.Reading
	r.MemoryUsed = x.bytes("memory.used")
	r.Power = x.number("power.draw", 1e5)
	r.Temperature = x.number("temperature.aip", 1000)
	if use := x.number("utilization.aip", 100); use != nil {
		r.Utilization = new(*use / 100)
	}
	n := x.number("ecc.errors.uncorrected.volatile.total", math.MaxInt32)
	if n == nil {
		return
	}
	r.Errors = map[string]int64{"ecc-uncorrected": int64(*n)}
	if *n > 0 {
		d.Health = device.Of(append(d.Health.Faults, device.Fault{Code: "ecc-uncorrected", State: device.Degraded,
			Message: fmt.Sprintf("%.0f errors of memory since the driver was loaded that could not be corrected", *n)})...)
	}
}
