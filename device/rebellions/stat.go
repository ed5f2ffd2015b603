package rebellions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"polder.dev/polder/device"
)

// stat is what `rbln-stat -j` prints, by the vendor's own programs that read it.
type stat struct {
	Version string   `json:"KMD_version"`
	Devices []*entry `json:"devices"`
}

// entry is a device in it.
type entry struct {
	Name     string `json:"name"` // "RBLN-CA22"
	Serial   string `json:"sid"`
	UUID     string `json:"uuid"`
	Device   string `json:"device"` // "rbln0"
	Firmware string `json:"fw_ver"`
	PCI      struct {
		Address string `json:"bus_id"`
	} `json:"pci"`
	Memory struct {
		Total string `json:"total"` // bytes, in quotes
	} `json:"memory"`

	driver string
}

// ask runs the vendor's program, under the name that is installed, and returns what it
// tells of devices by their PCI address.
func ask(ctx context.Context, h *device.Host) (map[string]*entry, error) {
	if h.Run == nil {
		return nil, device.ErrNoTool
	}
	out, err := h.Run(ctx, "rbln-stat", "-j")
	if errors.Is(err, device.ErrNoTool) {
		out, err = h.Run(ctx, "rbln-smi", "-j")
	}
	if err != nil {
		return nil, err
	}
	list, err := parse(out)
	byAddress := map[string]*entry{}
	for _, e := range list {
		a, _ := device.Address(e.PCI.Address)
		byAddress[a] = e
	}
	return byAddress, err
}

func parse(output []byte) ([]*entry, error) {
	var s stat
	if err := json.Unmarshal(output, &s); err != nil {
		return nil, fmt.Errorf("the output of rbln-stat -j: %w: %w", device.ErrFormat, err)
	}
	var list []*entry
	seen := map[string]bool{}
	for _, e := range s.Devices {
		if e == nil || len(list) == devicesMax {
			continue
		}
		if a, ok := device.Address(e.PCI.Address); ok && !seen[a] && s.Version != "" {
			seen[a], e.driver = true, s.Version
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the output of rbln-stat -j: %w: it lacks KMD_version, or devices with a bus_id", device.ErrFormat)
	}
	return list, nil
}

// fill sets of d what the program tells.
func (e *entry) fill(d *device.Device) {
	from := device.Origin{From: "rbln-stat"}
	text := func(field *string, name, v string) {
		if v != "" {
			*field = v
			d.Note(from, name)
		}
	}
	text(&d.Product, "product", e.Name)
	text(&d.UUID, "uuid", e.UUID)
	text(&d.Serial, "serial", e.Serial)
	text(&d.Driver.Version, "driver.version", e.driver)
	text(&d.Driver.Firmware, "driver.firmware", e.Firmware)
	if n, err := strconv.ParseInt(e.Memory.Total, 10, 64); err == nil && n > 0 && n < memoryMax {
		d.Memory = n
		d.Note(from, "memory")
	}
}

// Read implements device.Reader. It reads the output of `rbln-stat -j`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	list, err := parse(output)
	var devices []device.Device
	for _, e := range list {
		a, _ := device.Address(e.PCI.Address)
		d := device.Device{Kind: device.NPU, Vendor: "rebellions", Product: "RBLN", Software: "rbln", Form: device.Whole, PCI: &device.Function{Address: a}, Health: device.Health{State: device.Unknown}}
		e.fill(&d)
		devices = append(devices, d)
	}
	return devices, err
}
