package nvidia

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

// TestFaults sets elements of the log that tell of faults.
func TestFaults(t *testing.T) {
	row := func(s string) string { return "<remapped_rows>" + s + "</remapped_rows>" }
	for _, c := range []struct {
		name, more, want string
		state            device.State
	}{
		{"nothing", "", "", device.Healthy},
		{"a failed row", row("<remapped_row_failure>Yes</remapped_row_failure>"), "row-remap-failure", device.Failed},
		{"a pending row", row("<remapped_row_pending>Yes</remapped_row_pending><remapped_row_failure>No</remapped_row_failure>"), "row-remap-pending", device.Degraded},
		{"both", row("<remapped_row_pending>Yes</remapped_row_pending><remapped_row_failure>Yes</remapped_row_failure>"), "row-remap-failure row-remap-pending", device.Failed},
		{"a pending page", "<retired_pages><pending_retirement>Yes</pending_retirement></retired_pages>", "page-retirement-pending", device.Degraded},
		{"errors of before Volta", "<ecc_errors><volatile><double_bit><total>2</total></double_bit></volatile></ecc_errors>", "ecc-uncorrected", device.Degraded},
		{"errors of Ampere", "<ecc_errors><volatile><sram_uncorrectable_parity>1</sram_uncorrectable_parity><dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>", "ecc-uncorrected", device.Degraded},
		{"errors long ago", "<ecc_errors><volatile><dram_uncorrectable>0</dram_uncorrectable></volatile><aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate></ecc_errors>", "", device.Healthy},
		{"unrepairable", "<ecc_errors><unrepairable_memory>Yes</unrepairable_memory></ecc_errors>", "memory-unrepairable", device.Failed},
		{"repairs to come", "<ecc_errors><channel_repair_pending>Yes</channel_repair_pending><tpc_repair_pending>Yes</tpc_repair_pending></ecc_errors>", "repair-pending", device.Degraded},
		{"too many errors", "<ecc_errors><aggregate><sram_threshold_exceeded>Yes</sram_threshold_exceeded></aggregate></ecc_errors>", "sram-errors", device.Degraded},
		{"hot", "<clocks_event_reasons><clocks_event_reason_sw_thermal_slowdown>Active</clocks_event_reason_sw_thermal_slowdown></clocks_event_reasons>", "thermal-slowdown", device.Degraded},
		{"hot, older driver", "<clocks_throttle_reasons><clocks_throttle_reason_hw_thermal_slowdown>Active</clocks_throttle_reason_hw_thermal_slowdown></clocks_throttle_reasons>", "thermal-slowdown", device.Degraded},
		{"braked", "<clocks_event_reasons><clocks_event_reason_hw_power_brake_slowdown>Active</clocks_event_reason_hw_power_brake_slowdown></clocks_event_reasons>", "power-brake", device.Degraded},
		{"busy", "<clocks_event_reasons><clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap></clocks_event_reasons>", "", device.Healthy},
		{"to be reset", "<gpu_recovery_action>Reset</gpu_recovery_action>", "recovery-needed", device.Failed},
		{"to be drained", "<gpu_recovery_action>Drain and Reset</gpu_recovery_action>", "recovery-needed", device.Degraded},
		{"nothing to recover", "<gpu_recovery_action>None</gpu_recovery_action>", "", device.Healthy},
		{"no fabric manager", "<fabric><state>In Progress</state><status>N/A</status></fabric>", "fabric-not-ready", device.Failed},
		{"fabric refused", "<fabric><state>Completed</state><status>Insufficient Resources</status></fabric>", "fabric-error", device.Degraded},
		{"narrow fabric", "<fabric><state>Completed</state><status>Success</status><health><bandwidth>Degraded</bandwidth></health></fabric>", "fabric-degraded", device.Degraded},
		{"lost", row("GPU is lost"), "gpu-lost", device.Failed},
		{"to be reset, it says", row("GPU requires reset"), "gpu-reset-required", device.Failed},
		{"errors in place of values", row("Unknown Error"), "gpu-unreadable", device.Degraded},
	} {
		card := cardA
		card.more = c.more
		devices, err := New().Read([]byte(logOf(card)))
		if err != nil {
			t.Fatal(err)
		}
		d := &devices[0]
		if faultsOf(d) != c.want || d.Health.State != c.state {
			t.Errorf("%s: %s with %q, not %s with %q", c.name, d.Health.State, faultsOf(d), c.state, c.want)
		}
		for _, f := range d.Health.Faults {
			if f.Message == "" || strings.Contains(f.Message, "%!") {
				t.Errorf("%s: the message is %q", c.name, f.Message)
			}
		}
	}
}

func TestInstanceHasTheFaultsOfItsCard(t *testing.T) {
	card := cardMIG
	card.more = strings.Replace(card.more, "<sram_uncorrectable>0", "<sram_uncorrectable>3", 1) + "<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>"
	devices, err := New().Read([]byte(logOf(card)))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v", len(devices), err)
	}
	if faultsOf(&devices[0]) != "row-remap-pending ecc-uncorrected" || faultsOf(&devices[1]) != "row-remap-pending" {
		t.Errorf("faults are %q and %q", faultsOf(&devices[0]), faultsOf(&devices[1]))
	}
}
