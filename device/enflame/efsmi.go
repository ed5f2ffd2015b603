package enflame

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
)

// cardsMax bounds what is believed of a machine.
const cardsMax = 256

// card is what efsmi tells of a card.
type card struct {
	number  int
	address string
	text    *outline.Line
}

func ask(ctx context.Context, h *device.Host) (map[string]*card, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	out, err := h.Run(ctx, "efsmi", "-q")
	if err != nil {
		return nil, err
	}
	cards, err := parse(out)
	byAddress := map[string]*card{}
	for _, c := range cards {
		byAddress[c.address] = c
	}
	return byAddress, err
}

// parse reads the output of `efsmi -q`: "DEV ID 0" with sections below.
func parse(output []byte) ([]*card, error) {
	var cards []*card
	for _, l := range outline.Read(output).Below("DEV ID ") {
		n, err := strconv.Atoi(strings.TrimPrefix(l.Key, "DEV ID "))
		address, ok := place(l)
		twice := slices.ContainsFunc(cards, func(c *card) bool { return c.number == n || c.address == address })
		if err != nil || n < 0 || !ok || twice || len(cards) == cardsMax {
			continue
		}
		cards = append(cards, &card{number: n, address: address, text: l})
	}
	if len(cards) == 0 {
		return nil, fmt.Errorf("the output of efsmi -q: %w: there is no DEV ID with its PCIe Info", device.ErrFormat)
	}
	return cards, nil
}

// place is the PCI address, which efsmi prints in four parts.
func place(l *outline.Line) (string, bool) {
	part := func(key string) string { return l.Text("PCIe Info", key) }
	return device.Address(part("Domain") + ":" + part("Bus") + ":" + part("Dev") + "." + part("Func"))
}

// fill sets of d what efsmi tells.
func (c *card) fill(d *device.Device) {
	from := device.Origin{From: "efsmi"}
	text := func(field *string, name string, keys ...string) {
		if v := c.text.Text(keys...); v != "" {
			*field = v
			d.Note(from, name)
		}
	}
	text(&d.Product, "product", "Device Info", "Dev Name")
	text(&d.UUID, "uuid", "Device Info", "Dev UUID")
	text(&d.Serial, "serial", "Device Info", "Dev SN")
	text(&d.Driver.Version, "driver.version", "Driver Info", "Ver")
	if v := c.memory("Total Size", "Mem Size"); v != nil && *v > 0 {
		d.Memory = *v
		d.Note(from, "memory")
	}
	d.Health, d.Reading = c.meters()
	d.Note(from, "health", "reading")
}

// memory reads one of the amounts, by its name in new drivers or in old ones.
func (c *card) memory(name, old string) *int64 {
	if v := c.text.Bytes("Device Mem Info", name); v != nil {
		return v
	}
	return c.text.Bytes("Device Mem Info", old)
}

func (c *card) meters() (device.Health, *device.Reading) {
	t := c.text
	r := &device.Reading{
		MemoryUsed:  c.memory("Used Size", "Mem Usage"),
		Temperature: t.Number([]string{"℃", "C", "'C"}, "Temperature Info", "GCU Temp"),
		Power:       t.Number([]string{"W"}, "Power Info", "Cur Power"),
		PowerLimit:  t.Number([]string{"W"}, "Power Info", "Power Capa"),
	}
	if v := t.Number([]string{"%"}, "Device Usage Info", "GCU Usage"); v != nil && *v >= 0 && *v <= 100 {
		r.Utilization = new(*v / 100)
	}
	if v := t.Number([]string{""}, "RMA Info", "Total DBE"); v != nil && *v >= 0 && *v < 1<<40 {
		r.Errors = map[string]int64{"ecc-double-bit": int64(*v)}
	}
	return c.health(), r
}

func (c *card) health() device.Health {
	healthy := c.text.Text("Device Info", "Health")
	if healthy == "" {
		return device.Health{State: device.Unknown}
	}
	var faults []device.Fault
	if healthy != "True" {
		faults = append(faults, device.Fault{Code: "unhealthy", Message: "efsmi says that its health is " + healthy, State: device.Failed})
	}
	if c.text.Text("RMA Info", "Flags") == "True" {
		faults = append(faults, device.Fault{Code: "rma", Message: "its driver says that it is to be returned to the vendor", State: device.Degraded})
	}
	if s := c.text.Text("Power Cable", "Status"); s != "" && s != "Normal" {
		faults = append(faults, device.Fault{Code: "power-cable", Message: "its power cable is " + s, State: device.Degraded})
	}
	return device.Of(faults...)
}

// Read implements device.Reader. It reads the output of `efsmi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards, err := parse(output)
	var devices []device.Device
	for _, c := range cards {
		d := device.Device{Kind: device.NPU, Vendor: "enflame", Product: "Enflame card", Software: "topsrider", Form: device.Whole}
		d.PCI = &device.Function{Address: c.address, Vendor: id(c.text.Text("PCIe Info", "Vendor ID")), Device: id(c.text.Text("PCIe Info", "Device ID"))}
		c.fill(&d)
		devices = append(devices, d)
	}
	return devices, err
}

// id is a number of the PCI bus, "" if s is none.
func id(s string) string {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 2 {
		return ""
	}
	return strings.ToLower(s)
}
