package huawei

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// levels are the words that npu-smi has for the health of a chip, and what they
// mean here. Huawei calls them a general, an important and an urgent alarm. The
// first two are also those of a chip that works; what has failed says Critical.
var levels = map[string]device.State{
	"OK": device.Healthy, "Warning": device.Degraded, "Alarm": device.Degraded, "Critical": device.Failed, "UNKNOWN": device.Unknown,
}

// states are what Huawei's scheduler does about a fault, in the words of its file
// faultCode.json, and the state that such a fault puts a chip in. A request or a
// program that is started again goes on with the chip; one that is to be reset or
// set apart is of no use before that.
var states = map[string]device.State{
	"NotHandle":           device.Healthy,
	"SubHealth":           device.Degraded,
	"RestartRequest":      device.Degraded,
	"RestartBusiness":     device.Degraded,
	"PreSeparateNPU":      device.Degraded, // no new jobs; those that run may end
	"FreeRestartNPU":      device.Failed,
	"RestartNPU":          device.Failed,
	"Reset":               device.Failed,
	"Separate":            device.Failed,
	"SeparateNPU":         device.Failed,
	"ManuallySeparateNPU": device.Failed,
}

// actionFile is where Huawei's scheduler has its table of fault codes, and where one
// may be put: no program of the driver tells what a code means for jobs.
const actionFile = "usr/local/faultCode.json"

// actions are fault codes and what to do about them.
type actions map[string]string

// readActions reads a table of actions and their codes: {"RestartNPUCodes":
// ["8C03A000"], ...}. A code with several actions has the one for the worse state.
func readActions(b []byte) (actions, error) {
	var lists map[string][]string
	if err := json.Unmarshal(b, &lists); err != nil {
		return nil, fmt.Errorf("it is no table of fault codes: %w", err)
	}
	rank := []device.State{device.Healthy, device.Degraded, device.Failed}
	out := actions{}
	for name, codes := range lists {
		action := strings.TrimSuffix(strings.TrimSuffix(name, "Codes"), "Fault")
		state, known := states[action]
		if !known {
			continue
		}
		for _, c := range codes {
			old, has := out[code(c)]
			if !has || slices.Index(rank, states[old]) < slices.Index(rank, state) {
				out[code(c)] = action
			}
		}
	}
	return out, nil
}

// code puts a fault code into one form.
func code(s string) string { return cmp.Or(strings.TrimLeft(strings.ToUpper(s), "0"), "0") }

// judge says of each chip how it is. h is nil if there is no machine.
func judge(h *device.Host, r *report) {
	var table actions
	for _, c := range r.chips {
		if c.values["Error Code"] != "" && table == nil && h != nil {
			if b, err := h.ReadFile(actionFile); err == nil {
				table, _ = readActions(b)
			}
		}
	}
	for _, c := range r.chips {
		c.verdict = c.judge(table)
	}
}

func (c *chip) judge(table actions) device.Health {
	level, known := levels[c.health]
	if !known || level == device.Unknown {
		return device.Health{State: device.Unknown}
	}
	var faults []device.Fault
	messages := strings.Split(c.values["Error Information"], "\n")
	for i, word := range strings.Fields(c.values["Error Code"]) {
		if _, err := strconv.ParseUint(word, 16, 64); err != nil || len(faults) == 64 {
			continue // NA
		}
		f := device.Fault{Code: "ascend-" + strings.ToLower(word), State: level, Message: "npu-smi says " + c.health}
		if i < len(messages) && messages[i] != "" {
			f.Message = messages[i]
		}
		if action := table[code(word)]; action != "" {
			f.State = states[action]
			f.Message += fmt.Sprintf(" (Huawei's action: %s)", action)
		}
		faults = append(faults, f)
	}
	if len(faults) == 0 && level != device.Healthy {
		faults = append(faults, device.Fault{Code: "npu-" + strings.ToLower(c.health), State: level, Message: "npu-smi says " + c.health})
	}
	return device.Of(faults...)
}
