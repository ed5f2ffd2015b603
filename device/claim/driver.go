package claim

import (
	_ "embed" // the data beside this file
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

//go:embed drivers.yaml
var data []byte

// Driver says how one DRA driver tells what the standard tells.
type Driver struct {
	// Name as in ResourceSlices; it is also the domain of its attributes.
	Name string `json:"driver"`
	// Standard is set for the entry that holds for every driver that publishes by
	// the standard: the attribute that says so.
	Standard string `json:"standard,omitempty"`
	// Evidence of the entry: what was read.
	Evidence string `json:"evidence"`
	// Vendor, Kind and Software of its devices. A driver of many vendors names
	// attributes instead.
	Vendor   string      `json:"vendor,omitempty"`
	Kind     device.Kind `json:"kind,omitempty"`
	Software string      `json:"software,omitempty"`
	KindIn   string      `json:"kindIn,omitempty"`
	StackIn  string      `json:"stackIn,omitempty"`
	// Usable must hold of every device, such as a health that is no taint.
	Usable []Condition `json:"usable,omitempty"`
	// Whole must hold of a device that is no part of another, and Part of a part.
	// A driver without Part offers none.
	Whole []Condition `json:"whole,omitempty"`
	Part  []Condition `json:"part,omitempty"`
	// Memory is the capacity that is a device's memory in bytes.
	Memory string `json:"memory,omitempty"`
	// Product is the attribute that names the product. It tells memory and precisions
	// where the driver does not, by way of the catalogue; Products says what the
	// catalogue calls its values, where it is not the same.
	Product  string            `json:"product,omitempty"`
	Products map[string]string `json:"products,omitempty"`
	// Precisions is the attribute that lists them, parted by spaces; Precision has a
	// condition of each instead.
	Precisions string                           `json:"precisions,omitempty"`
	Precision  map[device.Precision][]Condition `json:"precision,omitempty"`
	// Sandboxes is the attribute that lists the RuntimeClasses in which a device works,
	// parted by spaces. Devices of a driver without it work in no sandbox.
	Sandboxes string `json:"sandboxes,omitempty"`
	// Fabric is the attribute that is equal on devices of one fabric.
	Fabric string `json:"fabric,omitempty"`

	names []named // of Product, in order
}

// named is a value of the attribute that names the product, and what it means.
type named struct {
	value   string
	product *catalogue.Product
}

// Drivers lists the drivers that claims are compiled for, ours first. They are not
// to be changed.
func Drivers() []Driver { return load() }

var load = sync.OnceValue(func() []Driver {
	d, err := parse(data)
	if err != nil {
		panic("the table of drivers in this program is broken: " + err.Error()) // TestDrivers reads it
	}
	for i := range d {
		d[i].names = d[i].values()
	}
	return d
})

func parse(b []byte) ([]Driver, error) {
	var out []Driver
	err := yaml.UnmarshalStrict(b, &out)
	return out, err
}

// values lists what the attribute that names the product may say: all the names of
// the vendor's products, and those that only this driver uses.
func (m *Driver) values() []named {
	if m.Product == "" || m.Vendor == "" {
		return nil
	}
	var out []named
	all := catalogue.All()
	for i := range all {
		p := &all[i]
		if p.Vendor != m.Vendor {
			continue
		}
		for _, n := range append([]string{p.Name}, p.Names...) {
			out = append(out, named{n, p})
		}
		for value, product := range m.Products {
			if product == p.Name {
				out = append(out, named{value, p})
			}
		}
	}
	slices.SortFunc(out, func(a, b named) int { return strings.Compare(a.value, b.value) })
	return out
}

// driverOf finds the entry for an offer: that of the standard if the device is
// published by it, by whatever driver, else that of its driver.
func driverOf(o *Offer) (*Driver, bool) {
	all := load()
	i := slices.IndexFunc(all, func(d Driver) bool {
		if d.Standard != "" {
			_, ok := attribute(d.Name, d.Standard, o)
			return ok
		}
		return d.Name == o.Driver
	})
	if i < 0 {
		return nil, false
	}
	return &all[i], true
}
