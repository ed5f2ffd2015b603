package hygon

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// smi is the program of Hygon's driver, a relative of rocm-smi.
const smi = "hy-smi"

// cardsMax bounds how many cards an output may tell of.
const cardsMax = 1024

// hy-smi prints JSON that lacks commas between some values, so the pairs are picked out
// of it instead: the values seen have no quotes and no braces.
var (
	cardPattern = regexp.MustCompile(`"card(\d{1,4})"\s*:\s*\{([^{}]*)\}`)
	pairPattern = regexp.MustCompile(`"([^"]{1,200})"\s*:\s*"([^"]*)"`)
	idPattern   = regexp.MustCompile(`^0x([0-9a-f]{4})$`)
)

// parse returns what an output says of each card, by number.
func parse(output []byte) map[int]map[string]string {
	out := map[int]map[string]string{}
	for _, card := range cardPattern.FindAllSubmatch(output, cardsMax) {
		number, err := strconv.Atoi(string(card[1]))
		if err != nil {
			continue
		}
		if out[number] == nil {
			out[number] = map[string]string{}
		}
		for _, p := range pairPattern.FindAllSubmatch(card[2], 1024) {
			out[number][strings.TrimSpace(string(p[1]))] = strings.TrimSpace(string(p[2]))
		}
	}
	return out
}

// place takes "0000:06:00.0 --> SN: T8R138 --> OAM ID: 1" apart.
func place(s string) (address, serial string) {
	parts := strings.Split(s, "-->")
	address, _ = device.Address(parts[0])
	for _, p := range parts[1:] {
		if sn, ok := strings.CutPrefix(strings.TrimSpace(p), "SN:"); ok {
			serial = known(sn)
		}
	}
	return address, serial
}

func known(s string) string {
	s = strings.TrimSpace(s)
	if s == "0" || len(s) > 256 || strings.HasPrefix(strings.ToUpper(s), "N/A") {
		return ""
	}
	return s
}

// number reads "65520", "54.0", "80W": a value from 0 to most.
func number(s string, most float64) *float64 {
	s = strings.TrimRight(strings.TrimSpace(s), " %WCc")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= most) { // nor NaN
		return nil
	}
	return &v
}

// numa reads the number of a node, nil if there is none.
func numa(card map[string]string) *int {
	n, err := strconv.Atoi(card["(Topology) Numa Node"])
	if err != nil || n < 0 || n >= 1<<16 {
		return nil
	}
	return &n
}

// ask has hy-smi tell where the DCUs are and how they are called. The options are asked
// for one at a time: those that print JSON do so alone.
func ask(ctx context.Context, h *device.Host, devices []device.Device) error {
	driven := slices.ContainsFunc(devices, func(d device.Device) bool { return len(d.Nodes) > 0 })
	if !driven || h.Run == nil {
		return nil
	}
	tell := func(option string) (map[int]map[string]string, error) {
		output, err := h.Run(ctx, smi, option, "--json")
		cards := parse(output)
		if err == nil && len(cards) == 0 {
			err = errors.New("it names no card")
		}
		return cards, err
	}
	places, err := tell("--showbus")
	if err != nil {
		return lack(err, devices)
	}
	nodes, err := tell("--showtoponuma")
	for number, card := range places {
		address, serial := place(card["PCI Bus"])
		for i := range devices {
			if d := &devices[i]; d.PCI.Address == address {
				fill(d, serial, numa(nodes[number]))
			}
		}
	}
	return lack(err, devices)
}

func fill(d *device.Device, serial string, node *int) {
	if d.Serial == "" && serial != "" {
		d.Serial = serial
		d.Note(device.Origin{From: smi}, "serial")
	}
	if node != nil {
		d.NUMA = node
		d.Note(device.Origin{From: smi}, "numa")
	}
}

// lack tells what a failure costs. That the program is not there costs nothing where
// the kernel is right about NUMA.
func lack(err error, devices []device.Device) error {
	lost := slices.ContainsFunc(devices, func(d device.Device) bool { return d.NUMA == nil })
	if err == nil || errors.Is(err, device.ErrNoTool) && !lost {
		return nil
	}
	return device.Problem{Where: smi, What: fmt.Sprintf("cannot be used (%v); the NUMA nodes of the DCUs are not known, as the kernel says 0 for all; it comes with the driver, in /opt/hyhal/bin", err)}
}
