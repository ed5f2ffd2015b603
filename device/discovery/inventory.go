package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"polder.dev/polder/device"
)

// Bounds of a saved inventory. Machines have some dozens of devices.
const (
	inventoryBytesMax = 16 << 20
	inventoryMax      = 4096
)

// label is what a device may be called.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// readInventory reads what `polder devices -o json` wrote. Names, UUIDs and all else
// stay as they were. It returns device.ErrFormat for what is something else, and an
// error that wraps it and says more for what is an inventory but a wrong one.
func readInventory(output []byte) (device.Inventory, error) {
	var v device.Inventory
	if !isInventory(output) {
		return v, device.ErrFormat
	}
	d := json.NewDecoder(bytes.NewReader(output))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands behind it")
		}
	}
	if err == nil {
		err = sound(v.Devices)
	}
	if err != nil {
		return device.Inventory{}, fmt.Errorf("%w of an inventory: %w", device.ErrFormat, err)
	}
	return v, nil
}

// isInventory tells an inventory from other JSON by its list of devices, which have
// names and kinds.
func isInventory(output []byte) bool {
	output = bytes.TrimSpace(output)
	if len(output) == 0 || output[0] != '{' || len(output) > inventoryBytesMax {
		return false
	}
	var look struct {
		Devices json.RawMessage `json:"devices"`
	}
	if err := json.NewDecoder(bytes.NewReader(output)).Decode(&look); err != nil || look.Devices == nil {
		return false
	}
	var devices []struct {
		Name *string `json:"name"`
		Kind *string `json:"kind"`
	}
	if err := json.Unmarshal(look.Devices, &devices); err != nil {
		return false
	}
	for _, d := range devices {
		if d.Name == nil || d.Kind == nil {
			return false
		}
	}
	return true
}

// sound looks at what is promised of all devices of an inventory.
func sound(devices []device.Device) error {
	if len(devices) > inventoryMax {
		return fmt.Errorf("it has %d devices, of %d that are read", len(devices), inventoryMax)
	}
	names, uuids := map[string]bool{}, map[string]bool{}
	for i := range devices {
		d := &devices[i]
		switch {
		case !label.MatchString(d.Name):
			return fmt.Errorf("devices[%d].name: %.80q is no DNS label", i, d.Name)
		case names[d.Name]:
			return fmt.Errorf("devices[%d].name: %s is that of another device", i, d.Name)
		case !slices.Contains(device.Kinds(), d.Kind):
			return fmt.Errorf("devices[%d].kind: %.80q is no kind", i, d.Kind)
		case d.UUID == "" || uuids[d.UUID]:
			return fmt.Errorf("devices[%d].uuid: %.80q is missing or that of another device", i, d.UUID)
		case !slices.Contains([]device.State{device.Healthy, device.Degraded, device.Failed, device.Unknown}, d.Health.State):
			return fmt.Errorf("devices[%d].health.state: %.80q is no state", i, d.Health.State)
		}
		if d.PCI != nil {
			if at, ok := device.Address(d.PCI.Address); !ok || at != d.PCI.Address {
				return fmt.Errorf("devices[%d].pci.address: %.80q is no address", i, d.PCI.Address)
			}
		}
		names[d.Name], uuids[d.UUID] = true, true
	}
	return nil
}
