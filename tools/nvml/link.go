package main

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// links asks for the card's NVLinks that are up.
func (a *asker) links(g *GPU, h nvml.Device) {
	const state = "nvmlDeviceGetNvLinkState"
	if !a.has(state) {
		a.failed("nvlinks", nvml.ERROR_FUNCTION_NOT_FOUND)
		return
	}
	for i := range nvml.NVLINK_MAX_LINKS {
		up, r := h.GetNvLinkState(i)
		switch {
		case r == nvml.SUCCESS && up == nvml.FEATURE_ENABLED:
			g.join(a.link(i, h))
			continue
		case r == nvml.SUCCESS:
			continue
		case r == nvml.ERROR_INVALID_ARGUMENT: // the library knows no link of this number
		case i == 0 || r != nvml.ERROR_NOT_SUPPORTED:
			a.failed("nvlinks", r)
		}
		break
	}
	if len(g.NVLinks) == 0 {
		return
	}
	if n, ok := a.number("nvlinkSpeed", h, nvml.FI_DEV_NVLINK_SPEED_MBPS_COMMON); ok {
		g.NVLinkSpeed = new(n * 1000 * 1000)
	}
}

// join counts a link with those that go to the same.
func (g *GPU) join(l NVLink) {
	for i := range g.NVLinks {
		if other := &g.NVLinks[i]; other.Remote == l.Remote && other.Type == l.Type && other.Version == l.Version {
			other.Count++
			return
		}
	}
	g.NVLinks = append(g.NVLinks, l)
}

// link asks for one that is up. Of its errors the last of all links is kept.
func (a *asker) link(i int, h nvml.Device) NVLink {
	l := NVLink{Count: 1}
	if n, ok := get(a, "nvlinks.version", func() (uint32, nvml.Return) { return h.GetNvLinkVersion(i) }, "nvmlDeviceGetNvLinkVersion"); ok {
		l.Version = versions[n]
	}
	p, ok := get(a, "nvlinks.remote", func() (nvml.PciInfo, nvml.Return) { return h.GetNvLinkRemotePciInfo(i) },
		"nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetNvLinkRemotePciInfo")
	if ok {
		l.Remote = address(&p)
	}
	if n, ok := get(a, "nvlinks.type", func() (nvml.IntNvLinkDeviceType, nvml.Return) { return h.GetNvLinkRemoteDeviceType(i) }, "nvmlDeviceGetNvLinkRemoteDeviceType"); ok {
		l.Type = ends[n]
	}
	return l
}

// pairs asks how each two cards reach each other.
func (a *asker) pairs(d *Document, handles map[int]nvml.Device) {
	for i := range d.GPUs {
		for j := i + 1; j < len(d.GPUs); j++ {
			x, y := handles[d.GPUs[i].Index], handles[d.GPUs[j].Index]
			if x == nil || y == nil {
				continue
			}
			p := Pair{A: d.GPUs[i].Index, B: d.GPUs[j].Index}
			if n, ok := get(a, "pairs.path", func() (nvml.GpuTopologyLevel, nvml.Return) { return x.GetTopologyCommonAncestor(y) }, "nvmlDeviceGetTopologyCommonAncestor"); ok {
				p.Path = paths[n]
			}
			if len(d.GPUs[i].NVLinks) > 0 && len(d.GPUs[j].NVLinks) > 0 {
				s, ok := get(a, "pairs.nvlink", func() (nvml.GpuP2PStatus, nvml.Return) { return x.GetP2PStatus(y, nvml.P2P_CAPS_INDEX_NVLINK) }, "nvmlDeviceGetP2PStatus")
				if ok {
					p.NVLink = new(s == nvml.P2P_STATUS_OK)
				}
			}
			if p.Path != "" || p.NVLink != nil {
				d.Pairs = append(d.Pairs, p)
			}
		}
	}
}

// address of a PCI function, as the library writes it or else of its numbers.
func address(p *nvml.PciInfo) string {
	b := make([]byte, 0, len(p.BusId))
	for _, c := range p.BusId {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	if len(b) > 0 {
		return clean(string(b))
	}
	return fmt.Sprintf("%04x:%02x:%02x.0", p.Domain, p.Bus, p.Device)
}
