package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// memoryMax is more bytes than a chip will have for long.
const memoryMax = 1 << 50

// row is what `neuron-ls -j` prints of a chip, as in Neuron's documentation. Programs
// before 2024 lack the instance and the logical cores.
type row struct {
	Device    *int            `json:"neuron_device"`
	BDF       string          `json:"bdf"`
	NUMA      json.RawMessage `json:"numa_node"` // "1", in quotes
	Connected []int           `json:"connected_to"`
	// Cores are logical ones, of which each is LogicalOf real ones.
	Cores     int    `json:"nc_count"`
	LogicalOf int    `json:"logical_neuroncore_config"`
	Memory    int64  `json:"memory_size"`
	Instance  string `json:"instance_type"` // "trn2.48xlarge"
}

// ask runs neuron-ls and returns its rows by the driver's number.
func ask(ctx context.Context, h *device.Host) (map[int]*row, error) {
	if h.Run == nil {
		return nil, fmt.Errorf("neuron-ls: %w", device.ErrNoTool)
	}
	out, err := h.Run(ctx, "neuron-ls", "-j")
	if err != nil {
		return nil, err
	}
	return parse(out)
}

func parse(output []byte) (map[int]*row, error) {
	var list []*row
	if err := json.Unmarshal(output, &list); err != nil {
		return nil, fmt.Errorf("the output of neuron-ls -j: %w: %w", device.ErrFormat, err)
	}
	rows := map[int]*row{}
	for _, r := range list {
		if r == nil || r.Device == nil || *r.Device < 0 || r.BDF == "" && r.Memory == 0 {
			return nil, fmt.Errorf("the output of neuron-ls -j: %w: an entry lacks neuron_device or bdf", device.ErrFormat)
		}
		if rows[*r.Device] == nil && len(rows) < chipsMax {
			rows[*r.Device] = r
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("the output of neuron-ls -j: %w: it tells of no devices", device.ErrFormat)
	}
	return rows, nil
}

func (r *row) address() string {
	a, _ := device.Address(r.BDF)
	return a
}

// fill sets of c what the driver did not tell.
func (r *row) fill(c *chip) {
	d, from := c.d, device.Origin{From: "neuron-ls"}
	if d.Memory == 0 && r.Memory > 0 && r.Memory < memoryMax {
		d.Memory = r.Memory
		d.Note(from, "memory")
	}
	if n, err := strconv.Atoi(strings.Trim(string(r.NUMA), `"`)); d.NUMA == nil && err == nil && n >= 0 && n < 1<<16 {
		d.NUMA = &n
		d.Note(from, "numa")
	}
	if d.Units == 0 && r.Cores > 0 && r.Cores <= coresMax && r.LogicalOf >= 0 && r.LogicalOf <= coresMax {
		d.Units = r.Cores * max(1, r.LogicalOf)
		d.Note(from, "units")
	}
	if c.linked == nil {
		c.linked = r.Connected[:min(len(r.Connected), linksMax)]
	}
	if p := product(r.Instance); p != "" && d.Product == "" {
		d.Product = p
		d.Note(from, "product")
	}
}

// product is the chip of a type of instances. A type has one sort of chips.
func product(instance string) string {
	kind, _, _ := strings.Cut(instance, ".")
	for prefix, chip := range map[string]string{"inf1": "Inferentia", "inf2": "Inferentia2", "trn1": "Trainium1", "trn2": "Trainium2", "trn3": "Trainium3"} {
		if strings.HasPrefix(kind, prefix) {
			return chip
		}
	}
	return ""
}

// Read implements device.Reader. It reads the output of `neuron-ls -j`.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	rows, err := parse(output)
	if err != nil {
		return nil, err
	}
	devices := make([]device.Device, 0, len(rows)) // its backing array must not move
	all := make([]*chip, 0, len(rows))
	for _, n := range sorted(rows) {
		r := rows[n]
		d := device.Device{Kind: device.NPU, Vendor: "aws", Software: "neuron", Form: device.Whole, Health: device.Health{State: device.Unknown}}
		if a := r.address(); a != "" {
			d.PCI = &device.Function{Address: a}
		}
		devices = append(devices, d)
		c := &chip{d: &devices[len(devices)-1], number: n, row: r}
		r.fill(c)
		if c.d.Product == "" {
			c.d.Product = "Neuron device"
		}
		c.d.Nodes = []device.Node{{Path: "/dev/" + entry(n), Type: "c"}}
		all = append(all, c)
	}
	connect(all)
	return devices, nil
}
