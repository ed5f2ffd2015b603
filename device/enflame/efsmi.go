package enflame

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/outline"
	"polder.dev/polder/device/smi"
)

// program is efsmi. New drivers and old ones have different names for memory.
var program = smi.Program{
	Name: "efsmi", Family: &family, Product: "Enflame card",
	Heading: "DEV ID ", Card: card, Lacks: "DEV ID with its PCIe Info",
	Texts: map[string][]string{
		"product": {"Device Info", "Dev Name"}, "uuid": {"Device Info", "Dev UUID"}, "serial": {"Device Info", "Dev SN"},
		"driver.version": {"Driver Info", "Ver"},
	},
	Memory: [][]string{{"Device Mem Info", "Total Size"}, {"Device Mem Info", "Mem Size"}},
	Meters: meters,
	Costs:  "serial numbers, health and meters", Remedy: "install it with the driver's package",
	Files: "gcu", Control: []string{"/dev/gcuctl"}, File: file,
}

// card reads "DEV ID 0", and the PCI address, which efsmi prints in four parts.
func card(l *outline.Line) (c smi.Card, ok bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(l.Key, "DEV ID "), 10, 64)
	part := func(key string) string { return l.Text("PCIe Info", key) }
	c.Function.Address, ok = device.Address(part("Domain") + ":" + part("Bus") + ":" + part("Dev") + "." + part("Func"))
	c.Function.Vendor, c.Function.Device = id(part("Vendor ID")), id(part("Device ID"))
	c.Number = &n
	return c, ok && err == nil && n >= 0
}

// id is a number of the PCI bus, "" if s is none.
func id(s string) string {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 2 {
		return ""
	}
	return strings.ToLower(s)
}

// file finds a card's file by the card's number. One can be taken for the other only if
// the files have just the numbers that efsmi gives cards.
func file(files []chardev.File, cards smi.Cards, address string) (chardev.File, bool) {
	var named, told []int
	for _, f := range files {
		named = append(named, f.Number)
	}
	for _, c := range cards {
		if c.Number == nil {
			return chardev.File{}, false
		}
		told = append(told, int(*c.Number))
	}
	slices.Sort(told)
	c := cards[address]
	if c == nil || !slices.Equal(named, told) {
		return chardev.File{}, false
	}
	return files[slices.Index(named, int(*c.Number))], true
}

func meters(l *outline.Line) (device.Health, *device.Reading) {
	r := &device.Reading{
		Utilization: l.Share("Device Usage Info", "GCU Usage"),
		MemoryUsed:  l.Bytes("Device Mem Info", "Used Size"),
		Temperature: l.Number([]string{"℃", "C", "'C"}, "Temperature Info", "GCU Temp"),
		Power:       l.Number([]string{"W"}, "Power Info", "Cur Power"),
		PowerLimit:  l.Number([]string{"W"}, "Power Info", "Power Capa"),
	}
	if r.MemoryUsed == nil {
		r.MemoryUsed = l.Bytes("Device Mem Info", "Mem Usage")
	}
	if n := l.Count("RMA Info", "Total DBE"); n != nil {
		r.Errors = map[string]int64{"ecc-double-bit": *n}
	}
	return health(l), r
}

func health(l *outline.Line) device.Health {
	healthy := l.Text("Device Info", "Health")
	if healthy == "" {
		return device.Health{State: device.Unknown}
	}
	var faults []device.Fault
	if healthy != "True" {
		faults = append(faults, device.Fault{Code: "unhealthy", Message: "efsmi says that its health is " + healthy, State: device.Failed})
	}
	if l.Text("RMA Info", "Flags") == "True" {
		faults = append(faults, device.Fault{Code: "rma", Message: "its driver says that it is to be returned to the vendor", State: device.Degraded})
	}
	if s := l.Text("Power Cable", "Status"); s != "" && s != "Normal" {
		faults = append(faults, device.Fault{Code: "power-cable", Message: "its power cable is " + s, State: device.Degraded})
	}
	return device.Of(faults...)
}
