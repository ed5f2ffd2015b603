package huawei

import (
	"context"
	"errors"
	"strconv"

	"polder.dev/polder/device"
)

// reading is what the meters of a chip said; nil if none did. The counts of errors
// are those since the driver was loaded, of HBM and DDR together.
func (c *chip) reading() *device.Reading {
	r := device.Reading{Power: c.power, Temperature: c.temperature}
	some := c.power != nil || c.temperature != nil
	if c.busy != nil && *c.busy <= 100 {
		r.Utilization, some = new(*c.busy/100), true
	}
	if c.used >= 0 {
		r.MemoryUsed, some = new(c.used), true
	}
	for name, word := range map[string]string{"ecc-corrected": "Single", "ecc-uncorrected": "Double"} {
		for _, kind := range []string{"HBM", "DDR"} {
			n, err := strconv.ParseInt(c.values[kind+" "+word+" Bit Error Count"], 10, 64)
			if err != nil || n < 0 {
				continue
			}
			if r.Errors == nil {
				r.Errors = map[string]int64{}
			}
			r.Errors[name] += n
			some = true
		}
	}
	if !some {
		return nil
	}
	return &r
}

// Measure implements device.Meter. A device that npu-smi no longer lists, though it
// lists others, has failed. Without npu-smi, nothing is known of any.
func (*Adapter) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil
	}
	p := &program{ctx: ctx, h: h, r: newReport(), said: map[string]bool{}}
	if h.Run != nil {
		p.run("table", "health and meters are not known", "info")
	}
	for _, c := range p.r.sorted() {
		p.run("ecc", "the counts of memory errors are not known", append([]string{"info", "-t", "ecc"}, p.of(c)...)...)
	}
	p.health()
	judge(h, p.r)
	chips := p.r.places()
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		switch c := chips[placeOf(d)]; {
		case c != nil:
			d.Health, d.Reading = c.verdict, c.reading()
		case len(p.r.chips) > 0 && (d.PCI == nil || d.PCI.Driver != "vfio-pci"):
			d.Health = device.Of(device.Fault{Code: "npu-lost", State: device.Failed, Message: "npu-smi does not list it"})
		}
	}
	if len(p.r.chips) == 0 && len(p.errs) == 0 {
		p.errs = append(p.errs, device.Problem{Where: "npu-smi info", What: "lists no NPU in a form that is known; health and meters are not known"})
	}
	return errors.Join(p.errs...)
}

// spot is where a chip is, for telling which device it is.
type spot struct {
	address string
	ordinal int
}

func placeOf(d *device.Device) spot {
	if d.PCI == nil {
		return spot{ordinal: d.Ordinal}
	}
	return spot{d.PCI.Address, d.Ordinal}
}

// places are the chips by where they are. Of those that are nowhere, there can be
// one.
func (r *report) places() map[spot]*chip {
	out, count := map[spot]*chip{}, map[string]int{}
	for _, c := range r.sorted() {
		out[spot{c.bus, count[c.bus]}] = c
		count[c.bus]++
	}
	return out
}
