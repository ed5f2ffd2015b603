package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

const must, should = "must", "should"

// rules are the profile's, in the order and with the numbers of its page.
var rules = []rule{
	{"AP-01", must, "a pool is complete: as many slices as it says, all of one generation", complete},
	{"AP-02", must, "profileVersion names a version 1 of the profile", each(version)},
	{"AP-03", must, "kind, vendor, product and form are there and are words of the profile", each(identity)},
	{"AP-04", must, "uuid is there and unique in the pool", unique},
	{"AP-05", must, "memory is told in bytes", each(memory)},
	{"AP-06", must, "an amount that is not known is left out, never zero", each(amounts)},
	{"AP-07", must, "the places on PCI and NUMA bear Kubernetes' own names, and no others", each(place)},
	{"AP-08", must, "health is told by taints, not by attributes", each(taints)},
	{"AP-09", must, "precisions are words of the profile; a speed is of dense operations per second", each(speed)},
	{"AP-10", must, "a fabric's domain comes with its type, the same for all of the domain", fabrics},
	{"AP-11", must, "a part names its whole; parts share counters that are there", parts},
	{"AP-12", must, "emulated is true or is left out, and all of a pool's devices agree", emulation},
	{"AP-13", should, "software names the stack that programs are built on", each(software)},
	{"AP-14", should, "devices are ordered by name, so that the scheduler's choice is stable", order},
	{"AP-15", should, "a driver's version is told", each(driver)},
	{"AP-16", should, "an accelerator tells its memory", each(sized)},
}

// each makes a rule of a check of one device.
func each(check func(*resourcev1.Device) string) func(*pool, func(string, string)) {
	return func(p *pool, fail func(string, string)) {
		for _, d := range p.devices {
			if wrong := check(d); wrong != "" {
				fail(d.Name, wrong)
			}
		}
	}
}

func name(n string) resourcev1.QualifiedName {
	return resourcev1.QualifiedName(profile.Domain + "/" + n)
}

func text(d *resourcev1.Device, n string) string {
	if s := d.Attributes[name(n)].StringValue; s != nil {
		return *s
	}
	return ""
}

func complete(p *pool, fail func(string, string)) {
	newest, n := p.newest(), int64(0)
	for _, s := range p.slices {
		if s.Spec.Pool.Generation != newest {
			fail("", fmt.Sprintf("slice %s is of generation %d, the newest is %d", s.Name, s.Spec.Pool.Generation, newest))
			continue
		}
		n++
	}
	for _, s := range p.slices {
		if s.Spec.Pool.Generation == newest && s.Spec.Pool.ResourceSliceCount != n {
			fail("", fmt.Sprintf("slice %s says there are %d slices; there are %d", s.Name, s.Spec.Pool.ResourceSliceCount, n))
		}
	}
}

func version(d *resourcev1.Device) string {
	v := d.Attributes[name(profile.AttrVersion)].VersionValue
	if v == nil {
		return "has no version " + profile.AttrVersion
	}
	if !strings.HasPrefix(*v, "1.") {
		return "is of version " + *v
	}
	return ""
}

// slug is a vendor's name as the profile writes it.
var slug = regexp.MustCompile(`^[a-z][a-z0-9-]{1,31}$`)

// forms are those of the profile; partForms those of a part that only its whole makes.
var (
	partForms = []device.Form{device.MIG, device.XCP, device.VNPU, device.Share}
	forms     = append([]device.Form{device.Whole, device.VF}, partForms...)
)

func identity(d *resourcev1.Device) string {
	switch {
	case !slices.Contains(device.Kinds(), device.Kind(text(d, profile.AttrKind))):
		return fmt.Sprintf("kind is %q", text(d, profile.AttrKind))
	case !slug.MatchString(text(d, profile.AttrVendor)):
		return fmt.Sprintf("vendor is %q, not a word of lower-case letters, digits and dashes", text(d, profile.AttrVendor))
	case text(d, profile.AttrProduct) == "":
		return "has no product"
	case !slices.Contains(forms, device.Form(text(d, profile.AttrForm))):
		return fmt.Sprintf("form is %q", text(d, profile.AttrForm))
	}
	return ""
}

func unique(p *pool, fail func(string, string)) {
	seen := map[string]string{}
	for _, d := range p.devices {
		u := text(d, profile.AttrUUID)
		if u == "" {
			fail(d.Name, "has no uuid")
		} else if other, twice := seen[u]; twice {
			fail(d.Name, fmt.Sprintf("has the uuid of %s", other))
		}
		seen[u] = d.Name
	}
}

// memoryMin is less than any accelerator has and more than a number of MiB or GiB
// that was meant to be bytes.
const memoryMin = 16 << 20

func memory(d *resourcev1.Device) string {
	if c, ok := d.Capacity[name(profile.CapMemory)]; ok && c.Value.Value() < memoryMin {
		return fmt.Sprintf("has %s bytes of memory; the unit is bytes", c.Value.String())
	}
	return ""
}

func sized(d *resourcev1.Device) string {
	_, ok := d.Capacity[name(profile.CapMemory)]
	if !ok && slices.Contains(device.Accelerators(), device.Kind(text(d, profile.AttrKind))) {
		return "tells no memory"
	}
	return ""
}

