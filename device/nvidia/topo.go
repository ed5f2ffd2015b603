package nvidia

import (
	"regexp"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

var (
	// style is what sets terminals to underline, which the matrix's head is.
	style   = regexp.MustCompile("\x1b\\[[0-9;]*m")
	gpuForm = regexp.MustCompile(`^GPU([0-9]{1,4})$`)
	nvForm  = regexp.MustCompile(`^NV([0-9]{1,3})$`)
)

// paths are the matrix's words for ways over PCI.
var paths = map[string]device.Path{
	"PIX": device.PathPIX, "PXB": device.PathPXB, "PHB": device.PathPHB, "NODE": device.PathNode, "SYS": device.PathSys,
	"SOC": device.PathSys, // until driver 384
}

// parseMatrix reads the matrix of `nvidia-smi topo -m`, wherever in the text it is:
// the word at row and column, by the cards' indices. Columns of network cards and of
// affinities are passed over.
func parseMatrix(text string) map[[2]int]string {
	cells := map[[2]int]string{}
	var columns []string
	for line := range strings.Lines(text) {
		words := strings.Fields(style.ReplaceAllString(line, ""))
		if len(words) == 0 || !gpuForm.MatchString(words[0]) {
			continue
		}
		if len(words) == 1 || !cell(words[1]) {
			if columns = words; slices.Index(words, "CPU") > 0 {
				columns = words[:slices.Index(words, "CPU")] // "CPU Affinity" and what follows
			}
			continue
		}
		row := cardIndex(words[0])
		for i, w := range words[1:min(len(words), len(columns)+1)] {
			if column := cardIndex(columns[i]); column >= 0 && row < cardsMax && column < cardsMax && cell(w) {
				cells[[2]int{row, column}] = w
			}
		}
	}
	return cells
}

// cardIndex reads "GPU3"; -1 for other columns.
func cardIndex(s string) int {
	if m := gpuForm.FindStringSubmatch(s); m != nil {
		return index(m[1])
	}
	return -1
}

// cell reports whether a word is one of the matrix's.
func cell(s string) bool { return s == "X" || paths[s] != "" || nvForm.MatchString(s) }

// indexed maps the indices that nvidia-smi counts cards by to cards. Its list tells
// them; without it they are in the log's order, if the log has all that the matrix has.
func (m *machine) indexed(a *answer) map[int]*gpu {
	of, uuids := map[*card]*gpu{}, map[string]*gpu{}
	for _, g := range m.gpus {
		if g.card != nil {
			of[g.card] = g
		}
		if g.d.UUID != "" {
			uuids[g.d.UUID] = g
		}
	}
	out := map[int]*gpu{}
	for _, l := range a.list {
		if g := uuids[l.uuid]; g != nil {
			out[l.index] = g
		}
	}
	if len(out) == 0 && len(a.cells) <= len(a.log.cards)*len(a.log.cards) {
		for i, c := range a.log.cards {
			out[i] = of[c]
		}
	}
	return out
}

// link is the way that a word of the matrix tells of.
func link(to, word string) (l device.Link, ok bool) {
	if m := nvForm.FindStringSubmatch(word); m != nil {
		return device.Link{To: to, Type: "nvlink", Count: index(m[1])}, true
	}
	if p := paths[word]; p != "" {
		return device.Link{To: to, Type: "pcie", Path: p}, true
	}
	return l, false
}
