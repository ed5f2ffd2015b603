package profile

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/device"
)

// Domain is the prefix of the standard's attributes and capacities, and the name
// of the driver that publishes by it.
const Domain = "accelerator.polder.dev"

// Version of the standard. A new name or value raises the second number; a name
// that is gone or means something else raises the first.
const Version = "1.0.0"

// Attributes, all below Domain. The types are in the comments; what is not marked
// required is left out when it is not known.
const (
	AttrVersion      = "profileVersion"  // version, required: of the standard
	AttrKind         = "kind"            // string, required: gpu npu tpu dpu fpga vpu cpu
	AttrVendor       = "vendor"          // string, required: slug
	AttrProduct      = "product"         // string, required: as the vendor calls it
	AttrUUID         = "uuid"            // string, required: unique on the node
	AttrForm         = "form"            // string, required: pf vf mig xcp vnpu share
	AttrSoftware     = "software"        // string: stack that programs are built on
	AttrArchitecture = "architecture"    // string: as the stack calls it
	AttrPrecisions   = "precisions"      // string: words parted by a space
	AttrPCI          = "pciVendorDevice" // string: "10de:2330"
	AttrSerial       = "serial"          // string
	AttrParent       = "parent"          // string: UUID of the whole, of a part
	AttrPartition    = "partition"       // string: the vendor's name of a part's size
	AttrDriver       = "driverVersion"   // string: as the vendor writes it
	AttrFirmware     = "firmwareVersion" // string
	AttrFabric       = "fabricType"      // string: nvlink xgmi hccs ici neuronlink roce
	AttrFabricDomain = "fabricDomain"    // string, compared for equality only
	AttrFabricIndex  = "fabricIndex"     // int
	AttrHostLink     = "hostLink"        // string: "gen5x16"
	AttrSandbox      = "sandbox"         // string: RuntimeClasses a device works in
	AttrEmulated     = "emulated"        // bool: true on devices that are not there; else left out
)

// Capacities, all below Domain.
const (
	CapMemory          = "memory"          // bytes
	CapMemoryBandwidth = "memoryBandwidth" // bytes per second
	CapShare           = "computeShare"    // thousandths of the whole device
	CapFabric          = "fabricBandwidth" // bytes per second, all links, both directions
)

// CapFLOPS are the precisions whose rate is a capacity, in dense operations per
// second. A device has 32 attributes and capacities at most, so not all are.
var CapFLOPS = []device.Precision{device.FP16, device.BF16, device.FP8, device.INT8}

// The names of Kubernetes' own that the standard uses.
const (
	StdPCIeRoot = "resource.kubernetes.io/pcieRoot"
	StdPCIBusID = "resource.kubernetes.io/pciBusID"
	StdNUMANode = "resource.kubernetes.io/numaNode"
)

// textMax is the API's limit of an attribute of type string or version.
const textMax = resourcev1.DeviceAttributeMaxValueLength

// Publish is a device as the standard says it. A text that is too long for the API
// is cut: it is never one that must be unique, see [uuid].
func Publish(d *device.Device) resourcev1.Device {
	p := published{d: resourcev1.Device{
		Name:       d.Name,
		Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{},
		Capacity:   map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{},
	}}
	version := Version
	p.d.Attributes[Domain+"/"+AttrVersion] = resourcev1.DeviceAttribute{VersionValue: &version}
	p.identity(d)
	p.place(d)
	p.amounts(d)
	p.d.Taints = Taints(d.Health)
	if d.Kind == device.CPU {
		share(&p.d)
	}
	return p.d
}

// published is a device of the API under construction.
type published struct{ d resourcev1.Device }

func (p *published) text(name, value string) {
	if value = strings.ToValidUTF8(value, ""); value == "" {
		return
	}
	if len(value) > textMax {
		value = strings.ToValidUTF8(value[:textMax], "")
	}
	p.d.Attributes[key(name)] = resourcev1.DeviceAttribute{StringValue: &value}
}

func (p *published) number(name string, value int64) {
	p.d.Attributes[key(name)] = resourcev1.DeviceAttribute{IntValue: &value}
}

func (p *published) amount(name string, value int64, format resource.Format) {
	if value > 0 {
		p.d.Capacity[key(name)] = resourcev1.DeviceCapacity{Value: *resource.NewQuantity(value, format)}
	}
}

// key completes a name of the standard; those of Kubernetes have their domain.
func key(name string) resourcev1.QualifiedName {
	if strings.Contains(name, "/") {
		return resourcev1.QualifiedName(name)
	}
	return resourcev1.QualifiedName(Domain + "/" + name)
}