func amounts(d *resourcev1.Device) string {
	for n, c := range d.Capacity {
		if strings.HasPrefix(string(n), profile.Domain+"/") && c.Value.Sign() <= 0 {
			return fmt.Sprintf("%s is %s", n, c.Value.String())
		}
	}
	return ""
}

// wrongNames are what drivers call the places for which Kubernetes has names.
var wrongNames = []string{"pciAddress", "pciAddr", "pcieBusID", "pciBusID", "pciRoot", "pcieRoot", "numaNode", "numa"}

func place(d *resourcev1.Device) string {
	for _, n := range wrongNames {
		if _, ok := d.Attributes[name(n)]; ok {
			return n + " stands below " + profile.Domain
		}
	}
	if a, ok := d.Attributes[profile.StdNUMANode]; ok && (a.IntValue == nil || *a.IntValue < 0) {
		return profile.StdNUMANode + " is no number from 0 on; leave it out where there is none"
	}
	if a, ok := d.Attributes[profile.StdPCIBusID]; ok {
		if a.StringValue == nil {
			return profile.StdPCIBusID + " is no string"
		}
		if in, ok := device.Address(*a.StringValue); !ok || in != *a.StringValue {
			return fmt.Sprintf("%s is %q", profile.StdPCIBusID, *a.StringValue)
		}
	}
	return ""
}

func taints(d *resourcev1.Device) string {
	for _, n := range []string{"health", "healthy", "status", "state"} {
		if _, ok := d.Attributes[name(n)]; ok {
			return "has an attribute " + n
		}
	}
	return ""
}

// flopsMin is slower than any accelerator, and more than a number of TFLOPS.
const flopsMin = 1e9

func speed(d *resourcev1.Device) string {
	if a, ok := d.Attributes[name(profile.AttrPrecisions)]; ok && a.StringValue == nil {
		return profile.AttrPrecisions + " is no string"
	}
	for _, w := range strings.Fields(text(d, profile.AttrPrecisions)) {
		if !slices.Contains(device.Precisions(), device.Precision(w)) {
			return fmt.Sprintf("%s has the word %q", profile.AttrPrecisions, w)
		}
	}
	for _, p := range profile.CapFLOPS {
		if c, ok := d.Capacity[name(string(p))]; ok && c.Value.Value() < flopsMin {
			return fmt.Sprintf("%s is %s; the unit is operations per second", p, c.Value.String())
		}
	}
	for _, n := range []string{"cores", "computeUnits"} {
		if _, ok := d.Capacity[name(n)]; ok {
			return n + " means something else with every vendor; publish " + profile.CapShare
		}
	}
	return ""
}

func fabrics(p *pool, fail func(string, string)) {
	types := map[string]string{}
	for _, d := range p.devices {
		domain, kind := text(d, profile.AttrFabricDomain), text(d, profile.AttrFabric)
		if domain == "" {
			continue
		}
		if kind == "" {
			fail(d.Name, "has a fabricDomain and no fabricType")
		} else if other, seen := types[domain]; seen && other != kind {
			fail(d.Name, fmt.Sprintf("fabricDomain %s is of type %s here and %s elsewhere", domain, kind, other))
		} else {
			types[domain] = kind
		}
	}
}

func parts(p *pool, fail func(string, string)) {
	sets := map[string]map[string]resourcev1.Counter{}
	for _, s := range p.slices {
		for _, c := range s.Spec.SharedCounters {
			sets[c.Name] = c.Counters
		}
	}
	for _, d := range p.devices {
		form := device.Form(text(d, profile.AttrForm))
		if slices.Contains(partForms, form) && text(d, profile.AttrParent) == "" {
			fail(d.Name, "is a part and has no parent")
		}
		for _, c := range d.ConsumesCounters {
			for counter := range c.Counters {
				if _, ok := sets[c.CounterSet][counter]; !ok {
					fail(d.Name, fmt.Sprintf("consumes %s of %s, which there is not", counter, c.CounterSet))
				}
			}
		}
	}
}

func emulation(p *pool, fail func(string, string)) {
	n := 0
	for _, d := range p.devices {
		a, ok := d.Attributes[name(profile.AttrEmulated)]
		if ok && (a.BoolValue == nil || !*a.BoolValue) {
			fail(d.Name, "emulated is there and is not true")
		}
		if ok {
			n++
		}
	}
	if n > 0 && n < len(p.devices) {
		fail("", fmt.Sprintf("%d of %d devices are emulated", n, len(p.devices)))
	}
}

func software(d *resourcev1.Device) string {
	kind := device.Kind(text(d, profile.AttrKind))
	if text(d, profile.AttrSoftware) == "" && (kind == device.CPU || slices.Contains(device.Accelerators(), kind)) {
		return "names no software"
	}
	return ""
}

func order(p *pool, fail func(string, string)) {
	if !slices.IsSortedFunc(p.devices, func(a, b *resourcev1.Device) int { return device.CompareNames(a.Name, b.Name) }) {
		fail("", "devices are not in the order of their names")
	}
}

func driver(d *resourcev1.Device) string {
	if text(d, profile.AttrDriver) == "" && text(d, profile.AttrKind) != string(device.CPU) {
		return "tells no driverVersion"
	}
	return ""
}
