package nvidia

import (
	"fmt"
	"strings"

	"polder.dev/polder/device"
)

var lostFault = device.Fault{Code: "gpu-lost", State: device.Failed,
	Message: "it has fallen off the bus; restart the machine, and if that does not help have the card seen to"}

// signs are values that say what is wrong, by themselves. What they mean is told by
// `nvidia-smi --help-query-gpu` and, for those of memory, by NVIDIA's "GPU Memory
// Error Management".
var signs = []struct {
	of    func(*card) []string
	value string
	fault device.Fault
}{
	{func(c *card) []string { return []string{c.Rows.Failure} }, "Yes", device.Fault{Code: "row-remap-failure", State: device.Failed,
		Message: "a bad row of its memory could not be replaced by a spare one; have the card exchanged"}},
	{func(c *card) []string { return []string{c.ECC.Hopeless} }, "Yes", device.Fault{Code: "memory-unrepairable", State: device.Failed,
		Message: "its memory has errors that cannot be repaired; have the card exchanged"}},
	{func(c *card) []string { return []string{c.Rows.Pending} }, "Yes", device.Fault{Code: "row-remap-pending", State: device.Degraded,
		Message: "a bad row of its memory is replaced at the next reset; reset the card when it is idle"}},
	{func(c *card) []string { return []string{c.Pages.Pending} }, "Yes", device.Fault{Code: "page-retirement-pending", State: device.Degraded,
		Message: "a bad page of its memory is left out from the next restart on; restart when the card is idle"}},
	{func(c *card) []string { return []string{c.ECC.Channel, c.ECC.TPC} }, "Yes", device.Fault{Code: "repair-pending", State: device.Degraded,
		Message: "it repairs itself at the next reset; reset the card when it is idle"}},
	{func(c *card) []string { return []string{c.ECC.Aggregate.Threshold} }, "Yes", device.Fault{Code: "sram-errors", State: device.Degraded,
		Message: "its caches have had more errors than a good card has; have it tested"}},
	{func(c *card) []string {
		return []string{c.Reasons.HWThermal, c.Reasons.SWThermal, c.Throttle.HWThermalOld, c.Throttle.SWThermalOld}
	}, "Active", device.Fault{Code: "thermal-slowdown", State: device.Degraded,
		Message: "it is too hot and runs slower; see to its cooling"}},
	{func(c *card) []string { return []string{c.Reasons.Brake, c.Throttle.BrakeOld} }, "Active", device.Fault{Code: "power-brake", State: device.Degraded,
		Message: "the machine's power supply has it run slower; see to the supply"}},
}

// faults are what is wrong with a card.
func (c *card) faults() []device.Fault {
	if f, ok := c.dead(); ok {
		return []device.Fault{f} // nothing else it says is worth anything
	}
	var out []device.Fault
	for _, s := range signs {
		for _, v := range s.of(c) {
			if strings.TrimSpace(v) == s.value {
				out = append(out, s.fault)
				break
			}
		}
	}
	if n, ok := c.ECC.Volatile.uncorrected(); ok && n > 0 {
		out = append(out, uncorrectedFault(n))
	}
	if f, ok := c.recovery(); ok {
		out = append(out, f)
	}
	if said := c.said(); strings.Contains(said, saysUnknown) || strings.Contains(said, saysErr) {
		out = append(out, device.Fault{Code: "gpu-unreadable", State: device.Degraded,
			Message: "there are errors when its meters are read; look into the kernel's log"})
	}
	out = append(out, c.Fabric.faults()...)
	return append(out, c.splitFaults()...)
}

// said is what stands where a card that does not answer has NVML's errors in place of
// values.
func (c *card) said() string {
	return strings.Join(append([]string{c.UUID, c.FB.Total, c.FB.Used, c.Busy, c.Temperature, c.Rows.Text, c.Fabric.State, c.Power.Draw, c.Power.Instant, c.PowerOld.Draw}, c.Errs...), "|")
}

// dead tells of a card that does not answer at all.
func (c *card) dead() (f device.Fault, ok bool) {
	switch said := c.said(); {
	case strings.Contains(said, saysLost):
		return lostFault, true
	case strings.Contains(said, saysReset):
		return device.Fault{Code: "gpu-reset-required", State: device.Failed, Message: "it does not work until it is reset"}, true
	}
	return f, false
}

// recovery is what the driver asks for so that the card works again. Those that
// begin with draining say that it still works, but not well.
func (c *card) recovery() (f device.Fault, ok bool) {
	action := word(c.Recovery)
	if action == "" {
		return f, false
	}
	return recoveryFault(action), true
}

func recoveryFault(action string) device.Fault {
	f := device.Fault{Code: "recovery-needed", State: device.Failed, Message: "the driver asks for: " + action}
	if l := strings.ToLower(action); strings.Contains(l, "drain") || strings.Contains(l, "imex") {
		f.State = device.Degraded
	}
	return f
}

// health is the state that faults make. A driver that knows recovery actions and asks
// for none says that what it wrote into the log before is over.
func (c *card) health(faults []device.Fault) device.Health {
	h := device.Of(faults...)
	h.Sound = strings.TrimSpace(c.Recovery) == "None"
	return h
}

func uncorrectedFault(n int64) device.Fault {
	return device.Fault{Code: "ecc-uncorrected", State: device.Degraded,
		Message: fmt.Sprintf("its memory has had %d errors since the driver was loaded that could not be corrected; jobs that met them failed", n)}
}

// faults are what is wrong with the card's way into the fabric. Without the fabric
// manager, whose work the state tells of, CUDA does not start on machines that have
// NVSwitches.
func (f *fabric) faults() []device.Fault {
	var out []device.Fault
	switch state, status := word(f.State), word(f.Status); {
	case state == "In Progress" || state == "Not Started":
		out = append(out, device.Fault{Code: "fabric-not-ready", State: device.Failed,
			Message: fmt.Sprintf("its registration with the NVLink fabric is %q, and CUDA does not start before it is complete; see to the fabric manager", state)})
	case state == "Completed" && status != "" && status != "Success":
		out = append(out, device.Fault{Code: "fabric-error", State: device.Degraded,
			Message: fmt.Sprintf("its registration with the NVLink fabric ended with %q", status)})
	}
	if why := f.complaints(); len(why) > 0 {
		out = append(out, device.Fault{Code: "fabric-degraded", State: device.Degraded,
			Message: "its NVLink fabric is not well: " + strings.Join(why, ", ")})
	}
	return out
}

func (f *fabric) complaints() []string {
	var out []string
	say := func(bad bool, what string) {
		if bad {
			out = append(out, what)
		}
	}
	summary, config := word(f.Summary), word(f.Config)
	say(word(f.Width) == "Degraded", "less bandwidth")
	say(word(f.Route) == "True", "an unhealthy route")
	say(word(f.Recovery) == "True", "a route being recovered")
	say(word(f.Timeout) == "True", "recovery from a timeout")
	say(config != "", "configuration: "+config)
	if len(out) == 0 {
		say(summary != "" && summary != "Healthy", summary)
	}
	return out
}
