package furiosa

import (
	"encoding/json"
	"fmt"

	"polder.dev/polder/device"
)

// entry is what `furiosa-smi info --format json` prints of a device; for Warboy it was
// `--output json`.
type entry struct {
	Architecture string `json:"arch"`     // "rngd"
	Name         string `json:"dev_name"` // "npu0"
	UUID         string `json:"device_uuid"`
	Serial       string `json:"device_sn"`
	Firmware     string `json:"firmware"`
	Address      string `json:"pci_bdf"`
}

// Read implements device.Reader. It reads the output of `furiosa-smi info --format
// json`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	var list []entry
	if err := json.Unmarshal(output, &list); err != nil {
		return nil, fmt.Errorf("the output of furiosa-smi info: %w: %w", device.ErrFormat, err)
	}
	var devices []device.Device
	seen := map[string]bool{}
	for _, e := range list {
		a, ok := device.Address(e.Address)
		if !ok || e.UUID == "" || e.Architecture == "" || seen[a] || len(devices) == devicesMax {
			continue
		}
		seen[a] = true
		d := device.Device{
			Kind: device.NPU, Vendor: "furiosa", Product: product(e.Architecture), Software: "furiosa", Form: device.Whole, PCI: &device.Function{Address: a},
			UUID: e.UUID, Serial: e.Serial, Driver: device.Driver{Firmware: e.Firmware}, Health: device.Health{State: device.Unknown},
		}
		d.Note(device.Origin{From: "furiosa-smi"}, "product", "uuid", "serial", "driver.firmware")
		devices = append(devices, d)
	}
	if len(devices) == 0 {
		return nil, fmt.Errorf("the output of furiosa-smi info: %w: no entry has arch, device_uuid and pci_bdf", device.ErrFormat)
	}
	sortByAddress(devices)
	return devices, nil
}
