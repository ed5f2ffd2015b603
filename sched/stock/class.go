package stock

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/sched"
)

// Class is all devices that a claim's selectors cannot tell apart: they have the same
// driver, attributes and capacities, but for those by which one device is known. A
// model of the board is a class.
type Class struct {
	Model string
	// Driver and what selectors may look at.
	Driver     string
	Attributes map[resourcev1.QualifiedName]resourcev1.DeviceAttribute
	Capacity   map[resourcev1.QualifiedName]resourcev1.DeviceCapacity
	Multiple   *bool // as the driver says it
	// Shared among several claims, by capacity.
	Shared bool
	// Part is how many thousandths of a device the smallest of these is, where they share
	// counters with others, see [Catalogue.Cut]; 0 where they do not.
	Part int
	// Odd devices are upstream's alone: they are bound later, a request takes nothing of
	// them, or the counters that they share are of no sort that the board knows.
	Odd bool
}

// Catalogue knows all classes there ever were. It only grows, so that what is learned
// of requests keeps its meaning.
type Catalogue struct {
	Classes []*Class
	by      map[string]*Class // by what selectors see
	named   map[string]int
	cuts    map[string]*sched.Cut // by what they say
}

// classMax bounds the classes. More are a driver that publishes something unique that
// we do not know to leave out; its further devices are odd.
const classMax = 512

// Identity is the attributes by which one device is known, or its place: no sort of
// devices has them in common.
var Identity = regexp.MustCompile(`(?i)\b(uuid|parent|parentuuid|serial|pcibusid|pcieroot|numanode|minor|index|fabricindex|fabricdomain)\b`)

// NewCatalogue is one that knows no class yet.
func NewCatalogue() *Catalogue {
	return &Catalogue{by: map[string]*Class{}, named: map[string]int{}, cuts: map[string]*sched.Cut{}}
}

// Of finds the class of a driver's device.
func (c *Catalogue) Of(driver string, d *resourcev1.Device) *Class {
	attributes := map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{}
	for name, v := range d.Attributes {
		if !Identity.MatchString(Local(name)) {
			attributes[name] = v
		}
	}
	seen, err := json.Marshal([]any{driver, attributes, d.Capacity, d.AllowMultipleAllocations, len(d.ConsumesCounters) > 0, len(d.BindingConditions) > 0})
	if err != nil {
		return &Class{Odd: true} // a value that is no text; the API refuses these
	}
	if k := c.by[string(seen)]; k != nil {
		return k
	}
	k := &Class{
		Model: c.name(driver, attributes), Driver: driver, Attributes: attributes, Capacity: d.Capacity, Multiple: d.AllowMultipleAllocations,
		Shared: d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations,
	}
	k.Odd = len(c.Classes) >= classMax || len(d.BindingConditions) > 0 || k.Shared && k.Share(nil) == 0
	if len(c.Classes) < classMax {
		c.Classes = append(c.Classes, k)
		c.by[string(seen)] = k
	}
	return k
}

// name is what people call such devices, and of parts their size; a number tells apart
// what is called alike.
func (c *Catalogue) name(driver string, attributes map[resourcev1.QualifiedName]resourcev1.DeviceAttribute) string {
	said := func(names ...string) string {
		for _, want := range names {
			for at, v := range attributes {
				if Local(at) == want && v.StringValue != nil && domain(at, driver) == driver {
					return *v.StringValue
				}
			}
		}
		return ""
	}
	name := cmp.Or(said("product", "productName", "model", "type"), driver)
	if size := said("partition", "partitionProfile", "profile"); size != "" {
		name += " " + size
	}
	c.named[name]++
	if n := c.named[name]; n > 1 {
		name = fmt.Sprintf("%s #%d", name, n)
	}
	return name
}

// Local is an attribute's name without its domain.
func Local(n resourcev1.QualifiedName) string {
	return string(n)[strings.LastIndexByte(string(n), '/')+1:]
}

// domain of an attribute: the driver's, where none is written.
func domain(n resourcev1.QualifiedName, driver string) string {
	if d, _, ok := strings.Cut(string(n), "/"); ok {
		return d
	}
	return driver
}
