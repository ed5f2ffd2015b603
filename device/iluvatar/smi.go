package iluvatar

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// cardsMax bounds the cards of an output.
const cardsMax = 256

// card is one of `ixsmi -q -x`. Versions differ in the names of memory and power.
type card struct {
	ID     string `xml:"id,attr"`
	Bus    string `xml:"pci>pci_bus_id"`
	Name   string `xml:"product_name"`
	UUID   string `xml:"uuid"`
	Serial string `xml:"serial"`
	Minor  string `xml:"minor_number"`
	Memory size   `xml:"memory_usage"`
	FB     size   `xml:"fb_memory_usage"`
	Busy   string `xml:"utilization>gpu_util"`
	Heat   string `xml:"temperature>gpu_temp"`
	Power  string `xml:"power_readings>gpu_power_draw"`
	Board  string `xml:"power_readings>board_power_draw"`
	Limit  string `xml:"power_readings>current_gpu_power_limit"`
}

type size struct {
	Total string `xml:"total"`
	Used  string `xml:"used"`
}

// ask runs ixsmi.
func ask(ctx context.Context, h *device.Host) ([]card, error) {
	if h.Run == nil {
		return nil, errors.New("cannot be run on a copy of a machine")
	}
	out, err := h.Run(ctx, "ixsmi", "-q", "-x")
	if errors.Is(err, device.ErrNoTool) {
		return nil, fmt.Errorf("%w; install CoreX, which has it", err)
	}
	if err != nil {
		return nil, err
	}
	cards, err := parse(out)
	if err != nil {
		return nil, errors.New("what it prints is not in the form that is known")
	}
	return cards, nil
}

// parse reads the XML. Bytes that have no ixsmi_log as their root are of another
// format.
func parse(output []byte) ([]card, error) {
	var log struct {
		XMLName xml.Name `xml:"ixsmi_log"`
		Cards   []card   `xml:"gpu"`
	}
	if err := xml.Unmarshal(output, &log); err != nil {
		return nil, fmt.Errorf("%w of ixsmi -q -x: %w", device.ErrFormat, err)
	}
	return log.Cards[:min(len(log.Cards), cardsMax)], nil
}

// at are the cards at an address.
func at(cards []card, address string) []*card {
	var out []*card
	for i := range cards {
		if cards[i].address() == address {
			out = append(out, &cards[i])
		}
	}
	return out
}

func (c *card) address() string {
	for _, s := range []string{c.ID, c.Bus} {
		if a, ok := device.Address(s); ok && strings.Contains(s, ":") {
			return a
		}
	}
	return ""
}

// memory in bytes; 0 and -1 if not said.
func (c *card) memory() (total, used int64) {
	for _, m := range []size{c.Memory, c.FB} {
		n, ok := number(m.Total, "MiB")
		if !ok || n <= 0 || n >= 1<<30 {
			continue
		}
		used = -1
		if u, ok := number(m.Used, "MiB"); ok && u >= 0 && u <= n {
			used = int64(u) << 20
		}
		return int64(n) << 20, used
	}
	return 0, -1
}

// reading is what the meters say, nil if nothing.
func (c *card) reading() *device.Reading {
	r := device.Reading{Temperature: meter(c.Heat, "C"), Power: meter(cmp.Or(word(c.Power), word(c.Board)), "W"), PowerLimit: meter(c.Limit, "W")}
	if n := meter(c.Busy, "%"); n != nil && *n <= 100 {
		r.Utilization = new(*n / 100)
	}
	if _, used := c.memory(); used >= 0 {
		r.MemoryUsed = new(used)
	}
	if r.Temperature == nil && r.Power == nil && r.PowerLimit == nil && r.Utilization == nil && r.MemoryUsed == nil {
		return nil
	}
	return &r
}

// word is a value, "" for what stands for none.
func word(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, ""))
	if strings.EqualFold(strings.Trim(s, "[]"), "n/a") || len(s) > 256 {
		return ""
	}
	return s
}

// number reads "37 W".
func number(s, unit string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(word(s), unit)), 64)
	return n, err == nil
}

func meter(s, unit string) *float64 {
	n, ok := number(s, unit)
	if !ok || !(n >= 0 && n < 1e6) {
		return nil
	}
	return &n
}

func count(s string) (int64, bool) {
	n, err := strconv.ParseInt(word(s), 10, 64)
	return n, err == nil && n >= 0 && n < 1<<20
}
