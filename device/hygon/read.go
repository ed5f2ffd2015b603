package hygon

import (
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/kfd"
)

// Read implements device.Reader, for what hy-smi prints with --json and as many options
// as one likes, such as -a or --showbus.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards := parse(output)
	var numbers []int
	for n, card := range cards {
		if ours(card) {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("reading hy-smi: no card of Hygon's: %w", device.ErrFormat)
	}
	slices.Sort(numbers)
	var out []device.Device
	for _, n := range numbers {
		out = append(out, read(cards[n]))
	}
	return out, nil
}

// ours tells Hygon's cards from AMD's. The vendor's name is given as that of a company
// whose name was removed: "C-3000 IC Design Co., Ltd.".
func ours(card map[string]string) bool {
	for key, value := range card {
		switch {
		case strings.HasPrefix(key, "HCU ") || strings.HasPrefix(key, "DCU "),
			key == "PCI Bus" && strings.Contains(value, "--> SN:"),
			strings.EqualFold(key, "Card Vendor") && (strings.Contains(value, "C-3000 IC Design") || strings.Contains(value, "Haiguang") || strings.Contains(value, "Hygon")):
			return true
		}
	}
	return false
}

func read(card map[string]string) device.Device {
	d := device.Device{Vendor: family.Vendor, Kind: family.Kind, Software: family.Software, Form: device.Whole, Product: "DCU", Health: device.Health{State: device.Unknown}}
	address, serial := place(card["PCI Bus"])
	if address != "" {
		d.PCI = &device.Function{Address: address, Vendor: "1d94"}
		if m := idPattern.FindStringSubmatch(strings.ToLower(card["Device ID"])); m != nil {
			d.PCI.Device = m[1]
		}
	}
	if series := known(card["Card Series"]); series != "" {
		d.Product = series
		if p, ok := catalogue.ByName(d.Vendor, series); ok {
			d.Product = p.Name
		}
	}
	if d.Serial = serial; serial == "" {
		d.Serial = known(card["Serial Number"])
	}
	if id := kfd.Unique(card["Unique ID"]); id != "" {
		d.UUID = "hygon-" + id
	} else if d.Serial != "" {
		d.UUID = "hygon-" + d.Serial
	}
	if mib := number(card["vram Total Memory (MiB)"], 1<<30); mib != nil {
		d.Memory = int64(*mib) << 20
		d.Note(device.Origin{From: smi}, "memory")
	}
	d.NUMA, d.Reading = numa(card), reading(card)
	return d
}

func reading(card map[string]string) *device.Reading {
	r := &device.Reading{
		Temperature: number(card["Temperature (Sensor edge) (C)"], 1000),
		Power:       number(card["Average Graphics Package Power (W)"], 1e5),
	}
	for _, key := range []string{"HCU use (%)", "DCU use (%)"} {
		if use := number(card[key], 100); use != nil {
			r.Utilization = new(*use / 100)
		}
	}
	if used := number(card["vram Total Used Memory (MiB)"], 1<<30); used != nil {
		r.MemoryUsed = new(int64(*used) << 20)
	}
	return r
}
