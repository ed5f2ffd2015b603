package intel

import (
	"context"
	"errors"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/hwmon"
)

// Measure implements device.Meter, by the meters that Linux documents of i915 and xe.
// They count energy, of which power follows by two looks; utilization is not told.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	files := drm.Read(h)
	var errs []error
	for i := range devices {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		d := &devices[i]
		if d.PCI == nil {
			continue
		}
		dir := files.Dir(h, d.PCI.Address)
		if !h.Exists(dir) {
			d.Health = device.Of(device.Fault{Code: "gpu-lost", State: device.Failed, Message: "the kernel has no files of it"})
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "is gone: the kernel has no files of it"})
			continue
		}
		d.Health, d.Reading = health(h, dir), reading(h, dir)
	}
	return errors.Join(errs...)
}

// reading is of the whole card, not of a tile, whose meters have other names. In xe the
// second sensors are the package's, where the first are not there.
func reading(h *device.Host, dir string) *device.Reading {
	s, _ := hwmon.Find(h, dir, "xe", "i915")
	return &device.Reading{
		Temperature: hwmon.First(s.Milli("temp", 2, "input"), s.Milli("temp", 1, "input")),
		PowerLimit:  hwmon.Positive(hwmon.First(s.Micro("power", 1, "max"), s.Micro("power", 2, "max"))),
		Energy:      hwmon.First(s.Micro("energy", 1, "input"), s.Micro("energy", 2, "input")),
	}
}
