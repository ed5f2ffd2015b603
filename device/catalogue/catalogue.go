package catalogue

import (
	_ "embed" // the data beside this file
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/device"
)

//go:embed products.yaml
var data []byte

// Product is one product.
type Product struct {
	Vendor string      `json:"vendor"`
	Name   string      `json:"product"`
	Kind   device.Kind `json:"kind"`
	// PCI numbers as "10de:2330". A number may be that of several products; then
	// their names tell them apart.
	PCI []string `json:"pci,omitempty"`
	// Names are others for the product, as drivers and programs print them.
	Names        []string `json:"names,omitempty"`
	Family       string   `json:"family,omitempty"`
	Architecture string   `json:"architecture,omitempty"`
	Software     string   `json:"software,omitempty"`
	// Memory in bytes, MemoryBandwidth in bytes per second.
	Memory          *Value `json:"memory,omitempty"`
	MemoryBandwidth *Value `json:"memoryBandwidth,omitempty"`
	// FLOPS dense, per second.
	FLOPS map[device.Precision]*Value `json:"flops,omitempty"`
	// Fabric that joins such products: its type, the bandwidth of one with all its
	// links in bytes per second, and how many one domain holds at most.
	Fabric          string `json:"fabric,omitempty"`
	FabricBandwidth *Value `json:"fabricBandwidth,omitempty"`
	FabricSize      int    `json:"fabricSize,omitempty"`
	// Partitions it can be split into.
	Partitions []Partition `json:"partitions,omitempty"`
}

// Partition is a size that a product can be split into.
type Partition struct {
	Profile string            `json:"profile"`
	Count   int               `json:"count"`
	Memory  resource.Quantity `json:"memory,omitzero"`
	Share   int               `json:"share,omitempty"`
	Source  string            `json:"source,omitempty"`
}

// Value is a number with its source. In the data it is written "80G H source".
type Value struct {
	N          int64
	Confidence string
	Source     string
}

// UnmarshalJSON reads "80G H source": a quantity, a confidence and a source.
func (v *Value) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	parts := strings.SplitN(text, " ", 3)
	if len(parts) != 3 || parts[2] == "" {
		return fmt.Errorf("%q is not a number, a confidence and a source", text)
	}
	q, err := resource.ParseQuantity(parts[0])
	if err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if !slices.Contains([]string{"H", "M", "L"}, parts[1]) {
		return fmt.Errorf("%q: the confidence is H, M or L", text)
	}
	v.N, v.Confidence, v.Source = q.Value(), parts[1], parts[2]
	if v.N <= 0 {
		return fmt.Errorf("%q: what is not known is left out", text)
	}
	return nil
}

func (v *Value) origin() device.Origin {
	return device.Origin{From: "catalogue", Confidence: v.Confidence, Source: v.Source}
}

// table is the data, read.
type table struct {
	products []Product
	byID     map[string][]*Product
}

var load = sync.OnceValue(func() *table {
	t, err := parse(data)
	if err != nil {
		panic("the catalogue of products in this program is broken: " + err.Error()) // TestCatalogue reads it
	}
	return t
})

func parse(b []byte) (*table, error) {
	t := &table{byID: map[string][]*Product{}}
	if err := yaml.UnmarshalStrict(b, &t.products); err != nil {
		return nil, err
	}
	for i := range t.products {
		p := &t.products[i]
		for _, id := range p.PCI {
			t.byID[id] = append(t.byID[id], p)
		}
	}
	return t, nil
}

// All lists the products. They are not to be changed.
func All() []Product { return load().products }

// ByID returns the first product with a PCI number "10de:2330".
func ByID(id string) (*Product, bool) {
	p := load().byID[id]
	if len(p) == 0 {
		return nil, false
	}
	return p[0], true
}

// ByName returns the vendor's product of that name, in any case and however it is
// spaced, with or without the vendor's name before it.
func ByName(vendor, name string) (*Product, bool) {
	name = plain(vendor, name)
	all := load().products
	for i := range all {
		if p := &all[i]; p.Vendor == vendor && p.called(name) {
			return p, true
		}
	}
	return nil, false
}

func (p *Product) called(name string) bool {
	return plain(p.Vendor, p.Name) == name ||
		slices.ContainsFunc(p.Names, func(n string) bool { return plain(p.Vendor, n) == name })
}

func plain(vendor, name string) string {
	name = strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(name))
	return strings.TrimPrefix(name, vendor)
}

// Of finds the product of a device: by what it calls itself, else by its PCI
// number.
func Of(d *device.Device) (*Product, bool) {
	var same []*Product
	if d.PCI != nil {
		same = load().byID[d.PCI.ID()]
	}
	name := plain(d.Vendor, d.Product)
	for _, p := range same {
		if p.Vendor == d.Vendor && p.called(name) {
			return p, true
		}
	}
	if p, ok := ByName(d.Vendor, d.Product); ok && (len(same) == 0 || d.Form != device.Whole) {
		return p, true
	}
	if len(same) == 1 && same[0].Vendor == d.Vendor {
		return same[0], true
	}
	return nil, false
}

// Fill sets of d what is not known and the catalogue tells, and notes the origin.
// Of a part of a device it fills what parts have in common with the whole: a part
// says of its own memory and speed, or nobody does.
func Fill(d *device.Device) {
	p, ok := Of(d)
	if !ok {
		return
	}
	words := device.Origin{From: "catalogue"}
	text := func(field *string, value, name string) {
		if *field == "" && value != "" {
			*field = value
			d.Note(words, name)
		}
	}
	text(&d.Family, p.Family, "family")
	text(&d.Architecture, p.Architecture, "architecture")
	text(&d.Software, p.Software, "software")
	if d.Kind == "" {
		d.Kind = p.Kind
		d.Note(words, "kind")
	}
	if d.Form == device.Whole || d.Form == "" {
		p.amounts(d)
	}
	if whole := d.Form == device.Whole || d.Form == ""; whole && d.Fabric != nil && d.Fabric.Bandwidth == 0 && p.FabricBandwidth != nil && p.Fabric == d.Fabric.Type {
		d.Fabric.Bandwidth = p.FabricBandwidth.N
		d.Note(p.FabricBandwidth.origin(), "fabric.bandwidth")
	}
}

// amounts fills the numbers of a whole device.
func (p *Product) amounts(d *device.Device) {
	number := func(field *int64, v *Value, name string) {
		if *field == 0 && v != nil {
			*field = v.N
			d.Note(v.origin(), name)
		}
	}
	number(&d.Memory, p.Memory, "memory")
	number(&d.MemoryBandwidth, p.MemoryBandwidth, "memoryBandwidth")
	for precision, v := range p.FLOPS {
		if d.FLOPS[precision] == 0 {
			if d.FLOPS == nil {
				d.FLOPS = map[device.Precision]int64{}
			}
			d.FLOPS[precision] = v.N
			d.Note(v.origin(), "flops."+string(precision))
		}
	}
	if len(d.Partitions) == 0 {
		for _, x := range p.Partitions {
			d.Partitions = append(d.Partitions, device.Partition{Profile: x.Profile, Count: x.Count, Memory: x.Memory.Value(), Share: x.Share})
			d.Note(device.Origin{From: "catalogue", Source: x.Source}, "partitions")
		}
	}
}
