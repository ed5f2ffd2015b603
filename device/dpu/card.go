package dpu

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// portsMax bounds the ports of a function that are looked at. A card that switches
// has one more for every virtual function.
const portsMax = 2048

// card is a DPU: its functions, by address, and what was read of them.
type card struct {
	line      *line
	functions []*device.Function
	ports     []port
	uuid      string // "" if nothing tells it
	firmware  string
}

// port is a way into a network.
type port struct {
	net  string // the kernel's network device, "" if none
	rdma string // the directory of the port of an RDMA device, "" if none
	up   bool
}

// gather returns the cards of a machine, by the address of their first function.
func gather(h *device.Host) []*card {
	byPlace := map[string]*card{}
	var out []*card
	var at map[string]*device.Function
	for _, f := range h.Owned(func(f *device.Function) bool { return f.Parent == "" && of(f) != nil }) {
		l := of(f)
		if at == nil {
			at = map[string]*device.Function{}
			for i := range h.Functions {
				at[h.Functions[i].Address] = &h.Functions[i]
			}
		}
		where := l.Vendor + " " + place(l, f, at)
		c := byPlace[where]
		if c == nil {
			c = &card{line: l}
			byPlace[where] = c
			out = append(out, c)
		}
		c.functions = append(c.functions, f)
	}
	for _, c := range out {
		// Network functions first: a core or management function has no port.
		slices.SortStableFunc(c.functions, func(a, b *device.Function) int {
			return cmp.Or(strings.Compare(network(a), network(b)), strings.Compare(a.Address, b.Address))
		})
	}
	return out
}

func network(f *device.Function) string {
	if strings.HasPrefix(f.Class, "02") {
		return ""
	}
	return "z"
}

// place is the same for the functions of a card: their slot, or the upper port of the
// switch on the card, which is of the same vendor.
func place(l *line, f *device.Function, at map[string]*device.Function) string {
	slot, _, _ := strings.Cut(f.Address, ".")
	if !l.behind {
		return slot
	}
	for _, b := range slices.Backward(f.Bridges) {
		bridge, ok := at[b]
		if !ok || bridge.Vendor != f.Vendor {
			break
		}
		slot = b
	}
	return slot
}

// joined puts cards together that are one: a card in two slots has the same image on
// both.
func joined(cards []*card) []*card {
	byUUID := map[string]*card{}
	var out []*card
	for _, c := range cards {
		key := c.functions[0].ID() + " " + c.uuid
		if first := byUUID[key]; first != nil && c.uuid != "" {
			first.functions = append(first.functions, c.functions...)
			first.ports = append(first.ports, c.ports...)
			continue
		}
		byUUID[key] = c
		out = append(out, c)
	}
	return out
}

// dir is where the files of a function are.
func dir(f *device.Function) string { return "sys/bus/pci/devices/" + f.Address }

// read finds the ports of c, and what tells it from other cards. All RDMA devices of
// a card have its GUID; drivers without RDMA tell a serial number to devlink.
func (c *card) read(h *device.Host, told *answers) {
	serial := ""
	for _, f := range c.functions {
		own := told.of(f)
		serial = cmp.Or(serial, own.serial())
		rdma := h.Dir(dir(f), "infiniband")
		for _, name := range rdma[:min(len(rdma), portsMax)] {
			at := path.Join(dir(f), "infiniband", name)
			if guid := guid(h.String(at, "sys_image_guid")); guid != "" && c.uuid == "" {
				c.uuid = c.line.Vendor + "-guid-" + guid
			}
			c.firmware = cmp.Or(c.firmware, word(h.String(at, "fw_ver")))
			for _, n := range h.Dir(at, "ports") {
				p := port{rdma: path.Join(at, "ports", n)}
				p.up = strings.HasSuffix(h.String(p.rdma, "state"), ": ACTIVE")
				c.ports = append(c.ports, p)
			}
		}
		nets := h.Dir(dir(f), "net")
		for _, name := range nets[:min(len(nets), portsMax)] {
			at := path.Join(dir(f), "net", name)
			if uplink(h.String(at, "phys_port_name")) {
				c.ports = append(c.ports, port{net: name, up: h.String(at, "operstate") == "up"})
			}
		}
	}
	if c.uuid == "" && serial != "" {
		c.uuid = c.line.Vendor + "-" + serial
	}
}

// uplink tells a port of the card, "p0" or without a name, from one that stands for
// a function behind the card's switch, "pf0vf3" (Documentation/networking/switchdev).
func uplink(physPortName string) bool {
	n, ok := strings.CutPrefix(physPortName, "p")
	return physPortName == "" || ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// guid reads "b83f:d203:00ab:cdef"; "" if it is none, or nobody has set it.
func guid(s string) string {
	hex := strings.ReplaceAll(strings.ToLower(s), ":", "")
	if len(hex) != 16 || strings.Trim(hex, "0123456789abcdef") != "" || strings.Trim(hex, "0") == "" {
		return ""
	}
	return hex
}

// word is what a program or driver calls something, if it is fit to be printed.
func word(s string) string {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }) || strings.Trim(s, "-0") == "" {
		return ""
	}
	return s
}
