// Package cpu finds the processors of a machine, one device per socket: where there
// is no accelerator, they are what computes. Package discovery lists it.
//
// It reads the kernel's files: sys/devices/system/cpu and node say which processors
// are online, which share a socket and a core, and which memory is near; proc/cpuinfo
// says make and instruction sets, and stands in for the rest in sandboxes that show
// no sysfs. Processors that are offline do not count.
//
// It owns no PCI function and no device file, and containers need nothing to use a
// processor. How fast one is, is not known. Memory of nodes without processors, such
// as that of a GPU or behind CXL, belongs to no socket, and neither does that of a
// node that sockets share.
package cpu

import (
	"cmp"
	"context"
	"slices"

	"polder.dev/polder/device"
)

// Adapter is the device.Adapter of this room.
type Adapter struct{}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "cpu" }

// Owns implements device.Adapter. Processors are on no bus.
func (*Adapter) Owns(*device.Function) bool { return false }

// Discover implements device.Adapter. The devices are in the order of the sockets'
// numbers.
func (*Adapter) Discover(_ context.Context, h *device.Host) ([]device.Device, error) {
	text, err := h.ReadFile("proc/cpuinfo")
	info := parse(text)
	sockets := find(h, info)
	if len(sockets) == 0 {
		return nil, nil
	}
	var problem error
	if err != nil || len(info) == 0 {
		problem = device.Problem{Where: "/proc/cpuinfo", What: "does not tell of the processors; their make and instruction sets are not known"}
	}
	memory(h, sockets)
	devices := make([]device.Device, len(sockets))
	for i, s := range sockets {
		devices[i] = describe(s, info)
	}
	return devices, problem
}

// describe makes a device of a socket, with what its processors say of themselves.
func describe(s *socket, info map[int]processor) device.Device {
	d := device.Device{
		Kind: device.CPU, Form: device.Whole, Software: "cpu", Vendor: "unknown-cpu", Product: "processor",
		Units: s.cores, Memory: s.memory, NUMA: s.numa,
		Health: device.Of(), // the kernel runs on it
	}
	var own []processor
	for _, n := range s.cpus {
		if p, ok := info[n]; ok {
			own = append(own, p)
		}
	}
	if len(own) == 0 {
		return d
	}
	d.Vendor = own[0].vendor()
	d.Product = cmp.Or(product(own), d.Product)
	d.Architecture = own[0].architecture()
	d.Features = common(own)
	d.Driver.Firmware = own[0].microcode
	return d
}

// common are the instruction sets that all of the processors have: a program may run
// on any of them.
func common(own []processor) []string {
	out := slices.Clone(own[0].features)
	for _, p := range own[1:] {
		out = slices.DeleteFunc(out, func(f string) bool { return !slices.Contains(p.features, f) })
	}
	return out
}

// Edits implements device.Adapter. A container has its processors already.
func (*Adapter) Edits([]device.Device) device.Edits { return device.Edits{} }
