package main

import (
	"encoding/binary"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// cardsMax and partsMax bound what one machine is taken to have.
const (
	cardsMax = 64
	partsMax = 16
)

// asker asks the library, and keeps why a question had no answer.
type asker struct {
	lib    nvml.Interface
	errors map[string]string
}

// has reports whether the library knows one of these functions. To call one that it
// does not know would end the program, as functions are bound when they are called.
func (a *asker) has(functions ...string) bool {
	for _, f := range functions {
		if a.lib.Extensions().LookupSymbol(f) == nil {
			return true
		}
	}
	return false
}

// failed keeps why a value is not known.
func (a *asker) failed(value string, r nvml.Return) {
	if a.errors == nil {
		a.errors = map[string]string{}
	}
	a.errors[value] = say(r)
}

// get asks for a value by one of the functions, of which go-nvml calls the newest.
func get[T any](a *asker, value string, call func() (T, nvml.Return), functions ...string) (T, bool) {
	var zero T
	r := nvml.ERROR_FUNCTION_NOT_FOUND
	if a.has(functions...) {
		var v T
		if v, r = call(); r == nvml.SUCCESS {
			return v, true
		}
	}
	a.failed(value, r)
	return zero, false
}

// text asks for a value of text.
func text(a *asker, value string, call func() (string, nvml.Return), functions ...string) string {
	s, _ := get(a, value, call, functions...)
	return clean(s)
}

// pointer asks for a value that may be 0.
func pointer[T any](a *asker, value string, call func() (T, nvml.Return), functions ...string) *T {
	v, ok := get(a, value, call, functions...)
	if !ok {
		return nil
	}
	return &v
}

// ask asks all there is to ask; links only if they are wanted.
func ask(lib nvml.Interface, links bool) *Document {
	a := &asker{lib: lib}
	d := &Document{Format: Format, Version: Version, GPUs: []GPU{}}
	d.Library = text(a, "library", lib.SystemGetNVMLVersion, "nvmlSystemGetNVMLVersion")
	d.Driver = text(a, "driver", lib.SystemGetDriverVersion, "nvmlSystemGetDriverVersion")
	if n, ok := get(a, "cuda", lib.SystemGetCudaDriverVersion_v2, "nvmlSystemGetCudaDriverVersion_v2"); ok {
		d.CUDA = fmt.Sprintf("%d.%d", n/1000, n%1000/10)
	}
	count, _ := get(a, "gpus", lib.DeviceGetCount, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")
	handles := map[int]nvml.Device{}
	for i := range min(count, cardsMax) {
		q := &asker{lib: lib}
		handle, ok := get(q, "handle", func() (nvml.Device, nvml.Return) { return lib.DeviceGetHandleByIndex(i) },
			"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex")
		g := GPU{Index: i}
		if ok {
			handles[i] = handle
			q.card(&g, handle)
			if links {
				q.links(&g, handle)
			}
		}
		g.Errors = q.errors
		d.GPUs = append(d.GPUs, g)
	}
	if links {
		a.pairs(d, handles)
	}
	d.Errors = a.errors
	return d
}

// card asks for all of one card but its links.
func (a *asker) card(g *GPU, h nvml.Device) {
	if p, ok := get(a, "address", h.GetPciInfo, "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"); ok {
		g.Address = address(&p)
		g.PCIID, g.PCISubID = fmt.Sprintf("%08X", p.PciDeviceId), fmt.Sprintf("%08X", p.PciSubSystemId)
	}
	g.UUID = text(a, "uuid", h.GetUUID, "nvmlDeviceGetUUID")
	g.Name = text(a, "name", h.GetName, "nvmlDeviceGetName")
	g.Serial = text(a, "serial", h.GetSerial, "nvmlDeviceGetSerial")
	g.VBIOS = text(a, "vbios", h.GetVbiosVersion, "nvmlDeviceGetVbiosVersion")
	g.Minor = pointer(a, "minor", h.GetMinorNumber, "nvmlDeviceGetMinorNumber")
	if n, ok := get(a, "architecture", h.GetArchitecture, "nvmlDeviceGetArchitecture"); ok {
		g.Architecture = architectures[n]
	}
	g.Memory = a.memory(h)
	if m, ok := get(a, "bar1", h.GetBAR1MemoryInfo, "nvmlDeviceGetBAR1MemoryInfo"); ok {
		g.BAR1 = &Memory{Total: m.Bar1Total, Used: m.Bar1Used}
	}
	a.pcie(g, h)
	a.meters(g, h)
	a.ecc(g, h)
	a.retired(g, h)
	a.fabric(g, h)
	if n, ok := a.number("recovery", h, nvml.FI_DEV_GET_GPU_RECOVERY_ACTION); ok {
		if g.Recovery = recoveries[nvml.DeviceGpuRecoveryAction(n)]; g.Recovery == "" {
			g.Recovery = fmt.Sprintf("recovery action %d", n)
		}
	}
	a.mig(g, h)
}

// memory of a card or an instance. The first version counts what the driver keeps for
// itself as used, so the second is better.
func (a *asker) memory(h nvml.Device) *Memory {
	if a.has("nvmlDeviceGetMemoryInfo_v2") {
		if m, r := h.GetMemoryInfo_v2(); r == nvml.SUCCESS {
			return &Memory{Total: m.Total, Used: m.Used}
		}
	}
	m, ok := get(a, "memory", h.GetMemoryInfo, "nvmlDeviceGetMemoryInfo")
	if !ok {
		return nil
	}
	return &Memory{Total: m.Total, Used: m.Used}
}

func (a *asker) pcie(g *GPU, h nvml.Device) {
	p := PCIe{}
	p.Generation, _ = get(a, "pcie.generation", h.GetCurrPcieLinkGeneration, "nvmlDeviceGetCurrPcieLinkGeneration")
	p.GenerationMax, _ = get(a, "pcie.generationMax", h.GetMaxPcieLinkGeneration, "nvmlDeviceGetMaxPcieLinkGeneration")
	p.Lanes, _ = get(a, "pcie.lanes", h.GetCurrPcieLinkWidth, "nvmlDeviceGetCurrPcieLinkWidth")
	p.LanesMax, _ = get(a, "pcie.lanesMax", h.GetMaxPcieLinkWidth, "nvmlDeviceGetMaxPcieLinkWidth")
	p.Replays = pointer(a, "pcie.replays", h.GetPcieReplayCounter, "nvmlDeviceGetPcieReplayCounter")
	if p != (PCIe{}) {
		g.PCIe = &p
	}
}

func (a *asker) meters(g *GPU, h nvml.Device) {
	if u, ok := get(a, "utilization", h.GetUtilizationRates, "nvmlDeviceGetUtilizationRates"); ok {
		g.Utilization = &u.Gpu
	}
	if a.has("nvmlDeviceGetTemperatureV") {
		if t, r := h.GetTemperatureV().V1(); r == nvml.SUCCESS {
			g.Temperature = &t.Temperature
		}
	}
	if g.Temperature == nil {
		t, ok := get(a, "temperature", func() (uint32, nvml.Return) { return h.GetTemperature(nvml.TEMPERATURE_GPU) }, "nvmlDeviceGetTemperature")
		if n := int32(t); ok {
			g.Temperature = &n
		}
	}
	if n, ok := a.number("powerInstant", h, nvml.FI_DEV_POWER_INSTANT); ok {
		g.Power = thousandth(n)
	} else if n, ok := get(a, "power", h.GetPowerUsage, "nvmlDeviceGetPowerUsage"); ok {
		g.Power = thousandth(uint64(n))
	}
	if n, ok := get(a, "powerLimit", h.GetEnforcedPowerLimit, "nvmlDeviceGetEnforcedPowerLimit"); ok {
		g.PowerLimit = thousandth(uint64(n))
	}
	if n, ok := get(a, "energy", h.GetTotalEnergyConsumption, "nvmlDeviceGetTotalEnergyConsumption"); ok {
		g.Energy = thousandth(n)
	}
	a.slowdowns(g, h)
}

func thousandth(n uint64) *float64 { return new(float64(n) / 1000) }

func (a *asker) slowdowns(g *GPU, h nvml.Device) {
	call, function := h.GetCurrentClocksEventReasons, "nvmlDeviceGetCurrentClocksEventReasons"
	if !a.has(function) { // drivers up to 525
		call, function = h.GetCurrentClocksThrottleReasons, "nvmlDeviceGetCurrentClocksThrottleReasons"
	}
	bits, ok := get(a, "slowdowns", call, function)
	if !ok {
		return
	}
	names := []string{}
	for _, s := range slowdowns {
		if bits&s.bit != 0 {
			names = append(names, s.name)
		}
	}
	g.Slowdowns = &names
}

// number asks for a value that has a number instead of a function.
func (a *asker) number(value string, h nvml.Device, field uint32) (uint64, bool) {
	n, ok := get(a, value, func() (uint64, nvml.Return) {
		v := []nvml.FieldValue{{FieldId: field}}
		if r := h.GetFieldValues(v); r != nvml.SUCCESS {
			return 0, r
		}
		if r := nvml.Return(v[0].NvmlReturn); r != nvml.SUCCESS {
			return 0, r
		}
		return unsigned(&v[0])
	}, "nvmlDeviceGetFieldValues")
	return n, ok
}

// unsigned reads a value in the representation that it says it has. Both of our
// architectures have the lowest byte first.
func unsigned(v *nvml.FieldValue) (uint64, nvml.Return) {
	switch nvml.ValueType(v.ValueType) {
	case nvml.VALUE_TYPE_UNSIGNED_INT:
		return uint64(binary.LittleEndian.Uint32(v.Value[:])), nvml.SUCCESS
	case nvml.VALUE_TYPE_UNSIGNED_LONG, nvml.VALUE_TYPE_UNSIGNED_LONG_LONG:
		return binary.LittleEndian.Uint64(v.Value[:]), nvml.SUCCESS
	case nvml.VALUE_TYPE_SIGNED_INT:
		if n := int32(binary.LittleEndian.Uint32(v.Value[:])); n >= 0 {
			return uint64(n), nvml.SUCCESS
		}
	}
	return 0, nvml.ERROR_NO_DATA
}