func (p *published) identity(d *device.Device) {
	p.text(AttrKind, string(d.Kind))
	p.text(AttrVendor, d.Vendor)
	p.text(AttrProduct, d.Product)
	p.text(AttrUUID, uuid(d.UUID))
	p.text(AttrForm, string(d.Form))
	p.text(AttrSoftware, d.Software)
	p.text(AttrArchitecture, d.Architecture)
	p.text(AttrSerial, d.Serial)
	p.text(AttrParent, uuid(d.Parent))
	p.text(AttrPartition, d.Profile)
	p.text(AttrDriver, d.Driver.Version)
	p.text(AttrFirmware, d.Driver.Firmware)
	var words []string
	for _, w := range d.Computes() {
		words = append(words, string(w))
	}
	p.text(AttrPrecisions, strings.Join(words, " "))
	p.text(AttrSandbox, strings.Join(sandboxes(d), " "))
	if d.Emulated {
		yes := true
		p.d.Attributes[key(AttrEmulated)] = resourcev1.DeviceAttribute{BoolValue: &yes}
	}
}

// uuid shortens a UUID that is longer than an attribute may be to its end, where
// what tells two of them apart is.
func uuid(s string) string {
	if len(s) > textMax {
		s = s[len(s)-textMax:]
	}
	return strings.ToValidUTF8(s, "")
}

// sandboxes are the RuntimeClasses in which a device can be used. gVisor could pass on
// the calls of NVIDIA's driver and of TPUs (its nvproxy and tpuproxy, both
// experimental), but Polder does not switch that on; a processor needs no passing on.
func sandboxes(d *device.Device) []string {
	if d.Kind == device.CPU {
		return []string{device.SandboxNone, "gvisor", "kata"}
	}
	return []string{device.SandboxNone}
}

func (p *published) place(d *device.Device) {
	if d.NUMA != nil && *d.NUMA >= 0 {
		p.number(StdNUMANode, int64(*d.NUMA))
	}
	if f := d.PCI; f != nil {
		if len(f.Address) == len("0000:00:00.0") { // the standard name knows no longer domains
			p.text(StdPCIBusID, f.Address)
		}
		p.text(StdPCIeRoot, f.Root)
		p.text(AttrPCI, f.ID())
		link := f.Link
		if f.LinkMax.Generation > 0 {
			link = f.LinkMax // the present one is lower on a device that sleeps
		}
		p.text(AttrHostLink, link.String())
	}
	if f := d.Fabric; f != nil {
		p.text(AttrFabric, f.Type)
		p.text(AttrFabricDomain, uuid(f.Domain))
		if f.Index != nil {
			p.number(AttrFabricIndex, int64(*f.Index))
		}
	}
}

func (p *published) amounts(d *device.Device) {
	p.amount(CapMemory, d.Memory, resource.BinarySI)
	p.amount(CapMemoryBandwidth, d.MemoryBandwidth, resource.DecimalSI)
	for _, precision := range CapFLOPS {
		p.amount(string(precision), d.FLOPS[precision], resource.DecimalSI)
	}
	if d.Fabric != nil {
		p.amount(CapFabric, d.Fabric.Bandwidth, resource.DecimalSI)
	}
	if d.Form == device.Whole {
		p.amount(CapShare, 1000, resource.DecimalSI)
	}
}

// share lets many use a device at once. What a pod takes of processors and memory
// is counted by the node, so a request takes nothing of the device.
func share(d *resourcev1.Device) {
	yes := true
	d.AllowMultipleAllocations = &yes
	for name, c := range d.Capacity {
		none := resource.MustParse("0")
		c.RequestPolicy = &resourcev1.CapacityRequestPolicy{Default: &none}
		d.Capacity[name] = c
	}
}

// Taints say the health of a device: a fault that makes it unusable ends pods, one
// that makes it worse keeps new ones away. Health that nobody watches is no fault.
func Taints(h device.Health) []resourcev1.DeviceTaint {
	var out []resourcev1.DeviceTaint
	seen := map[string]bool{}
	for _, f := range h.Faults {
		effect := resourcev1.DeviceTaintEffectNone
		switch f.State {
		case device.Failed:
			effect = resourcev1.DeviceTaintEffectNoExecute
		case device.Degraded:
			effect = resourcev1.DeviceTaintEffectNoSchedule
		case device.Healthy, device.Unknown:
		}
		name := Domain + "/" + word(f.Code)
		if seen[name] || len(out) == resourcev1.DeviceTaintsMaxLength {
			continue
		}
		seen[name] = true
		out = append(out, resourcev1.DeviceTaint{Key: name, Value: string(f.State), Effect: effect})
	}
	return out
}

// word makes of a fault's code what may stand in a label.
func word(code string) string {
	code = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(code))
	if code = strings.Trim(code, "-"); len(code) > 63 {
		code = strings.Trim(code[:63], "-")
	}
	if code == "" {
		return "fault"
	}
	return code
}
