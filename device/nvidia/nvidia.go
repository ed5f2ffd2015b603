package nvidia

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/pci"
)

// module is the driver's name in the kernel, on PCI and in proc.
const module = "nvidia"

// unnamed is the product of a GPU that nobody names.
const unnamed = "GPU"

// cardsMax bounds how many GPUs one machine is taken to have. The driver has numbers
// for 32 cards in MIG mode; the largest machines known have 16.
const cardsMax = 256

var family = pci.Family{
	Vendor: "nvidia", Kind: device.GPU, Numbers: []string{"10de"},
	// VGA and 3D controllers. Bridges to NVSwitches, sound and USB are of others.
	Classes: []string{"0300", "0302"}, Only: []string{"0300", "0302"},
	Software: "cuda",
}

// Adapter is the device.Adapter of this room.
type Adapter struct {
	// silent is set while NVML could not be asked when it last was. Discover asks it
	// each time; Measure, which is called often, would wait for it in vain each time.
	silent atomic.Bool
}

// New returns an Adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ device.Adapter = (*Adapter)(nil)
	_ device.Reader  = (*Adapter)(nil)
	_ device.Meter   = (*Adapter)(nil)
)

// Name implements device.Adapter.
func (*Adapter) Name() string { return "nvidia" }

// Owns implements device.Adapter.
func (*Adapter) Owns(f *device.Function) bool { return family.Owns(f) }

// Discover implements device.Adapter.
func (x *Adapter) Discover(ctx context.Context, h *device.Host) ([]device.Device, error) {
	m := look(h)
	if len(m.gpus) == 0 {
		return nil, nil
	}
	if m.loaded() {
		a := ask(ctx, h)
		x.silent.Store(a.log.from != nvml)
		m.errs = append(m.errs, a.errs...)
		m.tell(a)
		m.split(a)
		m.join(a)
		m.open()
	}
	m.unbound()
	return m.devices(), errors.Join(m.errs...)
}

// gpu is one physical GPU, and what the sources say of it.
type gpu struct {
	d device.Device
	// info is what proc says, card what NVML or nvidia-smi says, which from names; nil
	// if they do not.
	info *information
	card *card
	from string
	// parts are its MIG instances, which are devices in its place.
	parts []part
}

// part is a MIG instance and the numbers of its GPU instance and compute instance,
// -1 if unknown.
type part struct {
	d      device.Device
	gi, ci int
}

// machine is all that was found so far.
type machine struct {
	h    *device.Host // nil when a saved output is read
	gpus []*gpu
	errs []error
}

// look finds the GPUs that the PCI bus and the driver's files show.
func look(h *device.Host) *machine {
	m := &machine{h: h}
	cards := informations(h)
	for _, d := range family.Devices(h) {
		g := &gpu{d: d}
		if i, ok := cards[d.PCI.Address]; ok {
			g.info = &i
			delete(cards, d.PCI.Address)
		}
		m.gpus = append(m.gpus, g)
	}
	// A container, or a copy of a few files, may show the driver but not the bus.
	for _, address := range slices.Sorted(maps.Keys(cards)) {
		i := cards[address]
		f := device.Function{Address: address, Vendor: "10de", Driver: module}
		if bus, ok := h.At(address); ok {
			f = *bus
		}
		g := &gpu{d: family.Device(h, &f), info: &i}
		if f.Device == "" {
			g.d.Product = unnamed
		}
		m.gpus = append(m.gpus, g)
	}
	version := driverVersion(h)
	for _, g := range m.gpus {
		if g.info != nil {
			g.inform()
		}
		if g.d.Driver.Version == "" && g.bound() {
			g.d.Driver.Version = version
		}
	}
	return m
}

// inform takes over what the driver's file says.
func (g *gpu) inform() {
	g.d.UUID, g.d.Driver.Firmware = g.info.uuid, g.info.bios
	g.name(g.info.model, "")
	if g.info.excluded {
		g.d.Health = device.Of(device.Fault{Code: "gpu-excluded", State: device.Failed,
			Message: "the driver was told to leave it alone, by its parameter NVreg_ExcludedGpus"})
	}
}

// name sets the product to what the driver calls it, or what the catalogue calls
// that, so that a product has one name wherever it was read. From is the program that
// said it, "" for a file.
func (g *gpu) name(said, from string) {
	if said == "" || said == "Graphics Device" || said == "Unknown" { // it does not know either
		return
	}
	if p, ok := catalogue.ByName(family.Vendor, said); ok {
		g.d.Product = p.Name
		g.d.Note(device.Origin{From: "catalogue"}, "product")
		return
	}
	g.d.Product = strings.TrimPrefix(said, "NVIDIA ")
	delete(g.d.Provenance, "product")
	if from != "" {
		g.d.Note(device.Origin{From: from}, "product")
	}
}

// bound reports whether NVIDIA's driver has the GPU.
func (g *gpu) bound() bool {
	return g.info != nil || g.card != nil || g.d.PCI != nil && g.d.PCI.Driver == module
}

// where is the GPU's place for a Problem.
func (g *gpu) where() string {
	if g.d.PCI != nil {
		return g.d.PCI.Address
	}
	return g.d.UUID
}

// loaded reports whether the driver is there. Without it there is nothing to ask.
func (m *machine) loaded() bool {
	return slices.ContainsFunc(m.gpus, (*gpu).bound) || m.h.Exists(procDir, "version")
}

// unbound complains of GPUs that no program can use for lack of the driver. One that
// vfio-pci has is meant for a virtual machine.
func (m *machine) unbound() {
	for _, g := range m.gpus {
		if g.bound() || g.d.PCI == nil || g.d.PCI.Driver == "vfio-pci" || g.d.Form != device.Whole {
			continue
		}
		what := "has no driver"
		if g.d.PCI.Driver != "" {
			what = "is driven by " + g.d.PCI.Driver
		}
		m.errs = append(m.errs, device.Problem{Where: g.where(),
			What: what + ", so programs cannot use it and little is known of it; install and load the driver " + module})
	}
}

// devices lists what jobs can be given: a GPU, or its instances.
func (m *machine) devices() []device.Device {
	var out []device.Device
	for _, g := range m.gpus {
		if len(g.parts) == 0 {
			out = append(out, g.d)
		}
		for _, p := range g.parts {
			out = append(out, p.d)
		}
	}
	return out
}
