package device

import (
	"fmt"
	"strconv"
	"strings"
)

// Function is a PCI function, as the bus reports it. All of its fields were read
// from the machine; what was not there is zero.
type Function struct {
	// Address as "0000:3b:00.0": lower case, a domain of at least four hex digits.
	Address string `json:"address"`
	// Vendor, Device, SubVendor, SubDevice and Class in lower-case hex without 0x:
	// "10de", "2330", "10de", "16c1", "030200".
	Vendor    string `json:"vendor"`
	Device    string `json:"device"`
	SubVendor string `json:"subVendor,omitempty"`
	SubDevice string `json:"subDevice,omitempty"`
	Class     string `json:"class,omitempty"`
	// Driver is the kernel module bound to it.
	Driver string `json:"driver,omitempty"`
	// Root is the PCIe root it hangs below, as "pci0000:3a".
	Root string `json:"root,omitempty"`
	// Bridges are the addresses of the bridges between root and function, outermost
	// first.
	Bridges []string `json:"bridges,omitempty"`
	// NUMA node, nil if the machine does not say.
	NUMA *int `json:"-"`
	// Link is the present speed and width, LinkMax what it could be.
	Link    PCIeLink `json:"link,omitzero"`
	LinkMax PCIeLink `json:"linkMax,omitzero"`
	// IOMMUGroup is the number of its group, "" if it has none.
	IOMMUGroup string `json:"iommuGroup,omitempty"`
	// Parent is the address of the physical function of a virtual one.
	Parent string `json:"parent,omitempty"`
	// VFs and VFsMax count the virtual functions that are and that can be.
	VFs    int `json:"vfs,omitempty"`
	VFsMax int `json:"vfsMax,omitempty"`
}

// ID is "vendor:device".
func (f *Function) ID() string { return f.Vendor + ":" + f.Device }

// PCIeLink is a generation and a number of lanes.
type PCIeLink struct {
	Generation int `json:"generation,omitempty"`
	Lanes      int `json:"lanes,omitempty"`
}

// String is "gen5x16", or "" for the zero link.
func (l PCIeLink) String() string {
	if l.Generation == 0 || l.Lanes == 0 {
		return ""
	}
	return fmt.Sprintf("gen%dx%d", l.Generation, l.Lanes)
}

// Address puts a PCI address as a tool writes it into the one form of
// [Function.Address]. It accepts domains of eight digits (NVML, Hyper-V, Intel
// VMD), a missing domain and function, and upper case. ok is false if s is no PCI
// address.
func Address(s string) (address string, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	parts := strings.Split(s, ":")
	if len(parts) == 2 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) != 3 {
		return "", false
	}
	slot, function, has := strings.Cut(parts[2], ".")
	if !has {
		function = "0"
	}
	domain, ok1 := hex(parts[0], 0xffffffff)
	bus, ok2 := hex(parts[1], 0xff)
	dev, ok3 := hex(slot, 0x1f)
	fn, ok4 := hex(function, 7)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return "", false
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", domain, bus, dev, fn), true
}

func hex(s string, most uint64) (uint64, bool) {
	if len(s) > 8 || strings.ContainsAny(s, "+-_x") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && n <= most
}
