package device

import (
	"maps"
	"slices"
)

// Kind is what sort of thing a device is.
type Kind string

// The kinds. A device that computes graphics and models alike is a GPU; one built
// for models is an NPU, or a TPU if its maker calls it so.
const (
	GPU  Kind = "gpu"
	NPU  Kind = "npu"
	TPU  Kind = "tpu"
	DPU  Kind = "dpu" // a network card that computes
	FPGA Kind = "fpga"
	VPU  Kind = "vpu" // video
	CPU  Kind = "cpu"
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{GPU, NPU, TPU, DPU, FPGA, VPU, CPU} }

// Precision is a number format that a device computes in.
type Precision string

// The precisions that products are compared by.
const (
	FP64 Precision = "fp64"
	FP32 Precision = "fp32"
	FP16 Precision = "fp16"
	BF16 Precision = "bf16"
	FP8  Precision = "fp8"
	FP4  Precision = "fp4"
	INT8 Precision = "int8"
)

// Precisions lists all of them.
func Precisions() []Precision { return []Precision{FP64, FP32, FP16, BF16, FP8, FP4, INT8} }

// Form says whether a device is a whole card or a part of one, and which sort of
// part.
type Form string

// The forms.
const (
	Whole Form = "pf"    // the physical function: the whole card, or one whole chip of it
	VF    Form = "vf"    // a virtual function (SR-IOV)
	MIG   Form = "mig"   // an instance of NVIDIA's multi-instance GPU
	XCP   Form = "xcp"   // a compute partition of AMD's
	VNPU  Form = "vnpu"  // a virtual NPU of Huawei's
	Share Form = "share" // a part that software keeps apart
)

// Device is one unit that a job can be given: a whole card, one chip of a card, a
// partition, or the processors of a socket.
type Device struct {
	// Name is unique on its machine, a DNS label, and the same after a restart: it
	// is made of the kind and the place in the machine, see [Names].
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Vendor is its slug: nvidia, amd, huawei.
	Vendor string `json:"vendor"`
	// Product as its vendor calls it, without the vendor: "H100 SXM5 80GB".
	Product string `json:"product"`
	Family  string `json:"family,omitempty"`
	// Architecture as its software calls it: "hopper", "gfx942", "910b".
	Architecture string `json:"architecture,omitempty"`

	// UUID tells the device from all others on its machine, and, if its vendor
	// gives it one, from all others anywhere. A PCI address does not: two chips of
	// a card may share one.
	UUID   string `json:"uuid"`
	Serial string `json:"serial,omitempty"`
	// Ordinal counts the devices at one PCI address, from 0.
	Ordinal int  `json:"ordinal,omitempty"`
	Form    Form `json:"form"`
	// Profile is the vendor's name of a partition's size: "1g.10gb", "cpx-nps1".
	Profile string `json:"profile,omitempty"`
	// Parent is the UUID of the device that this one is a part of.
	Parent string `json:"parent,omitempty"`

	// PCI is where it is plugged in; nil for what is not on that bus.
	PCI *Function `json:"pci,omitempty"`
	// NUMA is the node of memory it is near to; nil if unknown.
	NUMA *int `json:"numa,omitempty"`

	// Memory of the device in bytes, 0 if unknown.
	Memory int64 `json:"memory,omitempty"`
	// MemoryBandwidth in bytes per second, 0 if unknown.
	MemoryBandwidth int64 `json:"memoryBandwidth,omitempty"`
	// FLOPS is the peak rate of dense operations per second, by precision. A
	// precision that is absent is not known to be supported.
	FLOPS map[Precision]int64 `json:"flops,omitempty"`
	// Units is the number of the vendor's own units of computing (streaming
	// multiprocessors, compute units, AI cores). It compares devices of one product
	// only.
	Units int `json:"units,omitempty"`
	// Features are abilities that programs ask for by name, such as the
	// instruction sets amx_bf16 and sve2 of processors.
	Features []string `json:"features,omitempty"`

	// Software is the stack that programs for it are built on: cuda, rocm, cann.
	Software string `json:"software,omitempty"`
	Driver   Driver `json:"driver,omitzero"`

	// Fabric joins devices without the host's processors; nil if there is none.
	Fabric *Fabric `json:"fabric,omitempty"`
	Links  []Link  `json:"links,omitempty"`

	Health Health `json:"health"`
	// Nodes are the device files a program opens.
	Nodes []Node `json:"nodes,omitempty"`
	// Partitions that the device can be split into, if it can.
	Partitions []Partition `json:"partitions,omitempty"`
	// Reading is what its meters said; nil if they were not read.
	Reading *Reading `json:"reading,omitempty"`

	// Adapter is the room that found the device, and knows what containers need.
	Adapter string `json:"adapter,omitempty"`
	// Provenance says of a field, by its JSON name, where its value comes from. A
	// field without an entry comes from the machine itself.
	Provenance map[string]Origin `json:"provenance,omitempty"`
	// Emulated marks a device that is not there.
	Emulated bool `json:"emulated,omitempty"`
}

