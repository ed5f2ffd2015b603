package claim

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
)

// check is one of the things asked of a device, and the conditions under which it
// is fulfilled, all of them. A check that a driver's devices can never fulfil has a
// reason instead.
type check struct {
	what   string // in the user's words: "memory"
	want   string
	all    []Condition
	never  string
	always string // what a device has, when it needs no asking
}

// checks lists what r asks of the devices of one driver.
func (m *Driver) checks(r *device.Requirement) []check {
	out := append(make([]check, 0, 8), m.kind(r), m.stack(r))
	for i := range m.Usable {
		out = append(out, check{what: m.Usable[i].Attribute, want: m.Usable[i].wants(), all: m.Usable[i : i+1]})
	}
	out = append(out, m.form(r))
	if r.Memory > 0 {
		out = append(out, m.memory(r))
	}
	if r.Precision != "" {
		out = append(out, m.precision(r))
	}
	if r.SameFabric && r.Count > 1 {
		out = append(out, m.fabric())
	}
	if r.Sandbox != "" && r.Sandbox != device.SandboxNone {
		out = append(out, m.sandbox(r))
	}
	return out
}

// whatSandbox is the check of the sandbox.
const whatSandbox = "sandbox"

func (m *Driver) sandbox(r *device.Requirement) check {
	c := check{what: whatSandbox, want: r.Sandbox}
	if m.Sandboxes == "" {
		c.never = device.SandboxNone + " only"
		return c
	}
	c.all = []Condition{{Attribute: m.Sandboxes, Word: r.Sandbox}}
	return c
}

func (m *Driver) kind(r *device.Requirement) check {
	kinds := r.Kinds
	if len(kinds) == 0 {
		kinds = device.Accelerators()
	}
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	c := check{what: "kind", want: strings.Join(words, " or ")}
	switch {
	case m.KindIn != "":
		c.all = []Condition{{Attribute: m.KindIn, In: words}}
	case slices.Contains(kinds, m.Kind):
		c.always = string(m.Kind)
	default:
		c.never = string(m.Kind)
	}
	return c
}

func (m *Driver) stack(r *device.Requirement) check {
	c := check{what: "software", want: strings.Join(r.Software, " or ")}
	switch {
	case len(r.Software) == 0:
		c.want, c.always = "any", m.Software
	case m.StackIn != "":
		c.all = []Condition{{Attribute: m.StackIn, In: r.Software}}
	case slices.Contains(r.Software, m.Software):
		c.always = m.Software
	default:
		c.never = m.Software
	}
	return c
}

// form asks for a whole device, or for one or a part.
func (m *Driver) form(r *device.Requirement) check {
	c := check{what: "form", want: "a whole device", all: m.Whole}
	if len(m.Whole) == 0 && len(m.Part) > 0 {
		c.never = "a part" // it offers nothing else
	}
	if !r.Share {
		return c
	}
	c.want, c.never = "a device or a part of one", ""
	if len(m.Part) > 0 {
		any := Condition{Attribute: m.Part[0].Attribute, In: slices.Clone(m.Part[0].In)}
		if len(m.Whole) > 0 {
			any.In = append(slices.Clone(m.Whole[0].In), any.In...)
		}
		c.all = []Condition{any}
	}
	return c
}

func (m *Driver) memory(r *device.Requirement) check {
	least := resource.NewQuantity(r.Memory, resource.BinarySI)
	c := check{what: "memory", want: "at least " + size(*least)}
	if m.Memory != "" {
		c.all = []Condition{{Capacity: m.Memory, AtLeast: least}}
		return c
	}
	return m.byProduct(c, func(p *catalogue.Product) bool { return p.Memory != nil && p.Memory.N >= r.Memory })
}

func (m *Driver) precision(r *device.Requirement) check {
	c := check{what: "precision", want: string(r.Precision)}
	switch {
	case m.Precisions != "":
		c.all = []Condition{{Attribute: m.Precisions, Word: string(r.Precision)}}
	case len(m.Precision) > 0:
		if c.all = m.Precision[r.Precision]; len(c.all) == 0 {
			c.never = "not known"
		}
	default:
		return m.byProduct(c, func(p *catalogue.Product) bool { return p.FLOPS[r.Precision] != nil })
	}
	return c
}

// byProduct asks for one of the products that fit, under all the names that the
// driver may call them.
func (m *Driver) byProduct(c check, fits func(*catalogue.Product) bool) check {
	names := make([]string, 0, len(m.names))
	for _, n := range m.names {
		if fits(n.product) {
			names = append(names, n.value)
		}
	}
	if names = slices.Compact(names); len(names) == 0 {
		c.never = fmt.Sprintf("not known of any product of %s", m.Name)
		return c
	}
	c.all = []Condition{{Attribute: m.Product, In: names}}
	return c
}

func (m *Driver) fabric() check {
	c := check{what: "fabric", want: "one that all devices share"}
	if m.Fabric == "" {
		c.never = fmt.Sprintf("not told by %s", m.Name)
	}
	return c // the constraint of the claim sees to it
}
