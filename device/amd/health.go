package amd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
	"polder.dev/polder/device/hwmon"
)

// errorCounts sums what the driver counts against all blocks of a GPU since it was
// loaded, in files such as ras/umc_err_count: "ue: 0" and "ce: 3". ok is false if it
// counts nothing: most Radeon cards have no such files.
func errorCounts(h *device.Host, dir string) (uncorrected, corrected int64, ok bool) {
	for _, file := range h.Dir(dir, "ras") {
		if !strings.HasSuffix(file, "_err_count") && !strings.HasPrefix(file, "aca_") {
			continue
		}
		for line := range strings.Lines(h.String(dir, "ras", file)) {
			what, count, _ := strings.Cut(line, ":")
			n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64)
			if err != nil || n < 0 {
				continue
			}
			switch strings.TrimSpace(what) {
			case "ue":
				uncorrected, ok = add(uncorrected, n), true
			case "ce":
				corrected, ok = add(corrected, n), true
			}
		}
	}
	return uncorrected, corrected, ok
}

func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func health(h *device.Host, dir string) device.Health {
	uncorrected, _, ok := errorCounts(h, dir)
	switch {
	case !ok:
		return device.Health{State: device.Unknown}
	case uncorrected > 0:
		return device.Of(device.Fault{Code: "ecc-uncorrected", State: device.Degraded,
			Message: fmt.Sprintf("%d errors that could not be corrected since the driver was loaded; reset the GPU", uncorrected)})
	}
	return device.Of()
}

// Measure implements device.Meter. Partitions of one GPU have the temperature, errors
// and health of the whole; what it draws, holds and does is not told of them apart, and
// is left out, so that sums are right.
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
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: "is gone: the kernel has no files of it"})
			d.Health = device.Of(device.Fault{Code: "gpu-lost", State: device.Failed, Message: "the kernel has no files of it"})
			continue
		}
		d.Health, d.Reading = health(h, dir), reading(h, dir, d.Form == device.XCP)
	}
	return errors.Join(errs...)
}

func reading(h *device.Host, dir string, part bool) *device.Reading {
	r := &device.Reading{}
	if uncorrected, corrected, ok := errorCounts(h, dir); ok {
		r.Errors = map[string]int64{"ecc-uncorrected": uncorrected, "ecc-corrected": corrected}
	}
	s, _ := hwmon.Find(h, path.Clean(dir), module)
	r.Temperature = s.Temperature("edge", "junction") // the MI300 line has no edge
	if part {
		return r
	}
	if busy, ok := h.Int(dir, "gpu_busy_percent"); ok && busy >= 0 && busy <= 100 {
		r.Utilization = new(float64(busy) / 100)
	}
	if used, ok := h.Int(dir, "mem_info_vram_used"); ok && used >= 0 {
		r.MemoryUsed = &used
	}
	r.Power = hwmon.First(s.Micro("power", 1, "average"), s.Micro("power", 1, "input"))
	r.PowerLimit = hwmon.Positive(s.Micro("power", 1, "cap"))
	return r
}