// Driver is the software between the device and programs.
type Driver struct {
	// Module of the kernel that drives it.
	Module string `json:"module,omitempty"`
	// Version of the driver, as its vendor writes it.
	Version  string `json:"version,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	// Stack is the newest version of the software stack that the driver serves, for
	// CUDA 13.0 "13.0".
	Stack string `json:"stack,omitempty"`
}

// Fabric is a network among devices: NVLink, XGMI, HCCS, ICI, NeuronLink.
type Fabric struct {
	// Type is its name in lower case.
	Type string `json:"type"`
	// Domain is the same string for all devices that reach each other over the
	// fabric, on this machine or on several, and for no others. It has no meaning
	// but equality. Empty: not known.
	Domain string `json:"domain,omitempty"`
	// Index in the domain, nil if unknown.
	Index *int `json:"index,omitempty"`
	// Bandwidth of all of the device's links together, both directions summed, in
	// bytes per second; 0 if unknown.
	Bandwidth int64 `json:"bandwidth,omitempty"`
}

// Link is a way to another device of the machine.
type Link struct {
	// To is the UUID of the other.
	To string `json:"to"`
	// Type is the fabric's, or "pcie".
	Type string `json:"type"`
	// Count of parallel links, 0 if unknown.
	Count int `json:"count,omitempty"`
	// Bandwidth to the other, in bytes per second, one direction; 0 if unknown.
	Bandwidth int64 `json:"bandwidth,omitempty"`
	// Path is how far the other is by PCI, in the words of [Path].
	Path Path `json:"path,omitempty"`
}

// Path says what lies between two devices of a machine, nearest first. The words
// are those of nvidia-smi, which the field knows.
type Path string

// The paths.
const (
	PathPIX  Path = "PIX"  // at most one PCIe bridge
	PathPXB  Path = "PXB"  // several bridges, not the host's
	PathPHB  Path = "PHB"  // the host bridge
	PathNode Path = "NODE" // several host bridges of one NUMA node
	PathSys  Path = "SYS"  // the link between NUMA nodes
)

// Node is a device file.
type Node struct {
	// Path on the host.
	Path string `json:"path"`
	// Type is c or b.
	Type string `json:"type,omitempty"`
	// Major and Minor number, 0 when they were not read.
	Major int64 `json:"major,omitempty"`
	Minor int64 `json:"minor,omitempty"`
	// Shared is a file that all devices of the vendor need, such as a control
	// device.
	Shared bool `json:"shared,omitempty"`
}

// Partition is a size that a device can be split into.
type Partition struct {
	// Profile is the vendor's name of it.
	Profile string `json:"profile"`
	// Count is how many of it fit on an otherwise empty device.
	Count int `json:"count"`
	// Memory of one in bytes, and Share of the device's computing in thousandths.
	Memory int64 `json:"memory,omitempty"`
	Share  int   `json:"share,omitempty"`
}

// State is how well a device is.
type State string

// The states. Unknown is that of a device nobody watches.
const (
	Healthy  State = "healthy"
	Degraded State = "degraded" // works, but slower or not for long
	Failed   State = "failed"
	Unknown  State = "unknown"
)

// Health is the state and why it is not better.
type Health struct {
	State State `json:"state"`
	// Faults, worst first.
	Faults []Fault `json:"faults,omitempty"`
	// Sound is set if the driver, asked just now, said that the device needs nothing
	// done to it. Faults that were heard of before, see [Listener], are over then.
	Sound bool `json:"-"`
}

// Fault is one thing that is wrong.
type Fault struct {
	// Code is a word for programs, of letters, digits and dashes: "gpu-lost",
	// "xid-79", "ecc-uncorrected".
	Code string `json:"code"`
	// Message is for people.
	Message string `json:"message,omitempty"`
	// State the fault puts the device in.
	State State `json:"state"`
}

// Of returns the health that these faults make: the worst of their states.
func Of(faults ...Fault) Health {
	rank := map[State]int{Failed: 0, Degraded: 1, Unknown: 2, Healthy: 3}
	slices.SortStableFunc(faults, func(a, b Fault) int { return rank[a.State] - rank[b.State] })
	if len(faults) == 0 {
		return Health{State: Healthy}
	}
	return Health{State: faults[0].State, Faults: faults}
}

// Reading is what a device's meters say. A meter that is absent is nil.
type Reading struct {
	// Utilization of computing, 0 to 1.
	Utilization *float64 `json:"utilization,omitempty"`
	// MemoryUsed in bytes.
	MemoryUsed *int64 `json:"memoryUsed,omitempty"`
	// Temperature in degrees Celsius.
	Temperature *float64 `json:"temperature,omitempty"`
	// Power in watts, PowerLimit what it may draw, Energy in joules since some
	// moment, rising.
	Power      *float64 `json:"power,omitempty"`
	PowerLimit *float64 `json:"powerLimit,omitempty"`
	Energy     *float64 `json:"energy,omitempty"`
	// Errors counted since some moment, by the kind of error.
	Errors map[string]int64 `json:"errors,omitempty"`
}

// Origin is where a value comes from.
type Origin struct {
	// From is a file below the machine's root, a program, or "catalogue".
	From string `json:"from"`
	// Confidence in the catalogue's words: H, M or L; empty for what the machine
	// said.
	Confidence string `json:"confidence,omitempty"`
	// Source of a value of the catalogue.
	Source string `json:"source,omitempty"`
}

// Note records where the values of fields, named as in JSON, come from.
func (d *Device) Note(o Origin, fields ...string) {
	if d.Provenance == nil {
		d.Provenance = map[string]Origin{}
	}
	for _, f := range fields {
		d.Provenance[f] = o
	}
}

// Clone returns a copy that shares nothing with d.
func (d *Device) Clone() Device {
	c := *d
	c.FLOPS = maps.Clone(d.FLOPS)
	c.Provenance = maps.Clone(d.Provenance)
	c.Features = slices.Clone(d.Features)
	c.Links = slices.Clone(d.Links)
	c.Nodes = slices.Clone(d.Nodes)
	c.Partitions = slices.Clone(d.Partitions)
	c.Health.Faults = slices.Clone(d.Health.Faults)
	c.PCI, c.NUMA, c.Fabric = copied(d.PCI), copied(d.NUMA), copied(d.Fabric)
	if c.Fabric != nil {
		c.Fabric.Index = copied(d.Fabric.Index)
	}
	if c.Reading = copied(d.Reading); c.Reading != nil {
		r := c.Reading
		r.Utilization, r.MemoryUsed, r.Temperature = copied(r.Utilization), copied(r.MemoryUsed), copied(r.Temperature)
		r.Power, r.PowerLimit, r.Energy, r.Errors = copied(r.Power), copied(r.PowerLimit), copied(r.Energy), maps.Clone(r.Errors)
	}
	return c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
