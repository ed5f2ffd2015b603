package kfd

import (
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/drm"
)

// control is the file through which all GPUs of KFD compute.
const control = "/dev/kfd"

// open finds the files of a device in /dev/dri: the one that draws has the number that
// KFD tells, and the card's is that of the same device of the kernel.
func (b *builder) open(f *Found) error {
	minor := f.Node.Properties["drm_render_minor"]
	f.Device.Nodes = nil
	if minor == 0 || minor > 1<<20 {
		return device.Problem{Where: f.Device.PCI.Address, What: "KFD does not tell the number of its file in /dev/dri; containers cannot be given it"}
	}
	render, card := fmt.Sprintf("renderD%d", minor), ""
	if files, ok := b.files.Rendering(render); ok {
		card = files.Card
	}
	nodes, err := drm.Files(b.h, card, render)
	if err != nil {
		return device.Problem{Where: f.Device.PCI.Address, What: fmt.Sprintf("its device file cannot be used: %v; containers cannot be given it", err)}
	}
	f.Device.Nodes = nodes
	return nil
}

// share gives all devices the file of KFD.
func (b *builder) share(found []Found) error {
	if len(found) == 0 {
		return nil
	}
	n, err := b.h.Node(control, true)
	if err != nil {
		return device.Problem{Where: control, What: fmt.Sprintf("cannot be used: %v; no GPU of this machine can compute", err)}
	}
	for i := range found {
		if d := &found[i].Device; len(d.Nodes) > 0 {
			d.Nodes = append([]device.Node{n}, d.Nodes...)
		}
	}
	return nil
}

// join are the links of the i-th device to others that are found and have a UUID. Of
// several to the same, the one over XGMI counts.
func join(found []Found, byNode map[int]int, i int) []device.Link {
	var out []device.Link
	place := map[string]int{}
	for _, l := range found[i].Node.Links {
		j, ok := byNode[l.To]
		if !ok || j == i || found[j].Device.UUID == "" || found[j].Device.UUID == found[i].Device.UUID {
			continue
		}
		link, ok := l.of(found[j].Device.UUID)
		if !ok {
			continue
		}
		at, seen := place[link.To]
		switch {
		case !seen:
			place[link.To] = len(out)
			out = append(out, link)
		case out[at].Type == "pcie" && link.Type != "pcie":
			out[at] = link
		}
	}
	return out
}

// of makes a link of the model. The bandwidth is what all parallel links carry in one
// direction.
func (l *Link) of(to string) (device.Link, bool) {
	out := device.Link{To: to}
	if l.Max <= 1<<40 { // MB/s
		out.Bandwidth = int64(l.Max) * 1e6
	}
	switch l.Type {
	case linkXGMI:
		out.Type = "xgmi"
		if l.Min > 0 && l.Max >= l.Min && l.Max%l.Min == 0 && l.Max/l.Min <= 64 {
			out.Count = int(l.Max / l.Min)
		}
	case linkPCIe:
		out.Type = "pcie"
	default:
		return out, false
	}
	return out, true
}
