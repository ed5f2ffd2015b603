package main

import (
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// mig asks whether a card is in MIG mode, and for its instances.
func (a *asker) mig(g *GPU, h nvml.Device) {
	mode, ok := get(a, "mig", func() (int, nvml.Return) {
		current, _, r := h.GetMigMode()
		return current, r
	}, "nvmlDeviceGetMigMode")
	if !ok {
		return
	}
	g.MIG = new(mode == nvml.DEVICE_MIG_ENABLE)
	if !*g.MIG || !a.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return
	}
	count, _ := get(a, "parts", h.GetMaxMigDeviceCount, "nvmlDeviceGetMaxMigDeviceCount")
	for i := range min(count, partsMax) {
		instance, r := h.GetMigDeviceHandleByIndex(i)
		if r == nvml.ERROR_NOT_FOUND || r == nvml.ERROR_INVALID_ARGUMENT {
			continue // numbers that no instance has
		}
		if r != nvml.SUCCESS {
			a.failed("parts", r)
			continue
		}
		g.Parts = append(g.Parts, part(a.lib, i, instance))
	}
}

func part(lib nvml.Interface, index int, h nvml.Device) Part {
	a := &asker{lib: lib}
	p := Part{Index: index}
	p.GPUInstance = pointer(a, "gpuInstance", h.GetGpuInstanceId, "nvmlDeviceGetGpuInstanceId")
	p.ComputeInstance = pointer(a, "computeInstance", h.GetComputeInstanceId, "nvmlDeviceGetComputeInstanceId")
	p.UUID = text(a, "uuid", h.GetUUID, "nvmlDeviceGetUUID")
	// "NVIDIA H100 80GB HBM3 MIG 1g.10gb", since driver 470.
	if _, profile, ok := strings.Cut(text(a, "profile", h.GetName, "nvmlDeviceGetName"), "MIG "); ok {
		p.Profile = profile
	}
	if t, ok := get(a, "multiprocessors", h.GetAttributes, "nvmlDeviceGetAttributes_v2", "nvmlDeviceGetAttributes"); ok {
		p.Multiprocessors, p.GPUSlices, p.ComputeSlices = int(t.MultiprocessorCount), int(t.GpuInstanceSliceCount), int(t.ComputeInstanceSliceCount)
		p.MemorySize = t.MemorySizeMB << 20
	}
	p.Memory = a.memory(h)
	p.Uncorrected = pointer(a, "uncorrected", func() (uint64, nvml.Return) {
		return h.GetMemoryErrorCounter(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC, nvml.MEMORY_LOCATION_SRAM)
	}, "nvmlDeviceGetMemoryErrorCounter")
	p.Errors = a.errors
	return p
}
