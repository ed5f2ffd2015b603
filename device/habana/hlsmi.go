package habana

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// smi is Habana's program; columns are those it is asked for.
const smi = "hl-smi"

var (
	identity = []string{"bus_id", "uuid", "name", "serial", "driver_version", "memory.total"}
	meters   = []string{"bus_id", "memory.used", "power.draw", "temperature.aip", "utilization.aip", "ecc.errors.uncorrected.volatile.total"}
)

// rowsMax bounds how many accelerators an output may tell of.
const rowsMax = 1024

// row is what hl-smi says of one accelerator, by the name of the column.
type row map[string]string

// parse reads what "hl-smi -Q COLUMNS -f csv" prints: a line of names such as
// "memory.total [MiB]", and a line of values such as "98304 MiB" for each accelerator.
func parse(output []byte) ([]row, error) {
	r := csv.NewReader(bytes.NewReader(output))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes, r.ReuseRecord = -1, true, true, true
	var names []string
	var out []row
	for len(out) < rowsMax {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading hl-smi: %w: %w", err, device.ErrFormat)
		}
		switch {
		case names == nil:
			if names = header(fields); !slices.Contains(names, "bus_id") {
				return nil, fmt.Errorf("reading hl-smi: its first line names no bus_id: %w", device.ErrFormat)
			}
		case len(fields) == len(names):
			x := row{}
			for i, f := range fields {
				x[names[i]] = strings.TrimSpace(f)
			}
			out = append(out, x)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading hl-smi: it tells of no accelerator: %w", device.ErrFormat)
	}
	return out, nil
}

// header are the names of columns without their units.
func header(fields []string) []string {
	out := make([]string, 0, min(len(fields), 64))
	for _, f := range fields[:min(len(fields), 64)] {
		name, _, _ := strings.Cut(f, "[")
		out = append(out, strings.TrimSpace(name))
	}
	return out
}

// get is a value, "" if hl-smi does not know it.
func (x row) get(column string) string {
	if v := x[column]; !strings.HasPrefix(strings.ToUpper(v), "N/A") {
		return v
	}
	return ""
}

// number reads the value of a column in front of its unit, if it is from 0 to most.
func (x row) number(column string, most float64) *float64 {
	first, _, _ := strings.Cut(x.get(column), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil || !(v >= 0 && v <= most) { // nor NaN
		return nil
	}
	return &v
}

// bytes reads a value of MiB, the only unit seen.
func (x row) bytes(column string) *int64 {
	mib := x.number(column, 1<<30)
	if _, unit, has := strings.Cut(x.get(column), " "); mib == nil || has && strings.TrimSpace(unit) != "MiB" {
		return nil
	}
	return new(int64(*mib) << 20)
}

// query asks for columns and returns the rows by address.
func query(ctx context.Context, h *device.Host, columns []string) (map[string]row, error) {
	if h.Run == nil {
		return nil, fmt.Errorf("%s: %w", smi, device.ErrNoTool)
	}
	output, err := h.Run(ctx, smi, "-Q", strings.Join(columns, ","), "-f", "csv")
	if err != nil {
		return nil, err
	}
	rows, err := parse(output)
	out := map[string]row{}
	for _, x := range rows {
		if address, ok := device.Address(x["bus_id"]); ok {
			out[address] = x
		}
	}
	return out, err
}

// ask has hl-smi tell what files lack. Where the driver is not in use it would know
// nothing.
func ask(ctx context.Context, h *device.Host, devices []device.Device) error {
	if h.Run == nil || !slices.ContainsFunc(devices, func(d device.Device) bool { return d.PCI.Driver == module }) {
		return nil
	}
	rows, err := query(ctx, h, identity)
	for i := range devices {
		if x, ok := rows[devices[i].PCI.Address]; ok {
			x.fill(&devices[i])
		}
	}
	if err != nil {
		return device.Problem{Where: smi, What: fmt.Sprintf("cannot be used (%v); UUIDs and serial numbers are not known, and memory is the catalogue's; install habanalabs-firmware-tools", err)}
	}
	return nil
}

// fill sets of d what files do not tell.
func (x row) fill(d *device.Device) {
	set := func(field *string, column, name string) {
		if v := x.get(column); *field == "" && v != "" {
			*field = v
			d.Note(device.Origin{From: smi}, name)
		}
	}
	set(&d.UUID, "uuid", "uuid")
	set(&d.Serial, "serial", "serial")
	set(&d.Driver.Version, "driver_version", "driver.version")
	if n := x.bytes("memory.total"); n != nil && *n > 0 && d.Form == device.Whole {
		d.Memory = *n
		d.Note(device.Origin{From: smi}, "memory")
	}
	if name := x.get("name"); name != "" && strings.HasPrefix(d.Product, "device ") {
		d.Product = name
		d.Note(device.Origin{From: smi}, "product")
	}
}

// Read implements device.Reader, for "hl-smi -Q COLUMNS -f csv" with the columns bus_id
// and name at the least.
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	rows, err := parse(output)
	if err != nil {
		return nil, err
	}
	var out []device.Device
	for _, x := range rows {
		address, ok := device.Address(x["bus_id"])
		name := x.get("name")
		if !ok || !strings.HasPrefix(name, "HL-") {
			continue // of another vendor, who prints tables alike
		}
		d := device.Device{
			Vendor: family.Vendor, Kind: family.Kind, Software: family.Software, Form: device.Whole, Product: name,
			PCI: &device.Function{Address: address, Vendor: family.Numbers[0]}, Driver: device.Driver{Module: module}, Health: device.Health{State: device.Unknown},
		}
		if p, ok := catalogue.ByName(d.Vendor, name); ok {
			d.Product = p.Name
		}
		if slot := x.number("module_id", 1<<16-1); slot != nil {
			d.Fabric = &device.Fabric{Type: "roce", Index: new(int(*slot))}
		}
		x.fill(&d)
		x.measure(&d)
		out = append(out, d)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading hl-smi: no accelerator of Habana's: %w", device.ErrFormat)
	}
	return out, nil
}
