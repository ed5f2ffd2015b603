package amd

import (
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// name sets the product from a name that the card or a program gives, where it says
// more than the number on the bus does.
func name(d *device.Device, given string) {
	given = plain(given)
	if given == "" {
		return
	}
	p, ok := catalogue.ByName(d.Vendor, given)
	switch {
	case ok && d.PCI != nil && slices.Contains(p.PCI, d.PCI.ID()):
		d.Product = p.Name // several products may have one number
	case strings.HasPrefix(d.Product, "device "):
		d.Product = given
		delete(d.Provenance, "product")
	}
}

// plain is a name without the vendor's and without the code name before it, as
// pci.ids has it: "Navi 22 [Radeon RX 6700]".
func plain(s string) string {
	s = known(s)
	if before, after, ok := strings.Cut(s, "["); ok && strings.HasSuffix(after, "]") && before != "" {
		s = strings.TrimSuffix(after, "]")
	}
	if strings.HasPrefix(s, "0x") { // rocm-smi prints a number where it knows no name
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(s, "AMD "))
}
