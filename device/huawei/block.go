package huawei

import "maps"

// flush gives the lines of a block to the chips they are about. With a chip named
// once the whole block is about it. With several named, the lines are before the
// name if the block ends with one (-t usages), else after (-t common). With none
// named they are about the chip that the command asked for, or that is the only one.
func (p *parser) flush() {
	block := p.block
	p.block = nil
	npu, count := p.npu, "1"
	var at []int
	for i, f := range block {
		switch f.key {
		case "NPU ID":
			npu = id(f.value)
		case "Chip Count":
			count = f.value
		case "Chip ID":
			at = append(at, i)
		}
	}
	switch {
	case npu < 0 || len(block) == 0:
	case len(at) == 0 && p.chip < 0 && count != "1":
		if p.cards[npu] == nil && len(p.cards) < chipsMax {
			p.cards[npu] = map[string]string{}
		}
		if card := p.cards[npu]; card != nil {
			maps.Copy(card, values(block))
		}
	case len(at) == 0:
		p.give(npu, max(p.chip, 0), block)
	case len(at) == 1:
		p.give(npu, id(block[at[0]].value), block)
	case at[len(at)-1] == len(block)-1:
		from := 0
		for _, i := range at {
			p.give(npu, id(block[i].value), block[from:i])
			from = i + 1
		}
	default:
		for n, i := range at {
			to := len(block)
			if n+1 < len(at) {
				to = at[n+1]
			}
			p.give(npu, id(block[i].value), block[i+1:to])
		}
	}
}

// give notes lines about a chip.
func (p *parser) give(npu, number int, lines []field) {
	if number < 0 {
		return
	}
	c := p.at(key{npu, number})
	if c == nil {
		return
	}
	v := values(lines)
	maps.Copy(c.values, v)
	if n := id(v["Chip Physical ID"]); n >= 0 {
		c.physical = n
	}
	if n := id(v["Chip Logic ID"]); n >= 0 {
		c.logic = n
	}
}

// values are lines by key; of a key that comes again the values are put together.
func values(lines []field) map[string]string {
	out := map[string]string{}
	for _, f := range lines {
		if old := out[f.key]; old != "" && f.key == "Error Information" {
			f.value = old + "\n" + f.value
		}
		out[f.key] = f.value
	}
	return out
}
