package plugin

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/dynamic-resource-allocation/cel"
)

// class is all devices that a claim's selectors cannot tell apart: they have the same
// driver, attributes and capacities, but for those by which one device is known. A
// model of the board is a class.
type class struct {
	model    string
	sample   cel.Device // to ask selectors about
	shared   bool       // among several claims, by capacity
	capacity map[resourcev1.QualifiedName]resourcev1.DeviceCapacity
	// odd devices are upstream's alone: they share counters, are bound later, or a
	// request takes nothing of them.
	odd bool
}

// catalogue knows all classes there ever were. It only grows, so that what is learned
// of requests keeps its meaning.
type catalogue struct {
	classes []*class
	by      map[string]*class // by what selectors see
	named   map[string]int
}

// classMax bounds the classes. More are a driver that publishes something unique that
// we do not know to leave out; its further devices are odd.
const classMax = 512

// identity is the attributes by which one device is known, or its place: no sort of
// devices has them in common.
var identity = regexp.MustCompile(`(?i)\b(uuid|parent|parentuuid|serial|pcibusid|pcieroot|numanode|minor|index|fabricindex|fabricdomain)\b`)

func newCatalogue() *catalogue {
	return &catalogue{by: map[string]*class{}, named: map[string]int{}}
}

// of finds the class of a driver's device.
func (c *catalogue) of(driver string, d *resourcev1.Device) *class {
	attributes := map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{}
	for name, v := range d.Attributes {
		if !identity.MatchString(local(name)) {
			attributes[name] = v
		}
	}
	seen, err := json.Marshal([]any{driver, attributes, d.Capacity, d.AllowMultipleAllocations, len(d.ConsumesCounters) > 0, len(d.BindingConditions) > 0})
	if err != nil {
		return &class{odd: true} // a value that is no text; the API refuses these
	}
	if k := c.by[string(seen)]; k != nil {
		return k
	}
	k := &class{
		model:    c.name(driver, attributes),
		sample:   cel.Device{Driver: driver, AllowMultipleAllocations: d.AllowMultipleAllocations, Attributes: attributes, Capacity: d.Capacity},
		shared:   d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations,
		capacity: d.Capacity,
	}
	k.odd = len(c.classes) >= classMax || len(d.ConsumesCounters) > 0 || len(d.BindingConditions) > 0 || k.shared && k.share(nil) == 0
	if len(c.classes) < classMax {
		c.classes = append(c.classes, k)
		c.by[string(seen)] = k
	}
	return k
}

// name is what people call such devices; a number tells apart what is called alike.
func (c *catalogue) name(driver string, attributes map[resourcev1.QualifiedName]resourcev1.DeviceAttribute) string {
	name := driver
	for _, want := range []string{"product", "productName", "model", "type"} {
		for at, v := range attributes {
			if local(at) == want && v.StringValue != nil && domain(at, driver) == driver {
				name = *v.StringValue
			}
		}
		if name != driver {
			break
		}
	}
	c.named[name]++
	if n := c.named[name]; n > 1 {
		name = fmt.Sprintf("%s #%d", name, n)
	}
	return name
}

func local(n resourcev1.QualifiedName) string {
	return string(n)[strings.LastIndexByte(string(n), '/')+1:]
}

// domain of an attribute: the driver's, where none is written.
func domain(n resourcev1.QualifiedName, driver string) string {
	if d, _, ok := strings.Cut(string(n), "/"); ok {
		return d
	}
	return driver
}
