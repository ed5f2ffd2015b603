package huawei

import (
	"cmp"
	"slices"
	"strings"
)

// parser reads the text of npu-smi, from one command or from many one after the
// other, as logs have them. Lines it does not know it passes over.
type parser struct {
	*report
	// npu and chip are what the last command asked for with -i and -c; -1 if not.
	npu, chip int
	// block are the lines "key : value" since the last command or card; open says
	// that they are npu-smi's.
	block []field
	open  bool
	// columns of `npu-smi info -m`, axis of the matrix of `-t topo`, table of
	// `npu-smi info`.
	columns []string
	axis    []label
	table   table
}

type field struct{ key, value string }

func parse(text string) *report {
	p := &parser{report: newReport(), npu: -1, chip: -1}
	p.read(text)
	return p.report
}

// also adds what the command npu-smi with these arguments said.
func (r *report) also(text string, args ...string) {
	p := &parser{report: r, npu: -1, chip: -1}
	p.command(args)
	p.read(text)
}

func (p *parser) read(text string) {
	for line := range strings.Lines(text) {
		p.line(strings.TrimSpace(strings.ToValidUTF8(line, "")))
	}
	p.flush()
	p.finish()
}

func (p *parser) line(s string) {
	switch _, command, is := strings.Cut(s, "npu-smi info"); {
	case s == "":
		p.columns, p.axis = nil, nil
	case s[0] == '|':
		p.row(s)
	case s[0] == '+':
	case is:
		p.flush()
		p.command(strings.Fields(command))
	case strings.Contains(s, "NPU ID") && strings.Contains(s, "Chip Name") && !strings.Contains(s, ":"):
		p.flush()
		p.open, p.columns = false, mapping(s)
		p.flat = p.flat || !slices.Contains(p.columns, "Chip Logic ID")
	case p.columns != nil:
		p.mapped(strings.Fields(s))
	case p.matrix(strings.Fields(s)):
	case strings.Contains(s, ":"):
		p.pair(s)
	default:
		p.flush()
		p.open = false
	}
}

// command notes what a command asks for.
func (p *parser) command(args []string) {
	p.npu, p.chip, p.columns, p.axis, p.table = -1, -1, nil, nil, table{}
	for i := range len(args) - 1 {
		switch args[i] {
		case "-i":
			p.npu = id(args[i+1])
		case "-c":
			p.chip = id(args[i+1])
		}
	}
	p.open = true
}

// names are the columns of `npu-smi info -m`. Each version has some of them.
var names = []string{"NPU ID", "Slot ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID", "Chip Name"}

// mapping reads the head of `npu-smi info -m`.
func mapping(s string) []string {
	var out []string
	for _, n := range names {
		if strings.Contains(s, n) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Compare(strings.Index(s, a), strings.Index(s, b)) })
	return out
}

// mapped reads a row of `npu-smi info -m`. Rows without numbers are the controllers
// of cards ("Mcu"); a card of number -1 is one that does not answer.
func (p *parser) mapped(cells []string) {
	if len(cells) < len(p.columns) {
		p.columns = nil
		return
	}
	last := len(p.columns) - 1
	row := map[string]string{p.columns[last]: strings.Join(cells[last:], " ")}
	for i, c := range p.columns[:last] {
		row[c] = cells[i]
	}
	k := key{id(row["NPU ID"]), id(cmp.Or(row["Chip ID"], "0"))}
	logic, physical := id(row["Chip Logic ID"]), id(row["Chip Phy-ID"])
	if k.npu < 0 || k.chip < 0 || logic < 0 && physical < 0 || strings.EqualFold(row["Chip Name"], "mcu") {
		return
	}
	if c := p.at(k); c != nil {
		p.listed[k] = true
		c.name = cmp.Or(c.name, row["Chip Name"])
		c.logic, c.physical = max(c.logic, logic), max(c.physical, physical)
	}
}

// known are the keys whose values are kept.
var known = map[string]bool{
	"NPU ID": true, "Chip ID": true, "Chip Count": true, "Chip Type": true, "Chip Name": true, "NPU Name": true,
	"VDie ID": true, "Die ID": true, "Serial Number": true, "PCIe Bus Info": true, "Software Version": true, "Firmware Version": true,
	"PCI Vendor ID": true, "PCI Device ID": true, "Subsystem Vendor ID": true, "Subsystem Device ID": true,
	"HBM Capacity(MB)": true, "HBM Usage Rate(%)": true, "DDR Capacity(MB)": true, "DDR Usage Rate(%)": true,
	"Aicore Usage Rate(%)": true, "Aicore Count": true, "NPU Real-time Power(W)": true,
	"Temperature(C)": true, "Temperature (C)": true, "NPU Temperature (C)": true,
	"Health Status": true, "Error Code": true, "Error Information": true,
	"HBM Single Bit Error Count": true, "HBM Double Bit Error Count": true,
	"DDR Single Bit Error Count": true, "DDR Double Bit Error Count": true,
	"Chip Physical ID": true, "Chip Logic ID": true,
}

// pair reads a line "key : value". A card's number begins a block if the block has
// one; a line without a key goes on with the value of the line before.
func (p *parser) pair(s string) {
	k, v, _ := strings.Cut(s, ":")
	f := field{strings.TrimSpace(k), strings.TrimSpace(v)}
	if f.key == "" && len(p.block) > 0 && p.block[len(p.block)-1].key == "Error Information" {
		f.key = "Error Information"
	}
	if f.key == "NPU ID" {
		if slices.ContainsFunc(p.block, func(o field) bool { return o.key == "NPU ID" }) {
			p.flush()
			p.npu, p.chip = -1, -1 // what the command asked for was said
		}
		p.open = true
	}
	if p.open && known[f.key] && len(f.value) < 512 && len(p.block) < 1024 {
		p.block = append(p.block, f)
	}
}
