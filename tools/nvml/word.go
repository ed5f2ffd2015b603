package main

import (
	"fmt"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// said are the errors that readers act on, in the words that nvidia-smi prints. The
// library would say the same, but it may lack the words, or be ill.
var said = map[nvml.Return]string{
	nvml.ERROR_NOT_SUPPORTED:           "Not Supported",
	nvml.ERROR_NO_PERMISSION:           "Insufficient Permissions",
	nvml.ERROR_NOT_FOUND:               "Not Found",
	nvml.ERROR_TIMEOUT:                 "Timeout",
	nvml.ERROR_FUNCTION_NOT_FOUND:      "Function Not Found",
	nvml.ERROR_GPU_IS_LOST:             "GPU is lost",
	nvml.ERROR_RESET_REQUIRED:          "GPU requires reset",
	nvml.ERROR_DRIVER_NOT_LOADED:       "Driver Not Loaded",
	nvml.ERROR_LIB_RM_VERSION_MISMATCH: "Driver/library version mismatch",
	nvml.ERROR_INSUFFICIENT_RESOURCES:  "Insufficient Resources",
	nvml.ERROR_UNKNOWN:                 "Unknown Error",
}

// say is an error in words.
func say(r nvml.Return) string {
	if s, ok := said[r]; ok {
		return s
	}
	return fmt.Sprintf("error %d of NVML (%s)", r, clean(r.Error()))
}

// textMax is more than any text of NVML's has.
const textMax = 128

// clean is a text of the library's: one line, of a length that is bounded. Its memory
// is the library's, so this is a copy.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), textMax)], "?")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

// architectures as nvidia-smi calls them.
var architectures = map[nvml.DeviceArchitecture]string{
	nvml.DEVICE_ARCH_KEPLER: "Kepler", nvml.DEVICE_ARCH_MAXWELL: "Maxwell", nvml.DEVICE_ARCH_PASCAL: "Pascal",
	nvml.DEVICE_ARCH_VOLTA: "Volta", nvml.DEVICE_ARCH_TURING: "Turing", nvml.DEVICE_ARCH_AMPERE: "Ampere",
	nvml.DEVICE_ARCH_ADA: "Ada Lovelace", nvml.DEVICE_ARCH_HOPPER: "Hopper", nvml.DEVICE_ARCH_BLACKWELL: "Blackwell",
	nvml.DEVICE_ARCH_RUBIN: "Rubin",
}

// slowdowns are the reasons for low clocks that tell of something wrong. An idle card,
// a cap that somebody set and such are none.
var slowdowns = []struct {
	bit  uint64
	name string
}{
	{nvml.ClocksThrottleReasonHwThermalSlowdown, "hw-thermal"},
	{nvml.ClocksEventReasonSwThermalSlowdown, "sw-thermal"},
	{nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, "hw-power-brake"},
}

// recoveries are what the driver asks for so that a card works again.
var recoveries = map[nvml.DeviceGpuRecoveryAction]string{
	nvml.GPU_RECOVERY_ACTION_NONE: "None", nvml.GPU_RECOVERY_ACTION_GPU_RESET: "Reset", nvml.GPU_RECOVERY_ACTION_NODE_REBOOT: "Reboot",
	nvml.GPU_RECOVERY_ACTION_DRAIN_P2P: "Drain P2P", nvml.GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "Drain and Reset",
	nvml.GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN: "Recover IMEX Domain", nvml.GPU_RECOVERY_ACTION_BUS_RESET: "Bus Reset",
	nvml.GPU_RECOVERY_ACTION_SYSTEM_REBOOT: "System Reboot",
}

// states of a card's registration with its fabric; one that takes no part has none.
var states = map[uint8]string{
	nvml.GPU_FABRIC_STATE_NOT_STARTED: "Not Started", nvml.GPU_FABRIC_STATE_IN_PROGRESS: "In Progress", nvml.GPU_FABRIC_STATE_COMPLETED: "Completed",
}

var summaries = map[uint8]string{
	nvml.GPU_FABRIC_HEALTH_SUMMARY_HEALTHY: "Healthy", nvml.GPU_FABRIC_HEALTH_SUMMARY_UNHEALTHY: "Unhealthy",
	nvml.GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY: "Limited Capacity",
}

// paths are how far apart two cards are.
var paths = map[nvml.GpuTopologyLevel]string{
	nvml.TOPOLOGY_INTERNAL: "PIX", nvml.TOPOLOGY_SINGLE: "PIX", nvml.TOPOLOGY_MULTIPLE: "PXB",
	nvml.TOPOLOGY_HOSTBRIDGE: "PHB", nvml.TOPOLOGY_NODE: "NODE", nvml.TOPOLOGY_SYSTEM: "SYS",
}

// ends are what can be at the other end of an NVLink.
var ends = map[nvml.IntNvLinkDeviceType]string{
	nvml.NVLINK_DEVICE_TYPE_GPU: "gpu", nvml.NVLINK_DEVICE_TYPE_IBMNPU: "npu", nvml.NVLINK_DEVICE_TYPE_SWITCH: "switch", nvml.NVLINK_DEVICE_TYPE_UNKNOWN: "unknown",
}

// versions of NVLink; the library counts them.
var versions = map[uint32]string{1: "1.0", 2: "2.0", 3: "2.2", 4: "3.0", 5: "3.1", 6: "4.0", 7: "5.0"}
