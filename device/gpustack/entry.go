package gpustack

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/huawei"
)

// entry is one device as the detector prints it. Sizes are in MiB, rates in percent,
// power in watts.
type entry struct {
	Manufacturer string   `json:"manufacturer"`
	Index        *int     `json:"index"`
	Name         string   `json:"name"`
	UUID         string   `json:"uuid"`
	Driver       string   `json:"driver_version"`
	Runtime      string   `json:"runtime_version"`
	Capability   string   `json:"compute_capability"`
	Cores        *float64 `json:"cores"`
	Busy         *float64 `json:"cores_utilization"`
	Memory       *float64 `json:"memory"`
	Used         *float64 `json:"memory_used"`
	Status       string   `json:"memory_status"`
	Temperature  *float64 `json:"temperature"`
	PowerLimit   *float64 `json:"power"`
	Power        *float64 `json:"power_used"`
	Appendix     appendix `json:"appendix"`
}

// appendix is what only some vendors have.
type appendix struct {
	Arch     string `json:"arch_family"`
	BDF      string `json:"bdf"`
	NUMA     string `json:"numa"`
	Physical *int   `json:"physical_id"`
	Minor    *int   `json:"minor_number"`
	Card     *int   `json:"card_id"`
	Render   *int   `json:"renderd_id"`
	Cluster  string `json:"fabric_cluster_uuid"`
	Clique   *int   `json:"fabric_clique_id"`
	// Parts are the MIG instances of a card; they lack the manufacturer.
	Parts []entry `json:"mig_devices"`
}

// devices are the card, or the parts it is cut into.
func (e *entry) devices(m maker) []device.Device {
	whole := e.device(m)
	if len(e.Appendix.Parts) == 0 {
		return []device.Device{whole}
	}
	var out []device.Device
	for i := range min(len(e.Appendix.Parts), 64) {
		part := &e.Appendix.Parts[i]
		d := part.device(m)
		d.Form, d.Profile, d.Parent, d.Product = device.MIG, plain(part.Name), whole.UUID, whole.Product
		d.Fabric, d.Nodes = nil, nil
		if d.PCI == nil {
			d.PCI, d.NUMA = whole.PCI, whole.NUMA
		}
		d.Note(origin, "profile", "parent")
		out = append(out, d)
	}
	return out
}

func (e *entry) device(m maker) device.Device {
	d := device.Device{Kind: m.kind, Vendor: m.vendor, Software: m.software, Form: device.Whole, Health: e.health(), Reading: e.reading()}
	d.Note(origin, "product", "uuid", "memory", "health", "reading")
	if address, ok := device.Address(e.Appendix.BDF); ok {
		d.PCI = &device.Function{Address: address}
		d.Note(origin, "pci")
	}
	if n, err := strconv.Atoi(e.Appendix.NUMA); err == nil && n >= 0 && n < 1<<16 {
		d.NUMA = &n
		d.Note(origin, "numa")
	}
	e.name(&d, m)
	if n, ok := mebibytes(e.Memory); ok {
		d.Memory = n
	}
	if n := e.Cores; m.cores && n != nil && *n >= 1 && *n < 1<<20 {
		d.Units = int(*n)
		d.Note(origin, "units")
	}
	d.Driver.Version = plain(e.Driver)
	if m.vendor == "nvidia" { // for others it is what is installed on the host
		d.Driver.Stack = plain(e.Runtime)
	}
	if d.Driver != (device.Driver{}) {
		d.Note(origin, "driver")
	}
	d.Fabric = e.fabric(m)
	d.Nodes = e.nodes(m)
	return d
}

// name sets what the device is called, in the catalogue's words if it has them, and
// its identity.
func (e *entry) name(d *device.Device, m maker) {
	d.UUID = plain(e.UUID)
	said := plain(e.Name)
	if m.vendor == "huawei" {
		d.UUID, said = huawei.UUID(e.UUID), huawei.Product(said)
	}
	if strings.HasPrefix(e.Capability, "gfx") {
		d.Architecture = plain(e.Capability)
		d.Note(origin, "architecture")
	}
	if p, ok := catalogue.ByName(m.vendor, said); ok {
		d.Product = p.Name
		d.Note(device.Origin{From: "catalogue"}, "product")
		return
	}
	if rest := strings.TrimPrefix(said, e.Manufacturer+" "); len(rest) < len(said) {
		said = rest
	}
	for _, maker := range []string{"NVIDIA ", "AMD "} {
		said = strings.TrimPrefix(said, maker)
	}
	d.Product = cmp.Or(said, "device without a name")
}

// health is that of the memory, of which alone the detector speaks.
func (e *entry) health() device.Health {
	switch e.Status {
	case "healthy":
		return device.Of()
	case "unhealthy":
		return device.Of(device.Fault{Code: "memory-unhealthy", State: device.Degraded, Message: "the memory has had errors"})
	}
	return device.Health{State: device.Unknown}
}

func (e *entry) reading() *device.Reading {
	r := device.Reading{Temperature: positive(e.Temperature), Power: positive(e.Power), PowerLimit: positive(e.PowerLimit)}
	if e.Busy != nil && *e.Busy >= 0 && *e.Busy <= 100 {
		r.Utilization = new(*e.Busy / 100)
	}
	if n, ok := mebibytes(e.Used); ok {
		r.MemoryUsed = new(n)
	}
	if r.Utilization == nil && r.MemoryUsed == nil && r.Temperature == nil && r.Power == nil && r.PowerLimit == nil {
		return nil
	}
	return &r
}

// fabric is that of several machines. One within a machine has a cluster of zeros;
// [Join] knows who is in it.
func (e *entry) fabric(m maker) *device.Fabric {
	cluster := strings.ToLower(plain(e.Appendix.Cluster))
	if strings.Trim(cluster, "0-") == "" || e.Appendix.Clique == nil || len(cluster) > 36 {
		return nil
	}
	return &device.Fabric{Type: m.fabric, Domain: fmt.Sprintf("%s.%d", cluster, *e.Appendix.Clique)}
}

// nodes are the files whose numbers are printed. Those that all devices of a vendor
// share are not.
func (e *entry) nodes(m maker) []device.Node {
	var out []device.Node
	add := func(pattern string, n *int) {
		if n != nil && *n >= 0 && *n < 1<<20 {
			out = append(out, device.Node{Path: fmt.Sprintf(pattern, *n), Type: "c"})
		}
	}
	switch m.vendor {
	case "huawei":
		add("/dev/davinci%d", e.Appendix.Physical)
	case "nvidia":
		add("/dev/nvidia%d", e.Appendix.Minor)
	case "amd", "hygon", "metax":
		add("/dev/dri/card%d", e.Appendix.Card)
		add("/dev/dri/renderD%d", e.Appendix.Render)
	}
	return out
}

// mebibytes are bytes of a size.
func mebibytes(n *float64) (int64, bool) {
	if n == nil || !(*n >= 0 && *n < 1<<30) {
		return 0, false
	}
	return int64(*n * (1 << 20)), true
}

func positive(n *float64) *float64 {
	if n == nil || !(*n >= 0 && *n < 1e6) {
		return nil
	}
	return new(*n)
}
