package dpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/hwmon"
)

// device makes a device of c.
func (c *card) device(h *device.Host, told *answers) (device.Device, error) {
	d := c.line.Device(h, c.functions[0])
	d.Form = device.Whole
	d.UUID = c.uuid
	d.Driver.Firmware = c.firmware
	d.Features = c.features()
	for _, f := range c.functions {
		own := told.of(f)
		from := device.Origin{From: program}
		if s := own.serial(); d.Serial == "" && s != "" {
			d.Serial = s
			d.Note(from, "serial")
			if strings.HasSuffix(d.UUID, "-"+s) {
				d.Note(from, "uuid")
			}
		}
		if v := own.firmware(); d.Driver.Firmware == "" && v != "" {
			d.Driver.Firmware = v
			d.Note(from, "driver.firmware")
		}
	}
	d.Health = c.health(told)
	var err error
	d.Nodes, err = c.nodes(h)
	return d, err
}

// features are what a program may ask of a card.
func (c *card) features() []string {
	has := map[string]bool{}
	for _, f := range c.functions {
		has["ethernet"] = has["ethernet"] || strings.HasPrefix(f.Class, "0200")
		has["infiniband"] = has["infiniband"] || strings.HasPrefix(f.Class, "0207")
		has["sriov"] = has["sriov"] || f.VFsMax > 0
	}
	has["rdma"] = slices.ContainsFunc(c.ports, func(p port) bool { return p.rdma != "" })
	var out []string
	for _, name := range []string{"ethernet", "infiniband", "rdma", "sriov"} {
		if has[name] {
			out = append(out, name)
		}
	}
	return out
}

// nodes are the files that libibverbs opens: one for each RDMA device, by the name
// that the kernel gave it, and the connection manager's, which all share.
func (c *card) nodes(h *device.Host) ([]device.Node, error) {
	var out []device.Node
	var errs []error
	for _, f := range c.functions {
		for _, name := range h.Dir(dir(f), "infiniband_verbs") {
			file := chardev.File{Path: "/dev/infiniband/" + name}
			if n, err := fmt.Sscanf(h.String(dir(f), "infiniband_verbs", name, "dev"), "%d:%d", &file.Major, &file.Minor); n != 2 || err != nil || file.Major <= 0 || file.Minor < 0 {
				errs = append(errs, device.Problem{Where: f.Address, What: "the kernel does not tell the numbers of " + file.Path + "; containers are not given it"})
				continue
			}
			n, err := file.Node(h, false)
			if err != nil {
				errs = append(errs, device.Problem{Where: f.Address, What: fmt.Sprintf("its file for RDMA cannot be used: %v", err)})
				continue
			}
			out = append(out, n)
		}
	}
	if len(out) > 0 && h.Exists("sys/class/misc/rdma_cm") {
		if n, err := h.Node("/dev/infiniband/rdma_cm", true); err == nil {
			out = append(out, n)
		}
	}
	return out, errors.Join(errs...)
}

// health is what devlink's reporters say, and that of ports. A port without a cable
// is no fault; that none has a link is worth a word.
func (c *card) health(told *answers) device.Health {
	var faults []device.Fault
	bound := false
	for _, f := range c.functions {
		bound = bound || f.Driver != ""
		for _, x := range told.of(f).faults() { // functions of a card may all tell the same
			if !slices.ContainsFunc(faults, func(y device.Fault) bool { return y.Code == x.Code }) {
				faults = append(faults, x)
			}
		}
	}
	if !bound {
		return device.Health{State: device.Unknown}
	}
	if len(c.ports) > 0 && !slices.ContainsFunc(c.ports, func(p port) bool { return p.up }) {
		faults = append(faults, device.Fault{Code: "no-link", Message: "no port has a link", State: device.Healthy})
	}
	return device.Of(faults...)
}

// counted are the errors of RDMA ports, by the names of their counters
// (Documentation/ABI/stable/sysfs-class-infiniband).
var counted = []string{"symbol_error", "link_downed", "link_error_recovery", "port_rcv_errors", "port_xmit_discards"}

// reading is what the card's meters say, nil if it has none.
func (c *card) reading(h *device.Host) *device.Reading {
	var r device.Reading
	for _, f := range c.functions {
		if s, ok := hwmon.Find(h, dir(f)); ok {
			if t := s.Milli("temp", 1, "input"); t != nil && (r.Temperature == nil || *t > *r.Temperature) {
				r.Temperature = t
			}
		}
	}
	for _, p := range c.ports {
		for _, counter := range counted {
			v, ok := h.Int(p.rdma, "counters", counter)
			if p.rdma == "" || !ok || v < 0 || v >= 1<<50 {
				continue
			}
			if r.Errors == nil {
				r.Errors = map[string]int64{}
			}
			r.Errors[strings.ReplaceAll(counter, "_", "-")] += v
		}
	}
	if r.Temperature == nil && r.Errors == nil {
		return nil
	}
	return &r
}
