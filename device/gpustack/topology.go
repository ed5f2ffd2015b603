package gpustack

import (
	"fmt"

	"polder.dev/polder/device"
)

// topology is what `gpustack-runtime topology --format json` prints of the devices
// of one manufacturer, in the order of `detect`.
type topology struct {
	Manufacturer string  `json:"manufacturer"`
	Distances    [][]int `json:"devices_distances"`
}

// link is what the detector calls a distance of a link faster than PCIe; the others
// are those of nvidia-smi, times ten.
const link = 5

var paths = map[int]device.Path{10: device.PathPIX, 20: device.PathPXB, 30: device.PathPHB, 40: device.PathNode, 50: device.PathSys}

// Join gives devices, as [Read] returned them, the links that an output of
// `gpustack-runtime topology --format json` of the same machine tells of, and to
// those that reach each other over links a fabric. It returns an error that wraps
// device.ErrFormat if it is no such output, and another if it is one of other devices;
// then it changes none.
func Join(output []byte, devices []device.Device) error {
	var all []topology
	if err := decode(output, &all); err != nil {
		return err
	}
	for _, t := range all {
		if t.Manufacturer == "" || len(t.Distances) == 0 {
			return fmt.Errorf("%w of GPUStack's detector: it has no distances", device.ErrFormat)
		}
		if own := of(devices, makers[t.Manufacturer].vendor); len(own) != len(t.Distances) {
			return fmt.Errorf("the topology is of %d devices of %.40q, of which there are %d", len(t.Distances), t.Manufacturer, len(own))
		}
		for _, row := range t.Distances {
			if len(row) != len(t.Distances) {
				return fmt.Errorf("the topology of %.40q has %d rows, but one of them has %d distances", t.Manufacturer, len(t.Distances), len(row))
			}
		}
	}
	for _, t := range all {
		m := makers[t.Manufacturer]
		t.join(m, of(devices, m.vendor))
	}
	return nil
}

// of are the devices of a vendor.
func of(devices []device.Device, vendor string) []*device.Device {
	var out []*device.Device
	for i := range devices {
		if devices[i].Vendor == vendor {
			out = append(out, &devices[i])
		}
	}
	return out
}

// join gives devices of one vendor their links. MIG instances have none but PCIe: the
// detector prints those of their card.
func (t *topology) join(m maker, own []*device.Device) {
	group := make([]int, len(own))
	for i := range group {
		group[i] = i
	}
	for i, row := range t.Distances {
		for j, distance := range row {
			l := device.Link{To: own[j].UUID, Type: "pcie", Path: paths[distance]}
			if distance == link && own[i].Form == device.Whole && own[j].Form == device.Whole {
				l.Type = m.fabric
				merge(group, i, j)
			} else if l.Path == "" {
				continue
			}
			if i != j && l.To != "" && l.Type != "" {
				own[i].Links = append(own[i].Links, l)
				own[i].Note(origin, "links")
			}
		}
	}
	domains(m, own, group)
}

// merge makes one of the groups of i and j.
func merge(group []int, i, j int) {
	from, to := group[i], group[j]
	if from == to {
		return
	}
	for n := range group {
		if group[n] == from {
			group[n] = to
		}
	}
}

// domains gives each group of several a domain, named after the first of its UUIDs.
func domains(m maker, own []*device.Device, group []int) {
	first, count := map[int]string{}, map[int]int{}
	for i, d := range own {
		g := group[i]
		if count[g]++; d.UUID != "" && (first[g] == "" || d.UUID < first[g]) {
			first[g] = d.UUID
		}
	}
	for i, d := range own {
		if g := group[i]; count[g] > 1 && d.Fabric == nil && m.fabric != "" {
			d.Fabric = &device.Fabric{Type: m.fabric}
			if first[g] != "" {
				d.Fabric.Domain = m.fabric + "-" + first[g]
			}
			d.Note(origin, "fabric")
		}
	}
}
