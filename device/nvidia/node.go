package nvidia

import (
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// open finds the device files. They have the number that the driver gave the card,
// which is not the order nvidia-smi lists cards in.
func (m *machine) open() {
	shared := m.sharedNodes()
	caps := capabilities{h: m.h}
	for _, g := range m.gpus {
		if !g.bound() || g.d.Form != device.Whole {
			continue
		}
		own, ok := m.cardNode(g)
		if !ok {
			continue
		}
		common := append([]device.Node{own}, shared...)
		if g.card != nil && g.card.Fabric.complete() && g.card.Fabric.cluster() != "" {
			common = append(common, m.channel()...)
		}
		g.d.Nodes = common
		for i := range g.parts {
			m.openPart(g, &g.parts[i], common, &caps)
		}
	}
}

// cardNode is the device file of a card.
func (m *machine) cardNode(g *gpu) (device.Node, bool) {
	minor := g.minor()
	if minor < 0 {
		m.errs = append(m.errs, device.Problem{Where: g.where(),
			What: "the number of its device file cannot be read in /" + procDir + "/gpus, so containers cannot be given it"})
		return device.Node{}, false
	}
	n, err := m.node(fmt.Sprintf("/dev/nvidia%d", minor), minor, false)
	if err != nil {
		m.errs = append(m.errs, device.Problem{Where: g.where(),
			What: fmt.Sprintf("its device file cannot be used (%v), so containers cannot be given it; run nvidia-modprobe -c %d", err, minor)})
	}
	return n, err == nil
}

// openPart sets the device files of a MIG instance: the card's, and those that grant
// the use of its GPU instance and its compute instance.
func (m *machine) openPart(g *gpu, p *part, common []device.Node, caps *capabilities) {
	gi := "gi" + strconv.Itoa(p.gi)
	nodes := append([]device.Node{}, common[0])
	for _, name := range []string{gi + "/access", gi + "/ci" + strconv.Itoa(p.ci) + "/access"} {
		n, err := device.Node{}, fmt.Errorf("its number is not in /%s/capabilities", procDir)
		if minor := caps.minor(g.minor(), name); minor >= 0 {
			n, err = m.node("/dev/nvidia-caps/nvidia-cap"+strconv.Itoa(minor), minor, false)
		}
		if err != nil {
			p.d.Nodes = nil
			m.errs = append(m.errs, device.Problem{Where: g.where(),
				What: fmt.Sprintf("the device file of its MIG instance %d/%d cannot be used (%v), so containers cannot be given it", p.gi, p.ci, err)})
			return
		}
		nodes = append(nodes, n)
	}
	p.d.Nodes = append(nodes, common[1:]...)
}

// sharedNodes are the device files that programs need whatever the card. CUDA needs
// the first two; the others serve debuggers and displays.
func (m *machine) sharedNodes() []device.Node {
	var out []device.Node
	for _, name := range []string{"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"} {
		needed := name == "nvidiactl" || name == "nvidia-uvm"
		if !needed && !m.h.Exists("dev", name) {
			continue
		}
		n, err := m.node("/dev/"+name, -1, true)
		if err == nil {
			out = append(out, n)
		} else if needed {
			m.errs = append(m.errs, device.Problem{Where: "/dev/" + name,
				What: fmt.Sprintf("cannot be used (%v), and CUDA needs it; run nvidia-modprobe -c 0 -u", err)})
		}
	}
	return out
}

// channel is what lets jobs on several machines of one NVLink fabric share memory.
// Jobs that are kept apart need channels of their own; the first one is there if the
// administrator wants all jobs to share.
func (m *machine) channel() []device.Node {
	const file = "/dev/nvidia-caps-imex-channels/channel0"
	if !m.h.Exists(strings.TrimPrefix(file, "/")) {
		return nil
	}
	n, err := m.node(file, 0, true)
	if err != nil {
		return nil
	}
	return []device.Node{n}
}

// node describes a device file, and refuses one that has another number than it
// should. Minor -1 is any.
func (m *machine) node(file string, minor int, shared bool) (device.Node, error) {
	n, err := m.h.Node(file, shared)
	if err == nil && minor >= 0 && n.Major != 0 && n.Minor != int64(minor) {
		err = fmt.Errorf("%s has the number %d", file, n.Minor)
	}
	return n, err
}
