package amd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/kfd"
)

// cardsMax bounds how many cards an output may tell of.
const cardsMax = 1024

// card is what rocm-smi says of one: all of it texts, by keys that differ between
// versions of ROCm.
type card struct {
	number int
	text   map[string]string
}

// report is an output of rocm-smi.
type report struct {
	cards  []card
	system map[string]string
}

// parse reads "rocm-smi -a --json", as seen of ROCm 4.3 to 6.1. Warnings may stand
// before the object.
func parse(output []byte) (*report, error) {
	start := bytes.IndexByte(output, '{')
	if start < 0 {
		return nil, fmt.Errorf("reading rocm-smi: no JSON object: %w", device.ErrFormat)
	}
	var all map[string]json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(output[start:])).Decode(&all); err != nil {
		return nil, fmt.Errorf("reading rocm-smi: %w: %w", err, device.ErrFormat)
	}
	r := &report{}
	for key, raw := range all {
		rest, isCard := strings.CutPrefix(key, "card")
		number, err := strconv.Atoi(rest)
		switch {
		case key == "system":
			r.system = texts(raw)
		case isCard && err == nil && number >= 0 && number < cardsMax:
			if c := (card{number, texts(raw)}); c.amd() {
				r.cards = append(r.cards, c)
			}
		}
	}
	if len(r.cards) == 0 {
		return nil, fmt.Errorf("reading rocm-smi: no card of AMD's: %w", device.ErrFormat)
	}
	slices.SortFunc(r.cards, func(a, b card) int { return a.number - b.number })
	return r, nil
}

func texts(raw json.RawMessage) map[string]string {
	var values map[string]any
	if json.Unmarshal(raw, &values) != nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range values {
		switch v := v.(type) {
		case string:
			out[strings.TrimSpace(k)] = strings.TrimSpace(v)
		case float64:
			out[strings.TrimSpace(k)] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return out
}

// get is the first of the keys that says something.
func (c *card) get(keys ...string) string {
	for _, k := range keys {
		if v := known(c.text[k]); v != "" {
			return v
		}
	}
	return ""
}

// amd tells AMD's cards from those of others whose programs were made from rocm-smi.
func (c *card) amd() bool {
	vendor := c.get("Card vendor", "Card Vendor")
	return strings.Contains(vendor, "Advanced Micro Devices") || vendor == "0x1002"
}

// number64 reads a value that is not below zero and not beyond most.
func (c *card) number64(most float64, keys ...string) *float64 {
	for _, k := range keys {
		if v, err := strconv.ParseFloat(c.text[k], 64); err == nil && v >= 0 && v <= most {
			return &v
		}
	}
	return nil
}

func (c *card) bytes(key string) int64 {
	n, err := strconv.ParseInt(c.text[key], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Read implements device.Reader, for "rocm-smi -a --json".
func (*Adapter) Read(output []byte) ([]device.Device, error) {
	r, err := parse(output)
	if err != nil {
		return nil, err
	}
	var out []device.Device
	for i := range r.cards {
		out = append(out, r.device(&r.cards[i]))
	}
	r.link(out)
	return out, nil
}

var number4 = regexp.MustCompile(`^0x([0-9a-fA-F]{1,4})$`)

func (r *report) device(c *card) device.Device {
	f := &device.Function{Vendor: "1002"}
	f.Address, _ = device.Address(c.get("PCI Bus"))
	if m := number4.FindStringSubmatch(c.get("Device ID", "GPU ID")); m != nil {
		f.Device = fmt.Sprintf("%04s", strings.ToLower(m[1]))
	}
	d := family.Device(&device.Host{}, f)
	if f.Address == "" {
		d.PCI = nil
	}
	name(&d, c.get("Card series", "Card Series", "Device Name"))
	if id := kfd.Unique(c.get("Unique ID")); id != "" {
		d.UUID = "amd-" + id
	}
	d.Serial, d.Architecture = c.get("Serial Number"), c.get("GFX Version")
	d.Memory = c.bytes("VRAM Total Memory (B)")
	d.Driver = device.Driver{Module: module, Version: known(r.system["Driver version"]), Firmware: c.get("VBIOS version")}
	if n, err := strconv.Atoi(c.text["(Topology) Numa Affinity"]); err == nil && n >= 0 && n < 1<<16 { // -1 comes as 4294967295 too
		d.NUMA = &n
	}
	d.Reading = c.reading()
	note(&d)
	return d
}

// note records that what is known of a device is rocm-smi's word.
func note(d *device.Device) {
	for field, is := range map[string]bool{
		"uuid": d.UUID != "", "serial": d.Serial != "", "architecture": d.Architecture != "", "memory": d.Memory > 0,
		"driver.version": d.Driver.Version != "", "driver.firmware": d.Driver.Firmware != "", "numa": d.NUMA != nil,
	} {
		if is {
			d.Note(device.Origin{From: smi}, field)
		}
	}
}

func (c *card) reading() *device.Reading {
	r := &device.Reading{
		Temperature: c.number64(1000, "Temperature (Sensor edge) (C)", "Temperature (Sensor junction) (C)"),
		Power:       c.number64(1e5, "Average Graphics Package Power (W)", "Current Socket Graphics Package Power (W)"),
		PowerLimit:  c.number64(1e5, "Max Graphics Package Power (W)"),
	}
	if use := c.number64(100, "GPU use (%)"); use != nil {
		r.Utilization = new(*use / 100)
	}
	if used := c.text["VRAM Total Used Memory (B)"]; used != "" {
		r.MemoryUsed = new(c.bytes("VRAM Total Used Memory (B)"))
	}
	return r
}

var pair = regexp.MustCompile(`^\(Topology\) Link type between DRM devices (\d{1,4}) and (\d{1,4})$`)

// link joins the devices that the report says are linked, both ways.
func (r *report) link(devices []device.Device) {
	at := map[string]*device.Device{}
	for i, c := range r.cards {
		at[strconv.Itoa(c.number)] = &devices[i]
	}
	keys := make([]string, 0, len(r.system))
	for k := range r.system {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		m, kind := pair.FindStringSubmatch(k), strings.ToLower(r.system[k])
		if m == nil || kind != "pcie" && kind != "xgmi" {
			continue
		}
		a, b := at[m[1]], at[m[2]]
		if a == nil || b == nil || a == b || a.UUID == "" || b.UUID == "" {
			continue
		}
		a.Links = append(a.Links, device.Link{To: b.UUID, Type: kind})
		b.Links = append(b.Links, device.Link{To: a.UUID, Type: kind})
	}
}
