package nvidia

import (
	"cmp"

	"polder.dev/polder/device"
)

// reading is what the card's meters say, nil if they say nothing.
func (c *card) reading() *device.Reading {
	r := &device.Reading{}
	if n, ok := number(c.Busy, "%"); ok && n >= 0 && n <= 100 {
		r.Utilization = new(n / 100)
	}
	if n, ok := amount(c.FB.Used); ok {
		r.MemoryUsed = new(n)
	}
	if n, ok := number(c.Temperature, "C"); ok {
		r.Temperature = new(n)
	}
	r.Power = watts(c.Power.Instant, c.Power.Draw, c.Power.Average, c.PowerOld.Draw)
	r.PowerLimit = watts(c.Power.Enforced, c.Power.Current, c.Power.Limit, c.PowerOld.Enforced, c.PowerOld.Limit)
	if n, ok := number(c.Energy, "J"); ok && n >= 0 {
		r.Energy = new(n)
	}
	r.Errors = c.errors()
	if r.Utilization == nil && r.MemoryUsed == nil && r.Temperature == nil && r.Power == nil && r.PowerLimit == nil && r.Energy == nil && len(r.Errors) == 0 {
		return nil
	}
	return r
}

// watts is the first that is a power.
func watts(from ...string) *float64 {
	for _, s := range from {
		if n, ok := number(s, "W"); ok && n >= 0 {
			return new(n)
		}
	}
	return nil
}

// errors are the card's counters. Those called volatile count since the driver was
// loaded, the others in the card's life.
func (c *card) errors() map[string]int64 {
	out := map[string]int64{}
	put := func(kind string, n int64, ok bool) {
		if ok {
			out[kind] = n
		}
	}
	of := func(kind, value string) {
		n, ok := count(value)
		put(kind, n, ok)
	}
	v, a := &c.ECC.Volatile, &c.ECC.Aggregate
	for kind, f := range map[string]func() (int64, bool){
		"ecc-corrected-volatile": v.corrected, "ecc-uncorrected-volatile": v.uncorrected,
		"ecc-corrected": a.corrected, "ecc-uncorrected": a.uncorrected,
	} {
		n, ok := f()
		put(kind, n, ok)
	}
	of("pcie-replays", c.PCI.Replays)
	of("rows-remapped-corrected", c.Rows.Corrected)
	of("rows-remapped-uncorrected", c.Rows.Uncorrected)
	of("pages-retired-corrected", c.Pages.Single)
	of("pages-retired-uncorrected", c.Pages.Double)
	if len(out) == 0 {
		return nil
	}
	return out
}

func (e *errorCounts) corrected() (int64, bool) {
	return sum(e.SRAMCorrected, e.DRAMCorrected, e.SingleBit)
}

// uncorrected counts those of SRAM once: a driver gives their sum or their kinds.
func (e *errorCounts) uncorrected() (int64, bool) {
	sram, parity := e.SRAMUncorrected, ""
	if _, ok := sum(e.SRAMParity, e.SRAMSecDed); ok {
		sram, parity = e.SRAMSecDed, e.SRAMParity
	}
	return sum(sram, parity, e.DRAMUncorrected, e.DoubleBit)
}

// sum adds the counters that are there. ok is false if none is.
func sum(counters ...string) (total int64, ok bool) {
	for _, s := range counters {
		n, is := count(s)
		total, ok = total+n, cmp.Or(ok, is)
	}
	return total, ok
}
