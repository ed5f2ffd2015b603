package smi

import (
	"context"
	"fmt"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
)

// cardsMax bounds what is believed of a machine.
const cardsMax = 256

// ask has the program tell.
func (p *Program) ask(ctx context.Context, h *device.Host) (Cards, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	run := p.Run
	if run == nil {
		run = func(ctx context.Context, h *device.Host) ([]byte, error) { return h.Run(ctx, p.Name, "-q") }
	}
	out, err := run(ctx, h)
	if err != nil {
		return nil, err
	}
	list, err := p.parse(out)
	cards := Cards{}
	for _, c := range list {
		cards[c.Function.Address] = c
	}
	return cards, err
}

// parse finds the parts of cards, in their order.
func (p *Program) parse(output []byte) ([]*Card, error) {
	head := outline.Read(output)
	var cards []*Card
	seen, numbers := map[string]bool{}, map[int64]*Card{}
	for _, l := range head.Below(p.Heading) {
		c, ok := p.Card(l)
		if !ok || seen[c.Function.Address] || len(cards) == cardsMax {
			continue
		}
		seen[c.Function.Address] = true
		c.head, c.part = head, l
		if c.Number != nil {
			if other := numbers[*c.Number]; other != nil {
				other.Number, c.Number = nil, nil
			} else {
				numbers[*c.Number] = &c
			}
		}
		cards = append(cards, &c)
	}
	if len(cards) == 0 {
		return nil, fmt.Errorf("the output of %s -q: %w: there is no %s", p.Name, device.ErrFormat, p.Lacks)
	}
	return cards, nil
}

// fill sets of d what the program tells.
func (p *Program) fill(d *device.Device, c *Card) {
	from := device.Origin{From: p.Name}
	tell := func(name, v string) {
		if name == "architecture" {
			v = strings.ToLower(v)
		}
		if v != "" {
			*field(d, name) = v
			d.Note(from, name)
		}
	}
	for name, key := range p.Head {
		tell(name, c.head.Text(key))
	}
	for name, keys := range p.Texts {
		tell(name, c.part.Text(keys...))
	}
	for _, keys := range p.Memory {
		if v := c.part.Bytes(keys...); v != nil {
			if *v > 0 {
				d.Memory = *v
				d.Note(from, "memory")
			}
			break
		}
	}
	d.Health, d.Reading = p.Meters(c.part)
	d.Note(from, "health", "reading")
}

// field is the field of d of a name.
func field(d *device.Device, name string) *string {
	switch name {
	case "product":
		return &d.Product
	case "architecture":
		return &d.Architecture
	case "uuid":
		return &d.UUID
	case "serial":
		return &d.Serial
	case "driver.version":
		return &d.Driver.Version
	case "driver.stack":
		return &d.Driver.Stack
	case "driver.firmware":
		return &d.Driver.Firmware
	}
	panic("smi: a room names the field " + name + ", which is none that programs tell")
}
