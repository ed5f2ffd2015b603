package nvidia

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"polder.dev/polder/device"
)

// nvml is what values come from that the driver's library told; helper is our program
// that asks it, whose source is tools/nvml.
const (
	nvml   = "NVML"
	helper = "polder-nvml"
)

// nvmlVersion is that of the documents that are read.
const nvmlVersion = 1

// nvmlDocument is what polder-nvml prints; docs/formats/nvml.md says what it means. What
// could not be asked is nil or empty, and errors says why.
type nvmlDocument struct {
	Format  string     `json:"format"`
	Version int        `json:"version"`
	Driver  string     `json:"driver"`
	CUDA    string     `json:"cuda"`
	GPUs    []nvmlCard `json:"gpus"`
	Pairs   []nvmlPair `json:"pairs"`
}

type nvmlCard struct {
	Index    int    `json:"index"`
	Address  string `json:"address"`
	PCIID    string `json:"pciId"`
	PCISubID string `json:"pciSubId"`
	PCIe     struct {
		Generation    int    `json:"generation"`
		GenerationMax int    `json:"generationMax"`
		Lanes         int    `json:"lanes"`
		LanesMax      int    `json:"lanesMax"`
		Replays       *int64 `json:"replays"`
	} `json:"pcie"`
	UUID         string      `json:"uuid"`
	Name         string      `json:"name"`
	Architecture string      `json:"architecture"`
	Serial       string      `json:"serial"`
	Minor        *int64      `json:"minor"`
	VBIOS        string      `json:"vbios"`
	Memory       *nvmlMemory `json:"memory"`
	BAR1         *nvmlMemory `json:"bar1"`
	Utilization  *float64    `json:"utilization"`
	Temperature  *float64    `json:"temperature"`
	Power        *float64    `json:"power"`
	PowerLimit   *float64    `json:"powerLimit"`
	Energy       *float64    `json:"energy"`
	Slowdowns    []string    `json:"slowdowns"`
	ECC          struct {
		VolatileCorrected    *int64 `json:"volatileCorrected"`
		VolatileUncorrected  *int64 `json:"volatileUncorrected"`
		AggregateCorrected   *int64 `json:"aggregateCorrected"`
		AggregateUncorrected *int64 `json:"aggregateUncorrected"`
		SRAMThreshold        *bool  `json:"sramThreshold"`
		ChannelRepair        *bool  `json:"channelRepair"`
		TPCRepair            *bool  `json:"tpcRepair"`
		Unrepairable         *bool  `json:"unrepairable"`
	} `json:"ecc"`
	Pages    nvmlRetired       `json:"pages"`
	Rows     nvmlRetired       `json:"rows"`
	Recovery string            `json:"recovery"`
	MIG      bool              `json:"mig"`
	Parts    []nvmlPart        `json:"parts"`
	Fabric   *nvmlFabric       `json:"fabric"`
	NVLinks  []nvmlLinks       `json:"nvlinks"`
	Speed    int64             `json:"nvlinkSpeed"`
	Errors   map[string]string `json:"errors"`
}

type nvmlMemory struct {
	Total uint64 `json:"total"`
	Used  uint64 `json:"used"`
}

type nvmlRetired struct {
	Corrected   *int64 `json:"corrected"`
	Uncorrected *int64 `json:"uncorrected"`
	Pending     *bool  `json:"pending"`
	Failure     *bool  `json:"failure"`
}

type nvmlPart struct {
	Index           int         `json:"index"`
	GPUInstance     *int64      `json:"gpuInstance"`
	ComputeInstance *int64      `json:"computeInstance"`
	UUID            string      `json:"uuid"`
	Profile         string      `json:"profile"`
	Multiprocessors int         `json:"multiprocessors"`
	Memory          *nvmlMemory `json:"memory"`
	Uncorrected     *int64      `json:"uncorrected"`
}

type nvmlFabric struct {
	State   string   `json:"state"`
	Status  string   `json:"status"`
	Clique  uint32   `json:"clique"`
	Cluster string   `json:"cluster"`
	Health  []string `json:"health"`
	Summary string   `json:"summary"`
}

type nvmlLinks struct {
	Count  int    `json:"count"`
	Remote string `json:"remote"`
	Type   string `json:"type"`
}

type nvmlPair struct {
	A      int    `json:"a"`
	B      int    `json:"b"`
	Path   string `json:"path"`
	NVLink *bool  `json:"nvlink"`
}

