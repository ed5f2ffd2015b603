package device

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Inventory is what was found on one machine.
type Inventory struct {
	// Devices by name.
	Devices []Device `json:"devices"`
	// Problems kept something from being found or known. They never cost the
	// devices that were found.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one thing that could not be read.
type Problem struct {
	// Adapter that met it.
	Adapter string `json:"adapter"`
	// Where: a file, a program, a PCI address.
	Where string `json:"where,omitempty"`
	// What is wrong, and what it costs.
	What string `json:"what"`
}

// Error makes a Problem an error, so that an adapter can return many with
// [errors.Join].
func (p Problem) Error() string {
	if p.Where == "" {
		return p.What
	}
	return p.Where + ": " + p.What
}

// Names gives every device its name and orders devices by it. The name is the
// kind and the place: "gpu-0000-3b-00-0" for a PCI address, with "-c1" for the
// second device there; a device without an address is "cpu-0", by its order. Devices
// that would be called alike are told apart by their order, and a device that
// lacks a UUID gets one made of its vendor and name.
func Names(devices []Device) {
	count := map[Kind]int{}
	used := map[string]bool{}
	for i := range devices {
		d := &devices[i]
		name := ""
		if d.PCI != nil && d.PCI.Address != "" {
			name = fmt.Sprintf("%s-%s", d.Kind, strings.NewReplacer(":", "-", ".", "-").Replace(d.PCI.Address))
			if d.Ordinal > 0 {
				name += fmt.Sprintf("-c%d", d.Ordinal)
			}
		} else {
			name = fmt.Sprintf("%s-%d", d.Kind, count[d.Kind])
			count[d.Kind]++
		}
		for n, whole := 2, name; used[name]; n++ {
			name = fmt.Sprintf("%s-d%d", whole, n)
		}
		used[name] = true
		d.Name = name
		if d.UUID == "" {
			d.UUID = fmt.Sprintf("%s-%s", d.Vendor, name)
			d.Note(Origin{From: "place in the machine"}, "uuid")
		}
	}
	slices.SortStableFunc(devices, func(a, b Device) int { return CompareNames(a.Name, b.Name) })
}

// CompareNames orders names of devices so that numbers in them count as numbers: c2
// before c10, cpu-2 before cpu-10, domain 2000 before domain 10000.
func CompareNames(a, b string) int {
	as, bs := strings.Split(a, "-"), strings.Split(b, "-")
	if c := strings.Compare(as[0], bs[0]); c != 0 {
		return c // kinds are words
	}
	for i := range min(len(as), len(bs)) {
		if c := cmp.Compare(len(as[i]), len(bs[i])); c != 0 {
			return c
		}
		if c := strings.Compare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// Find returns the device of that name or UUID.
func (v *Inventory) Find(name string) (*Device, bool) {
	for i := range v.Devices {
		if d := &v.Devices[i]; d.Name == name || d.UUID == name {
			return d, true
		}
	}
	return nil, false
}
