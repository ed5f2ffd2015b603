package aws

import (
	"fmt"
	"maps"
	"slices"

	"polder.dev/polder/device"
)

func sorted(rows map[int]*row) []int { return slices.Sorted(maps.Keys(rows)) }

// connect makes links and fabrics of the numbers that chips are linked to.
func connect(all []*chip) {
	byNumber := map[int]*chip{}
	for _, c := range all {
		byNumber[c.number] = c
	}
	for _, c := range all {
		for _, n := range c.linked {
			if other := byNumber[n]; other != nil && other != c {
				name(c)
				name(other)
				link(c.d, other.d)
			}
		}
	}
	seen := map[*chip]bool{}
	for _, c := range all {
		if group := reach(c, byNumber, seen); len(group) > 1 {
			join(group)
		}
	}
}

// name gives a chip without a serial number a UUID, so that links can lead to it.
func name(c *chip) {
	if c.d.UUID != "" {
		return
	}
	c.d.UUID = fmt.Sprintf("neuron-device-%d", c.number)
	if c.d.PCI != nil {
		c.d.UUID = "neuron-" + c.d.PCI.Address
	}
	c.d.Note(device.Origin{From: "place in the machine"}, "uuid")
}

func link(d, to *device.Device) {
	for i := range d.Links {
		if d.Links[i].To == to.UUID {
			d.Links[i].Count++
			return
		}
	}
	d.Links = append(d.Links, device.Link{To: to.UUID, Type: "neuronlink", Count: 1})
}

// reach returns the chips that can be reached from one, itself first, unless they
// were seen before.
func reach(from *chip, byNumber map[int]*chip, seen map[*chip]bool) []*chip {
	if seen[from] {
		return nil
	}
	seen[from] = true
	group := []*chip{from}
	for i := 0; i < len(group); i++ {
		for _, n := range group[i].linked {
			if c := byNumber[n]; c != nil && !seen[c] {
				seen[c] = true
				group = append(group, c)
			}
		}
	}
	return group
}

// join puts chips into one fabric. Its domain is told from those of other machines by
// the first serial number in it; without serial numbers it is not known.
func join(group []*chip) {
	var serials []string
	for _, c := range group {
		serials = append(serials, c.d.Serial)
	}
	domain := ""
	if first := slices.Min(serials); first != "" {
		domain = "neuronlink-" + first
	}
	for _, c := range group {
		c.d.Fabric = &device.Fabric{Type: "neuronlink", Domain: domain}
	}
}
