package kunlunxin

import (
	"context"
	"fmt"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
)

// cardsMax bounds what is believed of a machine.
const cardsMax = 256

// card is what xpu-smi tells of a card.
type card struct {
	address string
	// minor number of its file, nil if xpu-smi does not say.
	minor *int64
	text  *outline.Line
	// driver is the version of the driver, runtime the newest of the software that it
	// serves.
	driver, runtime string
}

func ask(ctx context.Context, h *device.Host) (map[string]*card, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	out, err := h.Run(ctx, "xpu-smi", "-q")
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

// parse reads the output of Kunlunxin's `xpu-smi -q`: "XPU 00000000:01:00.0" with
// sections below.
func parse(output []byte) ([]*card, error) {
	root := outline.Read(output)
	var cards []*card
	seen := map[string]bool{}
	for _, l := range root.Below("XPU ") {
		address, ok := device.Address(strings.TrimPrefix(l.Key, "XPU "))
		if !ok || seen[address] || l.Text("XPU UUID") == "" || len(cards) == cardsMax {
			continue
		}
		seen[address] = true
		c := &card{address: address, text: l, driver: root.Text("Driver Version"), runtime: root.Text("XPU-RT Version")}
		if v := l.Number([]string{""}, "Minor Number"); v != nil && *v >= 0 && *v < 1<<20 && *v == float64(int64(*v)) {
			c.minor = new(int64(*v))
		}
		cards = append(cards, c)
	}
	if len(cards) == 0 {
		return nil, fmt.Errorf("the output of xpu-smi -q: %w: there is no XPU with a UUID; is it Intel's program?", device.ErrFormat)
	}
	return cards, nil
}

// fill sets of d what xpu-smi tells.
func (c *card) fill(d *device.Device) {
	from := device.Origin{From: "xpu-smi"}
	text := func(field *string, name, v string) {
		if v != "" {
			*field = v
			d.Note(from, name)
		}
	}
	text(&d.Product, "product", c.text.Text("Product Name"))
	text(&d.Architecture, "architecture", strings.ToLower(c.text.Text("Product Architecture")))
	text(&d.UUID, "uuid", c.text.Text("XPU UUID"))
	text(&d.Serial, "serial", c.text.Text("Serial Number"))
	text(&d.Driver.Version, "driver.version", c.driver)
	text(&d.Driver.Stack, "driver.stack", c.runtime)
	text(&d.Driver.Firmware, "driver.firmware", c.text.Text("Firmware Version", "ALL Version"))
	if v := c.text.Bytes("Memory Usage", "Total"); v != nil && *v > 0 {
		d.Memory = *v
		d.Note(from, "memory")
	}
	d.Health, d.Reading = c.meters()
	d.Note(from, "health", "reading")
}

func (c *card) meters() (device.Health, *device.Reading) {
	t := c.text
	r := &device.Reading{
		MemoryUsed:  t.Bytes("Memory Usage", "Used"),
		Temperature: t.Number([]string{"C"}, "Temperature", "XPU Current Temp"),
		Power:       t.Number([]string{"W"}, "Power Readings", "Power Draw"),
		PowerLimit:  t.Number([]string{"W"}, "Power Readings", "Enforced Power Limit"),
	}
	if v := t.Number([]string{"%"}, "Utilization", "Xpu"); v != nil && *v >= 0 && *v <= 100 {
		r.Utilization = new(*v / 100)
	}
	health := device.Health{State: device.Unknown}
	var faults []device.Fault
	for key, code := range map[string]string{"DRAM Correctable": "ecc-corrected", "DRAM Uncorrectable": "ecc-uncorrected"} {
		v := t.Number([]string{""}, "ECC Errors", "Volatile", key)
		if v == nil || *v < 0 || *v >= 1<<40 {
			continue
		}
		if r.Errors == nil {
			r.Errors = map[string]int64{}
		}
		r.Errors[code] = int64(*v)
		if code == "ecc-uncorrected" && *v > 0 {
			faults = append(faults, device.Fault{Code: code, Message: fmt.Sprintf("its memory had %.0f uncorrected errors since the driver was loaded", *v), State: device.Degraded})
		}
		health = device.Of(faults...)
	}
	return health, r
}

// Read implements device.Reader. It reads the output of `xpu-smi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards, err := parse(output)
	var devices []device.Device
	for _, c := range cards {
		d := device.Device{Kind: device.NPU, Vendor: "kunlunxin", Product: "Kunlunxin card", Software: "xre", Form: device.Whole, PCI: &device.Function{Address: c.address}}
		// "0x36862057" is the number of the device and of the vendor.
		if id, ok := strings.CutPrefix(strings.ToLower(c.text.Text("PCI", "Device Id")), "0x"); ok && len(id) == 8 && strings.Trim(id, "0123456789abcdef") == "" {
			d.PCI.Device, d.PCI.Vendor = id[:4], id[4:]
		}
		c.fill(&d)
		devices = append(devices, d)
	}
	return devices, err
}
