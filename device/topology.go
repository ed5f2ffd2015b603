package device

import (
	"fmt"
	"strings"
)

// Between tells how b is reached from a, which are on one machine: over a link that
// is known, else over a fabric that both are in, else over PCI. What is not known is
// zero.
func Between(a, b *Device) Link {
	l := Link{To: b.UUID}
	for _, known := range a.Links {
		if known.To == b.UUID {
			l = known
			break
		}
	}
	if l.Path == "" {
		l.Path = pathOf(a, b)
	}
	if l.Type == "" && a.Fabric != nil && b.Fabric != nil && a.Fabric.Domain != "" && a.Fabric.Domain == b.Fabric.Domain {
		l.Type = a.Fabric.Type
	}
	if l.Type == "" && l.Path != "" {
		l.Type = "pcie"
	}
	return l
}

// String is a link in one word, as nvidia-smi writes it: "NV18", "XGMI", "PXB".
func (l Link) String() string {
	switch l.Type {
	case "pcie", "":
		if l.Path == "" {
			return "?"
		}
		return string(l.Path)
	case "nvlink":
		if l.Count > 0 {
			return fmt.Sprintf("NV%d", l.Count)
		}
	}
	return strings.ToUpper(l.Type)
}

// pathOf compares places on the PCI bus: two devices behind one switch share the port
// of the root and the upper port of the switch.
func pathOf(a, b *Device) Path {
	if a.PCI != nil && b.PCI != nil {
		if a.PCI.Address == b.PCI.Address {
			return PathPIX // two chips of one function
		}
		if a.PCI.Root != "" && a.PCI.Root == b.PCI.Root {
			common := 0
			x, y := a.PCI.Bridges, b.PCI.Bridges
			for common < min(len(x), len(y)) && x[common] == y[common] {
				common++
			}
			switch apart := len(x) + len(y) - 2*common; {
			case common == 0:
				return PathPHB
			case apart <= 2:
				return PathPIX
			}
			return PathPXB
		}
	}
	switch {
	case a.NUMA == nil || b.NUMA == nil:
		if a.PCI != nil && b.PCI != nil && a.PCI.Root != "" && b.PCI.Root != "" {
			return PathSys // different roots, and no word of where
		}
		return ""
	case *a.NUMA == *b.NUMA:
		return PathNode
	}
	return PathSys
}
