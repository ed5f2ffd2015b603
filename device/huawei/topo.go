package huawei

import (
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// label is the name of a row of the matrix of `npu-smi info -t topo`: "NPU3", or
// "Phy-ID3" where cards have two chips.
type label struct {
	kind string
	n    int
}

func labelOf(s string) (label, bool) {
	for _, kind := range []string{"NPU", "Phy-ID"} {
		if n, ok := strings.CutPrefix(s, kind); ok && id(n) >= 0 {
			return label{kind, id(n)}, true
		}
	}
	digits := strings.TrimLeft(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
	return label{}, digits != s && id(digits) >= 0 // of something else: a network card
}

// matrix reads a line of the matrix, and reports whether it is one.
func (p *parser) matrix(cells []string) bool {
	own, ok := labelOf(cells[0])
	if !ok || own.kind == "" {
		return false
	}
	if len(p.axis) > 0 && len(cells) > len(p.axis) {
		if _, head := labelOf(cells[1]); !head {
			for i, other := range p.axis {
				if len(p.links) == chipsMax*chipsMax {
					break
				}
				p.links[[2]label{own, other}] = cells[i+1]
			}
			return true
		}
	}
	var axis []label
	for _, c := range cells {
		l, ok := labelOf(c)
		if !ok && c != "CPU" || len(axis) >= chipsMax {
			return false
		}
		if !ok {
			break // CPU Affinity
		}
		axis = append(axis, l)
	}
	p.axis = axis
	return true
}

// ways are the words of the matrix and what they mean, by its legend. SIO joins the
// chips of one card, HCCS_SW is HCCS through a switch.
var ways = map[string]device.Link{
	"HCCS": {Type: "hccs"}, "HCCS_SW": {Type: "hccs"}, "SIO": {Type: "sio"},
	"PIX": {Type: "pcie", Path: device.PathPIX}, "PXB": {Type: "pcie", Path: device.PathPXB},
	"PHB": {Type: "pcie", Path: device.PathPHB}, "SYS": {Type: "pcie", Path: device.PathSys},
}

// join gives devices, which are those of chips in the same order, their links and
// fabrics. Chips are of one domain if there is a way from one to the other that
// leads over HCCS and SIO only. The domain is named after the first of its UUIDs: no
// other machine has it. (The 910C of several machines can be one domain; npu-smi's
// matrix does not say so.)
func (r *report) join(chips []*chip, devices []device.Device) (unknown bool) {
	at, ok := r.rows(chips)
	group := make([]int, len(devices))
	for i := range group {
		group[i] = i
	}
	hccs := map[int]bool{}
	for pair, word := range r.links {
		i, known1 := at[pair[0]]
		j, known2 := at[pair[1]]
		way, known3 := ways[word]
		if !known1 || !known2 || !known3 || i == j {
			continue
		}
		if way.To = devices[j].UUID; way.To != "" {
			devices[i].Links = append(devices[i].Links, way)
		}
		if way.Type == "pcie" {
			continue
		}
		hccs[i] = hccs[i] || way.Type == "hccs"
		if from, to := group[i], group[j]; from != to {
			for n := range group {
				if group[n] == from {
					group[n] = to
				}
			}
		}
	}
	for g := range devices {
		fabric(devices, group, g, hccs)
	}
	for i := range devices {
		slices.SortFunc(devices[i].Links, func(a, b device.Link) int { return strings.Compare(a.To, b.To) })
		if devices[i].Fabric != nil || len(devices[i].Links) > 0 {
			devices[i].Note(tool, "fabric", "links")
		}
	}
	return !ok
}

// fabric gives the members of a group their fabric.
func fabric(devices []device.Device, group []int, g int, hccs map[int]bool) {
	var members []int
	f := device.Fabric{Type: "sio"}
	for i := range devices {
		if group[i] != g {
			continue
		}
		members = append(members, i)
		if hccs[i] {
			f.Type = "hccs"
		}
		if u := devices[i].UUID; u != "" && (f.Domain == "" || u < f.Domain) {
			f.Domain = u
		}
	}
	if len(members) < 2 {
		return
	}
	if f.Domain != "" {
		f.Domain = f.Type + "-" + f.Domain
	}
	for _, i := range members {
		own := f
		devices[i].Fabric = &own
	}
}

// rows tells which chip a row of the matrix is. "NPU3" is the card 3, or, where that
// does not tell for all rows, the chip of logical number 3. ok is false if it cannot
// be told.
func (r *report) rows(chips []*chip) (map[label]int, bool) {
	numbers := []func(*chip) int{func(c *chip) int { return c.npu }, func(c *chip) int { return c.logic }}
	wanted := map[label]bool{}
	for pair := range r.links {
		if pair[0].kind == "Phy-ID" {
			numbers = []func(*chip) int{func(c *chip) int { return c.physical }}
		}
		wanted[pair[0]] = true
	}
	for _, number := range numbers {
		at, count := map[label]int{}, 0
		for i, c := range chips {
			for _, kind := range []string{"NPU", "Phy-ID"} {
				if l := (label{kind, number(c)}); wanted[l] {
					at[l] = i
					count++
				}
			}
		}
		if len(at) == len(wanted) && count == len(wanted) {
			return at, true
		}
	}
	return nil, false
}
