package thead

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/outline"
)

// cardsMax bounds what is believed of a machine.
const cardsMax = 256

// libraries is where the SDK keeps what ppu-smi is linked with. It is not on the
// system's list of such places everywhere.
const libraries = "LD_LIBRARY_PATH=/usr/local/PPU_SDK/lib64:/usr/local/PPU_SDK/lib"

// card is what ppu-smi tells of a card.
type card struct {
	address string
	// minor number of its file, nil if ppu-smi does not say.
	minor *int64
	text  *outline.Line
	// driver is the version of the driver, stack the newest HGGC that it serves.
	driver, stack string
}

func ask(ctx context.Context, h *device.Host) (map[string]*card, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	out, err := h.Run(ctx, "ppu-smi", "-q")
	if err != nil && !errors.Is(err, device.ErrNoTool) && ctx.Err() == nil {
		if again, err2 := h.Run(ctx, "env", libraries, "/usr/local/bin/ppu-smi", "-q"); err2 == nil {
			out, err = again, nil
		}
	}
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

// parse reads the output of `ppu-smi -q`: "PPU 00000000:01:00.0" with sections below.
func parse(output []byte) ([]*card, error) {
	root := outline.Read(output)
	var cards []*card
	seen := map[string]bool{}
	for _, l := range root.Below("PPU ") {
		address, ok := device.Address(strings.TrimPrefix(l.Key, "PPU "))
		if !ok || seen[address] || l.Text("PPU UUID") == "" || len(cards) == cardsMax {
			continue
		}
		seen[address] = true
		c := &card{address: address, text: l, driver: root.Text("Driver Version"), stack: root.Text("HGGC Version")}
		if v := l.Number([]string{""}, "Minor Number"); v != nil && *v >= 0 && *v < 1<<20 && *v == float64(int64(*v)) {
			c.minor = new(int64(*v))
		}
		cards = append(cards, c)
	}
	if len(cards) == 0 {
		return nil, fmt.Errorf("the output of ppu-smi -q: %w: there is no PPU with a UUID", device.ErrFormat)
	}
	return cards, nil
}

// fill sets of d what ppu-smi tells. Boards with several PPUs give all of them one
// serial number, so it makes no UUID.
func (c *card) fill(d *device.Device) {
	from := device.Origin{From: "ppu-smi"}
	text := func(field *string, name, v string) {
		if v != "" {
			*field = v
			d.Note(from, name)
		}
	}
	text(&d.Product, "product", c.text.Text("Product Name"))
	text(&d.UUID, "uuid", c.text.Text("PPU UUID"))
	text(&d.Serial, "serial", c.text.Text("Serial Number"))
	text(&d.Driver.Version, "driver.version", c.driver)
	text(&d.Driver.Stack, "driver.stack", c.stack)
	text(&d.Driver.Firmware, "driver.firmware", c.text.Text("VBIOS Version"))
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
		Temperature: t.Number([]string{"C"}, "Temperature", "PPU Current Temp"),
		Power:       t.Number([]string{"W"}, "Power Readings", "Power Draw"),
		PowerLimit:  t.Number([]string{"W"}, "Power Readings", "Enforced Power Limit"),
	}
	if v := t.Number([]string{"%"}, "Utilization", "Ppu"); v != nil && *v >= 0 && *v <= 100 {
		r.Utilization = new(*v / 100)
	}
	return c.health(r), r
}

// health judges the errors that ppu-smi counts, and adds them to r.
func (c *card) health(r *device.Reading) device.Health {
	health := device.Health{State: device.Unknown}
	var faults []device.Fault
	for _, e := range []struct{ key, code, what string }{
		{"SRAM Uncorrectable", "sram-ecc-uncorrected", "on-chip memory"}, {"DRAM Uncorrectable", "memory-ecc-uncorrected", "memory"},
	} {
		v := c.text.Number([]string{""}, "ECC Errors", "Volatile", e.key)
		if v == nil || *v < 0 || *v >= 1<<40 {
			continue
		}
		if r.Errors == nil {
			r.Errors = map[string]int64{}
		}
		if r.Errors[e.code] = int64(*v); *v > 0 {
			faults = append(faults, device.Fault{Code: e.code, Message: fmt.Sprintf("its %s had %.0f uncorrected errors since it was started", e.what, *v), State: device.Degraded})
		}
		health = device.Of(faults...)
	}
	if c.text.Text("Remapped Rows", "Remapping Failure Occurred") == "Yes" {
		faults = append(faults, device.Fault{Code: "row-remap-failed", Message: "bad rows of its memory could not be replaced; have the card changed", State: device.Failed})
		health = device.Of(faults...)
	}
	return health
}

// Read implements device.Reader. It reads the output of `ppu-smi -q`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards, err := parse(output)
	var devices []device.Device
	for _, c := range cards {
		d := device.Device{Kind: device.GPU, Vendor: "thead", Product: "PPU", Software: "ppu", Form: device.Whole, PCI: &device.Function{Address: c.address}}
		c.fill(&d)
		devices = append(devices, d)
	}
	return devices, err
}
