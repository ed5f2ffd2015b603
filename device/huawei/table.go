package huawei

import (
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// table is the state of reading the table of `npu-smi info`. Each chip has two rows
// under two heads, whose columns differ by version: the second head names the chip's
// number of the driver "Phy-ID" (910C), the logical one "Device" (310P), or neither
// (910A, 910B), and has HBM or not. The 950 has a column more and no chips.
type table struct {
	// first and second are the columns of the heads, by cell.
	first, second [][]string
	// card is the first row of the chip whose second row comes next.
	card map[string]string
}

// spelt makes names of columns that are two words one.
var spelt = strings.NewReplacer("NPU ID", "NPU", "NPU Util(%)", "AICore(%)")

// row reads a row of a table.
func (p *parser) row(s string) {
	cells := strings.Split(strings.Trim(s, "|"), "|")
	t := &p.table
	switch {
	case strings.Contains(s, "Version:"):
		_, v, _ := strings.Cut(s, "Version:")
		if f := strings.Fields(v); len(f) > 0 && f[0] != "|" {
			p.version = f[0]
		}
	case strings.Contains(s, "Process"):
		*t = table{} // the table of processes
	case strings.HasPrefix(strings.TrimSpace(cells[0]), "NPU") && strings.Contains(s, "Health"):
		*t = table{first: heads(cells)}
		p.flat = p.flat || strings.Contains(cells[0], "NPU ID")
	case t.first != nil && t.second == nil && strings.Contains(s, "Bus-Id"):
		t.second = heads(cells)
	case t.second != nil && len(cells) == len(t.second):
		if row := zip(t.second, cells); t.card != nil && isAddress(row["Bus-Id"]) {
			p.listedRow(t.card, row)
		} else if t.card = zip(t.first, cells); id(t.card["NPU"]) < 0 {
			t.card = nil
		}
	}
}

// isAddress reports whether a cell is an address: that is what tells the second row of
// a chip from the first of the next.
func isAddress(s string) bool {
	_, ok := device.Address(s)
	return ok && strings.Contains(s, ":") || s == "NA"
}

func heads(cells []string) [][]string {
	out := make([][]string, len(cells))
	for i, c := range cells {
		out[i] = strings.Fields(spelt.Replace(c))
	}
	return out
}

// zip gives the values of a row their names. A column of usage has two values with a
// slash; a name may have spaces. A cell with more or fewer values than its head has
// columns is left out.
func zip(head [][]string, cells []string) map[string]string {
	out := map[string]string{}
	for i := range min(len(head), len(cells)) {
		rest := strings.Fields(strings.ReplaceAll(cells[i], "/", " / "))
		row := map[string]string{}
		for n, name := range head[i] {
			take := 1
			if strings.Contains(name, "Usage") {
				take = 3
			} else if name == "Name" && n == len(head[i])-1 {
				take = len(rest)
			}
			if take == 0 || take > len(rest) {
				row, rest = nil, nil
				break
			}
			row[name], rest = strings.Join(rest[:take], " "), rest[take:]
		}
		if len(rest) > 0 {
			continue
		}
		for k, v := range row {
			out[k] = v
		}
	}
	return out
}

// listedRow notes a chip of the table.
func (p *parser) listedRow(card, row map[string]string) {
	k := key{npu: id(card["NPU"])}
	if n, has := row["Chip"]; has {
		k.chip = id(n)
	}
	if k.npu < 0 || k.chip < 0 {
		return
	}
	c := p.at(k)
	if c == nil {
		return
	}
	p.listed[k] = true
	c.name, c.health = card["Name"], card["Health"]
	c.power, c.temperature, c.busy = meter(card["Power(W)"]), meter(card["Temp(C)"]), meter(row["AICore(%)"])
	c.physical, c.logic = max(c.physical, id(row["Phy-ID"])), max(c.logic, id(row["Device"]))
	if a, ok := device.Address(row["Bus-Id"]); ok {
		c.bus = a
	}
	for _, kind := range []string{"HBM-Usage(MB)", "Memory-Usage(MB)"} {
		used, total, _ := strings.Cut(row[kind], " / ")
		if n, ok := mebibytes(total); ok && n > 0 {
			c.memory = n
			if c.used, ok = mebibytes(used); !ok {
				c.used = -1
			}
			break
		}
	}
}

// meter reads a number of the table; nil for NA and -.
func meter(s string) *float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0 && n < 1e6) {
		return nil
	}
	return &n
}