// parseNVML reads a document into the answer that nvidia-smi's outputs are read into.
// The error wraps device.ErrFormat if it is none.
func parseNVML(output []byte) (*answer, error) {
	var d nvmlDocument
	output = bytes.TrimSpace(output)
	if len(output) == 0 || output[0] != '{' || len(output) > outputMax {
		return nil, fmt.Errorf("no document of %s: %w", helper, device.ErrFormat)
	}
	if err := json.Unmarshal(output, &d); err != nil {
		return nil, fmt.Errorf("reading a document of %s: %w: %w", helper, device.ErrFormat, err)
	}
	switch {
	case d.Format != helper:
		return nil, fmt.Errorf("no document of %s: %w", helper, device.ErrFormat)
	case d.Version != nvmlVersion:
		return nil, fmt.Errorf("a document of %s has the version %d, of which only %d is read: %w", helper, d.Version, nvmlVersion, device.ErrFormat)
	}
	return d.answer(), nil
}

// answer is the document in the words of nvidia-smi, so that nobody else need know who
// was asked.
func (d *nvmlDocument) answer() *answer {
	a := &answer{log: smiLog{from: nvml, driver: d.Driver, cuda: d.CUDA}, speed: map[int]int64{}, lost: map[string]string{}}
	uuids, indices := map[string]bool{}, map[int]*nvmlCard{}
	for i := range d.GPUs[:min(len(d.GPUs), cardsMax)] {
		g := &d.GPUs[i]
		if why := g.Errors["handle"]; why != "" {
			a.unreached = append(a.unreached, why)
			continue
		}
		if identity(g.UUID) != "" && uuids[g.UUID] {
			a.problem(fmt.Sprintf("tells of two cards with the UUID %s; the second is known by its place alone", g.UUID))
			g.UUID = ""
		}
		uuids[g.UUID] = true
		c := g.card()
		if c.address() == "" && identity(c.UUID) == "" {
			a.unreached = append(a.unreached, c.gone())
			continue
		}
		a.log.cards = append(a.log.cards, c)
		if g.Index < 0 || g.Index >= cardsMax || indices[g.Index] != nil {
			continue // of it no links are known
		}
		indices[g.Index] = g
		a.list = append(a.list, g.listed())
		if g.Speed > 0 && g.Speed < 1<<50 {
			a.speed[g.Index] = g.Speed
		}
	}
	a.cells = cells(d.Pairs, indices)
	return a
}

// listed is the card as the list has it.
func (g *nvmlCard) listed() listed {
	l := listed{from: nvml, index: g.Index, product: g.Name, uuid: identity(g.UUID)}
	seen := map[string]bool{}
	for _, p := range g.Parts[:min(len(g.Parts), partsMax)] {
		x := listedPart{index: p.Index, profile: code(p.Profile), uuid: identity(p.UUID)}
		if seen[x.uuid] {
			x.uuid = "" // it is told apart by its numbers
		}
		seen[x.uuid] = true
		l.parts = append(l.parts, x)
	}
	return l
}

// cells are the words of nvidia-smi's matrix. Cards are joined by links from one to the
// other, or by those of both to switches, if the driver lets them use these.
func cells(pairs []nvmlPair, cards map[int]*nvmlCard) map[[2]int]string {
	out := map[[2]int]string{}
	for _, p := range pairs {
		a, b := cards[p.A], cards[p.B]
		if a == nil || b == nil || a == b {
			continue
		}
		n := min(a.to(b.Address), b.to(a.Address))
		if n == 0 && p.NVLink != nil {
			n = min(a.toSwitches(), b.toSwitches())
		}
		if p.NVLink != nil && !*p.NVLink {
			n = 0
		}
		word := p.Path
		if n > 0 {
			word = fmt.Sprintf("NV%d", n)
		}
		if cell(word) && word != "X" {
			out[[2]int{p.A, p.B}], out[[2]int{p.B, p.A}] = word, word
		}
	}
	return out
}

// nvlinksMax bounds the links of a card. Blackwell has 18.
const nvlinksMax = 64

// to counts the links to the card at an address.
func (g *nvmlCard) to(address string) int {
	at, ok := device.Address(address)
	return g.count(func(l *nvmlLinks) bool {
		remote, is := device.Address(l.Remote)
		return ok && is && remote == at
	})
}

func (g *nvmlCard) toSwitches() int {
	return g.count(func(l *nvmlLinks) bool { return l.Type == "switch" })
}

func (g *nvmlCard) count(match func(*nvmlLinks) bool) int {
	n := 0
	for i := range g.NVLinks[:min(len(g.NVLinks), nvlinksMax)] {
		if l := &g.NVLinks[i]; match(l) {
			n += max(0, min(l.Count, nvlinksMax))
		}
	}
	return min(n, nvlinksMax)
}

// gone is the worst that stands in place of the card's values.
func (c *card) gone() string {
	for _, worst := range []string{saysLost, saysReset, saysUnknown} {
		if slices.Contains(c.Errs, worst) {
			return worst
		}
	}
	return saysErr
}
