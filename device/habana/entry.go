package habana

import (
	"path"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// Where the driver lists its accelerators. The new list has those of other vendors too.
const (
	class    = "sys/class/accel"
	classOld = "sys/class/habanalabs"
)

// entriesMax bounds how many entries are looked at.
const entriesMax = 4096

// entry is an accelerator in the driver's list.
type entry struct {
	// dirs are where its files may be: drivers differ.
	dirs []string
	// pci is the directory of its PCI function.
	pci string
	// number of its device files, and whether they are those of old drivers.
	minor string
	old   bool
}

// list returns the entries, by PCI address.
func list(h *device.Host) map[string]*entry {
	out := map[string]*entry{}
	for _, c := range []struct {
		dir, prefix string
		old         bool
	}{{class, "accel", false}, {classOld, "hl", true}} {
		names := h.Dir(c.dir)
		for _, name := range names[:min(len(names), entriesMax)] {
			number, ok := strings.CutPrefix(name, c.prefix)
			if _, err := strconv.ParseUint(number, 10, 16); !ok || err != nil {
				continue // a control device
			}
			at := path.Join(c.dir, name)
			e := &entry{dirs: []string{path.Join(at, "device"), at}, minor: number, old: c.old}
			address, ok := device.Address(h.Link(at, "device"))
			if !ok { // in some drivers the link leads to what lies between
				address, ok = device.Address(e.text(h, "pci_addr"))
			}
			if _, seen := out[address]; !ok || seen {
				continue
			}
			e.pci = "sys/bus/pci/devices/" + address
			e.dirs = append(e.dirs, e.pci)
			out[address] = e
		}
	}
	return out
}

// text reads a file of one value, "" if there is none.
func (e *entry) text(h *device.Host, file string) string {
	for _, dir := range e.dirs {
		if s := h.String(dir, file); s != "" && len(s) <= 256 {
			return s
		}
	}
	return ""
}

// number reads a file of a number that is not below zero.
func (e *entry) number(h *device.Host, file string) (int64, bool) {
	n, err := strconv.ParseInt(e.text(h, file), 10, 64)
	return n, err == nil && n >= 0
}

// files are the device files: the accelerator's, that by which it is watched, and that
// of its Ethernet ports, which is there if the driver of those is loaded.
func (e *entry) files(h *device.Host) ([]device.Node, error) {
	names := []string{"/dev/accel/accel" + e.minor, "/dev/accel/accel_controlD" + e.minor}
	if e.old {
		names = []string{"/dev/hl" + e.minor, "/dev/hl_controlD" + e.minor}
	}
	for _, verbs := range h.Dir(e.pci, "infiniband_verbs") {
		number, ok := strings.CutPrefix(verbs, "uverbs")
		if _, err := strconv.ParseUint(number, 10, 16); ok && err == nil {
			names = append(names, "/dev/infiniband/"+verbs)
			break
		}
	}
	var nodes []device.Node
	for _, name := range names {
		n, err := h.Node(name, false)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// own returns the number in the path of an accelerator's own file.
func own(file string) (number string, ok bool) {
	for _, prefix := range []string{"/dev/accel/accel", "/dev/hl"} {
		if rest, has := strings.CutPrefix(file, prefix); has {
			if _, err := strconv.ParseUint(rest, 10, 16); err == nil {
				return rest, true
			}
		}
	}
	return "", false
}
