package intel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// smi is the program of XPU Manager, with what makes it list the cards.
const smi = "xpu-smi"

var smiArgs = []string{"discovery", "-j"}

// cardsMax bounds how many cards an output may tell of.
const cardsMax = 1024

// card is one of a list of "xpu-smi discovery -j", by Intel's guide to the program;
// what "discovery -d 0 -j" says of one has the same keys.
type card struct {
	Name     string `json:"device_name"`
	Vendor   string `json:"vendor_name"`
	Address  string `json:"pci_bdf_address"`
	Number   string `json:"pci_device_id"`
	UUID     string `json:"uuid"`
	Function string `json:"device_function_type"`
	// Memory in bytes: only of one card, and seen in one capture (M).
	Memory json.Number `json:"memory_physical_size_byte"`
}

// parse reads a list of cards, or one card. It refuses what is not Intel's.
func parse(output []byte) ([]card, error) {
	var list struct {
		Cards []card `json:"device_list"`
		card
	}
	if err := json.Unmarshal(output, &list); err != nil {
		return nil, fmt.Errorf("reading xpu-smi: %w: %w", err, device.ErrFormat)
	}
	cards := list.Cards
	if len(cards) == 0 {
		cards = []card{list.card}
	}
	var out []card
	for _, c := range cards[:min(len(cards), cardsMax)] {
		address, ok := device.Address(c.Address)
		if c.Address = address; !ok || c.Name == "" || c.Vendor != "" && !strings.Contains(c.Vendor, "Intel") {
			continue
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading xpu-smi: no card of Intel's: %w", device.ErrFormat)
	}
	return out, nil
}

// plain is a name as the catalogue writes it: "Data Center GPU Max 1550" for "Intel(R)
// Data Center GPU Max 1550".
func plain(name string) string {
	name = strings.NewReplacer("(R)", "", "(TM)", "").Replace(name)
	name = strings.Join(strings.Fields(name), " ")
	return strings.TrimPrefix(name, "Intel ")
}

// anonymous reports whether a name is but a number: "Graphics [0x020a]".
func anonymous(name string) bool { return strings.Contains(name, "[0x") }

// own is a UUID that its vendor gave, else "". Level Zero makes up those that end in
// the device's and Intel's number, of the address: 00000000-0000-0029-0000-002f0bda8086.
func own(uuid string) string {
	digits := strings.ReplaceAll(uuid, "-", "")
	if len(digits) != 32 || strings.HasSuffix(digits, "8086") || strings.Trim(digits, "0") == "" || strings.Trim(digits[:31], "0") == "" {
		return ""
	}
	return strings.ToLower(uuid)
}

// ask has xpu-smi name cards. That it is not installed is no problem.
func ask(ctx context.Context, h *device.Host, devices []device.Device) error {
	wanted := slices.ContainsFunc(devices, func(d device.Device) bool { return len(d.Nodes) > 0 })
	if !wanted || h.Run == nil {
		return nil
	}
	output, err := h.Run(ctx, smi, smiArgs...)
	if errors.Is(err, device.ErrNoTool) {
		return nil
	}
	var cards []card
	if err == nil {
		cards, err = parse(output)
	}
	if err != nil {
		return device.Problem{Where: smi, What: fmt.Sprintf("cannot be used (%v); GPUs that the catalogue does not know are called by their number", err)}
	}
	for i := range devices {
		for _, c := range cards {
			if d := &devices[i]; d.PCI.Address == c.Address {
				c.fill(d)
			}
		}
	}
	return nil
}

// fill sets of d what files do not tell.
func (c *card) fill(d *device.Device) {
	if name := plain(c.Name); strings.HasPrefix(d.Product, "device ") && !anonymous(name) {
		d.Product = name
		d.Note(device.Origin{From: smi}, "product")
	}
	if id := own(c.UUID); id != "" {
		d.UUID = id
		d.Note(device.Origin{From: smi}, "uuid")
	}
	if n := c.memory(); d.Memory == 0 && d.Form == device.Whole && n > 0 {
		d.Memory = n
		d.Note(device.Origin{From: smi}, "memory")
	}
}

func (c *card) memory() int64 {
	n, err := c.Memory.Int64()
	if err != nil || n < 0 || n >= 1<<50 {
		return 0
	}
	return n
}

var number = regexp.MustCompile(`^0x([0-9a-f]{1,4})$`)

// Read implements device.Reader, for "xpu-smi discovery -j", also with -d.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	cards, err := parse(output)
	if err != nil {
		return nil, err
	}
	var out []device.Device
	for _, c := range cards {
		f := &device.Function{Address: c.Address, Vendor: "8086"}
		if m := number.FindStringSubmatch(strings.ToLower(c.Number)); m != nil {
			f.Device = fmt.Sprintf("%04s", m[1])
		}
		d := family.Device(&device.Host{}, f)
		if strings.EqualFold(c.Function, "virtual") {
			d.Form = device.VF
		}
		if p, ok := catalogue.ByName(family.Vendor, c.Name); ok {
			d.Product = p.Name
		} else if strings.HasPrefix(d.Product, "device ") {
			d.Product = plain(c.Name)
			delete(d.Provenance, "product")
		}
		c.fill(&d)
		out = append(out, d)
	}
	return out, nil
}
