package main

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// ecc asks for errors of memory. Cards for graphics have no such counters.
func (a *asker) ecc(g *GPU, h nvml.Device) {
	total := func(value string, kind nvml.MemoryErrorType, since nvml.EccCounterType) *uint64 {
		return pointer(a, "ecc."+value, func() (uint64, nvml.Return) { return h.GetTotalEccErrors(kind, since) }, "nvmlDeviceGetTotalEccErrors")
	}
	e := ECC{
		VolatileCorrected:    total("volatileCorrected", nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC),
		VolatileUncorrected:  total("volatileUncorrected", nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC),
		AggregateCorrected:   total("aggregateCorrected", nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.AGGREGATE_ECC),
		AggregateUncorrected: total("aggregateUncorrected", nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.AGGREGATE_ECC),
	}
	if s, ok := get(a, "ecc.sramThreshold", h.GetSramEccErrorStatus, "nvmlDeviceGetSramEccErrorStatus"); ok {
		e.SRAMThreshold = new(s.BThresholdExceeded != 0)
	}
	if s, ok := get(a, "ecc.repair", h.GetRepairStatus, "nvmlDeviceGetRepairStatus"); ok {
		e.ChannelRepair, e.TPCRepair = new(s.BChannelRepairPending != 0), new(s.BTpcRepairPending != 0)
	}
	if s, ok := get(a, "ecc.unrepairable", h.GetUnrepairableMemoryFlag_v1, "nvmlDeviceGetUnrepairableMemoryFlag_v1"); ok {
		e.Unrepairable = new(s.BUnrepairableMemory != 0)
	}
	if e != (ECC{}) {
		g.ECC = &e
	}
}

// retired asks for bad memory that was put out of use: pages until Volta, rows since
// Ampere.
func (a *asker) retired(g *GPU, h nvml.Device) {
	pages := func(value string, cause nvml.PageRetirementCause) *int {
		p, ok := get(a, "pages."+value, func() ([]uint64, nvml.Return) { return h.GetRetiredPages(cause) }, "nvmlDeviceGetRetiredPages")
		if !ok {
			return nil
		}
		return new(len(p))
	}
	p := Pages{
		Corrected:   pages("corrected", nvml.PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS),
		Uncorrected: pages("uncorrected", nvml.PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR),
	}
	if s, ok := get(a, "pages.pending", h.GetRetiredPagesPendingStatus, "nvmlDeviceGetRetiredPagesPendingStatus"); ok {
		p.Pending = new(s == nvml.FEATURE_ENABLED)
	}
	if p != (Pages{}) {
		g.Pages = &p
	}
	rows, ok := get(a, "rows", func() (Rows, nvml.Return) {
		corrected, uncorrected, pending, failure, r := h.GetRemappedRows()
		return Rows{corrected, uncorrected, pending, failure}, r
	}, "nvmlDeviceGetRemappedRows")
	if ok {
		g.Rows = &rows
	}
}

// fabric asks for the card's part in a fabric, by the newest version of the question
// that the library answers.
func (a *asker) fabric(g *GPU, h nvml.Device) {
	const versioned, first = "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetGpuFabricInfo"
	info, ok := get(a, "fabric", func() (nvml.GpuFabricInfo_v3, nvml.Return) {
		r := nvml.ERROR_FUNCTION_NOT_FOUND
		if a.has(versioned) {
			v3, r := h.GetGpuFabricInfoV().V3()
			if r == nvml.SUCCESS || r == nvml.ERROR_NOT_SUPPORTED {
				return v3, r
			}
			if v2, r := h.GetGpuFabricInfoV().V2(); r == nvml.SUCCESS {
				return nvml.GpuFabricInfo_v3{ClusterUuid: v2.ClusterUuid, Status: v2.Status, CliqueId: v2.CliqueId, State: v2.State, HealthMask: v2.HealthMask}, r
			}
		}
		if a.has(first) {
			var v1 nvml.GpuFabricInfo
			v1, r = h.GetGpuFabricInfo()
			return nvml.GpuFabricInfo_v3{ClusterUuid: v1.ClusterUuid, Status: v1.Status, CliqueId: v1.CliqueId, State: v1.State}, r
		}
		return nvml.GpuFabricInfo_v3{}, r
	}, versioned, first)
	if !ok || states[info.State] == "" {
		return
	}
	u := info.ClusterUuid
	f := Fabric{State: states[info.State], Clique: info.CliqueId, Summary: summaries[info.HealthSummary], Health: complaints(info.HealthMask),
		Cluster: fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])}
	if info.State == nvml.GPU_FABRIC_STATE_COMPLETED { // before, the status means nothing
		f.Status = "Success"
		if r := nvml.Return(info.Status); r != nvml.SUCCESS {
			f.Status = say(r)
		}
	}
	g.Fabric = &f
}

// complaints are what a fabric's health says is wrong. Of each part 1 is yes, 2 no and
// 0 that nothing is known.
func complaints(mask uint32) []string {
	var out []string
	for _, c := range []struct {
		shift uint
		what  string
	}{
		{nvml.GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW, "degraded-bandwidth"},
		{nvml.GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY, "route-unhealthy"},
		{nvml.GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY, "route-recovery"},
		{nvml.GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY, "access-timeout-recovery"},
	} {
		if mask>>c.shift&3 == 1 {
			out = append(out, c.what)
		}
	}
	configurations := []string{"", "", "incorrect SysGUID", "incorrect chassis serial number", "no partition", "insufficient NVLinks",
		"incompatible GPU firmware", "invalid location", "invalid GPU state"}
	n := int(mask >> nvml.GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION & nvml.GPU_FABRIC_HEALTH_MASK_WIDTH_INCORRECT_CONFIGURATION)
	switch {
	case n >= len(configurations):
		out = append(out, fmt.Sprintf("configuration: incorrect (%d)", n))
	case configurations[n] != "":
		out = append(out, "configuration: "+configurations[n])
	}
	return out
}
