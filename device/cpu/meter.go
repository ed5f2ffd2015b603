package cpu

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/hwmon"
)

const powercap = "sys/class/powercap"

// Measure implements device.Meter. Temperature is that of the whole socket (coretemp;
// k10temp where there is one socket). Energy and its limit come from RAPL
// (Documentation/power/powercap); only root may read the energy, and the counter
// starts again at zero when it is full. MemoryUsed leaves out what the kernel would
// give back, such as the cache of files.
func (*Adapter) Measure(_ context.Context, h *device.Host, devices []device.Device) error {
	sockets := find(h, parse([]byte(h.String("proc/cpuinfo"))))
	memory(h, sockets)
	var missing error
	for i := range devices {
		d := &devices[i]
		n := order(d, i)
		if n >= len(sockets) {
			missing = device.Problem{Where: d.Name, What: fmt.Sprintf("is not online any more: there are %d sockets; look for devices again", len(sockets))}
			d.Health, d.Reading = device.Health{State: device.Unknown}, nil
			continue
		}
		s := sockets[n]
		alone := len(sockets) == 1
		r := device.Reading{Temperature: temperature(h, s, alone), MemoryUsed: used(h, s)}
		rapl(h, s, &r)
		d.Health = device.Of()
		if alone {
			d.Health = device.Of(ecc(h, &r)...)
		}
		d.Reading = &r
	}
	return missing
}

// order is which socket a device is: that of its name, else of its place in the list.
func order(d *device.Device, place int) int {
	if digits, ok := strings.CutPrefix(d.Name, string(device.CPU)+"-"); ok {
		if n := natural(digits); n >= 0 {
			return n
		}
	}
	return place
}

func temperature(h *device.Host, s *socket, alone bool) *float64 {
	const platform = "sys/devices/platform"
	label := fmt.Sprintf("Package id %d", s.id)
	for _, n := range numbered(h, platform, "coretemp.", nodesMax) {
		if m, ok := hwmon.Find(h, fmt.Sprintf("%s/coretemp.%d", platform, n), "coretemp"); ok {
			if t := m.Temperature(label); t != nil {
				return t
			}
		}
	}
	if !alone {
		return nil // k10temp does not say which socket it is of
	}
	const k10temp = "sys/bus/pci/drivers/k10temp"
	for _, e := range h.Dir(k10temp) {
		if _, ok := device.Address(e); !ok {
			continue
		}
		if m, ok := hwmon.Find(h, path.Join(k10temp, e), "k10temp"); ok {
			if t := m.Temperature("Tctl"); t != nil {
				return t
			}
		}
	}
	return nil
}

// used is the memory of the socket that is neither free nor easily freed.
func used(h *device.Host, s *socket) *int64 {
	if s.memory == 0 {
		return nil
	}
	if len(s.nodes) == 0 {
		m := meminfo(h, "proc")
		available, ok := m["MemAvailable"]
		if !ok || available > s.memory {
			return nil
		}
		return new(s.memory - available)
	}
	n := s.memory
	for _, node := range s.nodes {
		m := meminfo(h, fmt.Sprintf("%s/node%d", nodes, node))
		if _, ok := m["MemFree"]; !ok {
			return nil
		}
		n -= m["MemFree"] + m["Active(file)"] + m["Inactive(file)"] + m["SReclaimable"]
	}
	if n < 0 {
		return nil
	}
	return &n
}

// rapl reads the counter of the zone that is the whole socket, "package-0".
func rapl(h *device.Host, s *socket, r *device.Reading) {
	for _, e := range h.Dir(powercap) {
		dir := path.Join(powercap, e)
		if !strings.HasPrefix(e, "intel-rapl:") || h.String(dir, "name") != "package-"+strconv.Itoa(s.id) {
			continue
		}
		if n, ok := h.Int(dir, "energy_uj"); ok && n >= 0 {
			r.Energy = new(float64(n) / 1e6)
		}
		if n, ok := h.Int(dir, "constraint_0_power_limit_uw"); ok && n > 0 && h.String(dir, "constraint_0_name") == "long_term" {
			r.PowerLimit = new(float64(n) / 1e6)
		}
		return
	}
}

// ecc counts the errors of memory that the kernel's EDAC drivers saw since they were
// loaded. They do not say which socket a memory controller is of.
func ecc(h *device.Host, r *device.Reading) []device.Fault {
	const dir = "sys/devices/system/edac/mc"
	for _, n := range numbered(h, dir, "mc", nodesMax) {
		for file, name := range map[string]string{"ce_count": "ecc-corrected", "ue_count": "ecc-uncorrected"} {
			if count, ok := h.Int(fmt.Sprintf("%s/mc%d", dir, n), file); ok && count >= 0 && count < 1<<50 {
				if r.Errors == nil {
					r.Errors = map[string]int64{}
				}
				r.Errors[name] += count
			}
		}
	}
	if n := r.Errors["ecc-uncorrected"]; n > 0 {
		return []device.Fault{{Code: "ecc-uncorrected", Message: fmt.Sprintf("its memory had %d errors that could not be corrected", n), State: device.Degraded}}
	}
	return nil
}
