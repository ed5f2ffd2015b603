package nvidia

import (
	"slices"
	"strconv"
	"strings"
)

// card is the card in the words of nvidia-smi. Amounts are whole MiB, as there, so that
// a card has the same memory whoever was asked.
func (g *nvmlCard) card() *card {
	c := &card{
		Product: g.Name, Architecture: g.Architecture, MIG: "Disabled", Serial: g.Serial, UUID: g.UUID, Minor: whole(g.Minor), BIOS: g.VBIOS,
		Recovery: g.Recovery, Busy: measured(g.Utilization, "%"), Temperature: measured(g.Temperature, "C"), Energy: measured(g.Energy, "J"),
	}
	c.PCI.Bus, c.PCI.Device, c.PCI.Sub = g.Address, g.PCIID, g.PCISubID
	c.PCI.Gen, c.PCI.GenMax = strconv.Itoa(g.PCIe.Generation), strconv.Itoa(g.PCIe.GenerationMax)
	c.PCI.Width, c.PCI.WidthMax = strconv.Itoa(g.PCIe.Lanes)+"x", strconv.Itoa(g.PCIe.LanesMax)+"x"
	c.PCI.Replays = whole(g.PCIe.Replays)
	c.FB, c.BAR1 = g.Memory.amounts(g.Errors["memory"]), g.BAR1.amounts(g.Errors["bar1"])
	c.Power.Instant, c.Power.Enforced = measured(g.Power, "W"), measured(g.PowerLimit, "W")
	active := func(name string) string { return yes(slices.Contains(g.Slowdowns, name), "Active") }
	c.Reasons.HWThermal, c.Reasons.SWThermal, c.Reasons.Brake = active("hw-thermal"), active("sw-thermal"), active("hw-power-brake")
	g.health(c)
	c.Errs = g.errs()
	if g.MIG {
		c.MIG = "Enabled"
		c.PartsUnknown = len(g.Parts) == 0 && g.Errors["parts"] != ""
		for _, p := range g.Parts[:min(len(g.Parts), partsMax)] {
			c.Parts = append(c.Parts, p.slot())
		}
	}
	return c
}

// health sets what tells of faults.
func (g *nvmlCard) health(c *card) {
	// The library counts errors of all of a card's memory together, as old cards did.
	c.ECC.Volatile.SingleBit, c.ECC.Volatile.DoubleBit = whole(g.ECC.VolatileCorrected), whole(g.ECC.VolatileUncorrected)
	c.ECC.Aggregate.SingleBit, c.ECC.Aggregate.DoubleBit = whole(g.ECC.AggregateCorrected), whole(g.ECC.AggregateUncorrected)
	c.ECC.Aggregate.Threshold = said(g.ECC.SRAMThreshold)
	c.ECC.Channel, c.ECC.TPC, c.ECC.Hopeless = said(g.ECC.ChannelRepair), said(g.ECC.TPCRepair), said(g.ECC.Unrepairable)
	c.Pages.Single, c.Pages.Double, c.Pages.Pending = whole(g.Pages.Corrected), whole(g.Pages.Uncorrected), said(g.Pages.Pending)
	c.Rows.Corrected, c.Rows.Uncorrected = whole(g.Rows.Corrected), whole(g.Rows.Uncorrected)
	c.Rows.Pending, c.Rows.Failure = said(g.Rows.Pending), said(g.Rows.Failure)
	if f := g.Fabric; f != nil {
		c.Fabric = fabric{State: f.State, Status: f.Status, Clique: strconv.FormatUint(uint64(f.Clique), 10), Cluster: f.Cluster, Summary: f.Summary}
		c.Fabric.Width = yes(slices.Contains(f.Health, "degraded-bandwidth"), "Degraded")
		c.Fabric.Route = yes(slices.Contains(f.Health, "route-unhealthy"), "True")
		c.Fabric.Recovery = yes(slices.Contains(f.Health, "route-recovery"), "True")
		c.Fabric.Timeout = yes(slices.Contains(f.Health, "access-timeout-recovery"), "True")
		for _, h := range f.Health {
			if what, ok := strings.CutPrefix(h, "configuration: "); ok {
				c.Fabric.Config = what
			}
		}
	}
}

// errs are the errors in place of values that tell of the card: a lost one is so in
// every answer, but that some rare question fails for a reason that the library does
// not know says nothing.
func (g *nvmlCard) errs() []string {
	var out []string
	for value, why := range g.Errors {
		usual := slices.Contains([]string{"uuid", "memory", "utilization", "temperature", "power", "rows", "fabric"}, value)
		if strings.Contains(why, saysLost) || strings.Contains(why, saysReset) || usual && why == saysUnknown {
			out = append(out, why)
		}
	}
	slices.Sort(out)
	return out
}

func (p *nvmlPart) slot() slot {
	return slot{Index: strconv.Itoa(p.Index), GI: whole(p.GPUInstance), CI: whole(p.ComputeInstance), Units: strconv.Itoa(p.Multiprocessors),
		Errors: whole(p.Uncorrected), FB: p.Memory.amounts("")}
}

func (m *nvmlMemory) amounts(why string) memory {
	if m == nil {
		return memory{Total: why, Used: why}
	}
	return memory{Total: strconv.FormatUint(m.Total>>20, 10) + " MiB", Used: strconv.FormatUint(m.Used>>20, 10) + " MiB"}
}

func whole(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func measured(n *float64, unit string) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'f', -1, 64) + " " + unit
}

func said(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "Yes"
	}
	return "No"
}

func yes(is bool, word string) string {
	if is {
		return word
	}
	return ""
}
