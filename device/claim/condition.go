package claim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/version"
)

// Condition is one thing that must hold of a device: its attribute or capacity,
// and exactly one of the rest. A device that lacks the attribute does not fulfil
// it. Names without a domain are of the driver's.
type Condition struct {
	Attribute string `json:"attribute,omitempty"`
	Capacity  string `json:"capacity,omitempty"`
	// In: the string attribute is one of these.
	In []string `json:"in,omitempty"`
	// Word: the string attribute, words parted by spaces, has this one.
	Word string `json:"word,omitempty"`
	// True: the bool attribute is true.
	True bool `json:"isTrue,omitempty"`
	// Version: the version attribute is at least this.
	Version string `json:"version,omitempty"`
	// AtLeast: the capacity is.
	AtLeast *resource.Quantity `json:"atLeast,omitempty"`
}

// quote writes a string of CEL. Names come from the API and from the catalogue, so
// they are quoted, not trusted.
func quote(s string) string { return strconv.QuoteToASCII(s) }

func split(domain, name string) (string, string) {
	if d, n, ok := strings.Cut(name, "/"); ok {
		return d, n
	}
	return domain, name
}

// cel writes the condition behind b. An attribute that is missing or of another type
// makes it false and never an error, which would end the allocation of the pod: what
// stands behind a condition that is false is not looked at. Even == and "in" fail for
// some values of other types. It is written so that the API server can tell what it
// costs at most, or the claim is refused: neither of calls on what .orValue returns
// nor of == of types can it.
func (c *Condition) cel(b []byte, domain string) []byte {
	if c.AtLeast != nil {
		d, n := split(domain, c.Capacity)
		return write(b, `device.capacity[`, quote(d), `].?`, n, `.orValue(quantity("0")).compareTo(quantity(`, quote(c.AtLeast.String()), `)) >= 0`)
	}
	d, n := split(domain, c.Attribute)
	all := `device.attributes[` + quote(d) + `]`
	b = write(b, quote(n), ` in `, all, ` && type(`, all, `.`, n, `) in [`, c.kind(), `] && `)
	switch {
	case c.True:
		return write(b, all, `.`, n)
	case c.Version != "":
		return write(b, all, `.`, n, `.compareTo(semver(`, quote(c.Version), `)) >= 0`)
	case c.Word != "":
		return write(b, `(" " + `, all, `.`, n, ` + " ").contains(`, quote(" "+c.Word+" "), `)`)
	}
	b = write(b, all, `.`, n, ` in [`)
	for i, v := range c.In {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuoteToASCII(b, v)
	}
	return append(b, ']')
}

// kind is the type in CEL that the attribute must have.
func (c *Condition) kind() string {
	switch {
	case c.True:
		return "bool"
	case c.Version != "":
		return `type(semver("0.0.0"))`
	}
	return "string"
}

func write(b []byte, parts ...string) []byte {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// holds reports whether the condition holds of a device, and what the device says.
func (c *Condition) holds(domain string, o *Offer) (ok bool, have string) {
	if c.AtLeast != nil {
		q, there := capacity(domain, c.Capacity, o)
		if !there {
			return false, "nothing"
		}
		return q.Cmp(*c.AtLeast) >= 0, size(q)
	}
	a, there := attribute(domain, c.Attribute, o)
	if !there {
		return false, "nothing"
	}
	have = said(a)
	switch {
	case c.True:
		return a.BoolValue != nil && *a.BoolValue, have
	case c.Version != "":
		if a.VersionValue == nil {
			return false, have
		}
		v, err := version.ParseSemantic(*a.VersionValue)
		return err == nil && v.AtLeast(version.MustParseSemantic(c.Version)), have
	case a.StringValue == nil:
		return false, have
	case c.Word != "":
		return slices.Contains(strings.Split(*a.StringValue, " "), c.Word), have
	}
	return slices.Contains(c.In, *a.StringValue), have
}

// size writes an amount of memory for people.
func size(q resource.Quantity) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(q.Value())/(1<<30)), ".0") + " GiB"
}

// wants says the condition in words.
func (c *Condition) wants() string {
	switch {
	case c.AtLeast != nil:
		return "at least " + size(*c.AtLeast)
	case c.True:
		return "true"
	case c.Version != "":
		return "at least " + c.Version
	case c.Word != "":
		return c.Word
	case len(c.In) > 6:
		return fmt.Sprintf("%s or another of %d", c.In[0], len(c.In))
	}
	return strings.Join(c.In, " or ")
}

// qualified looks a name up in a map of the API, where a name of the publishing
// driver's own domain may stand without it.
func qualified[V any](m map[resourcev1.QualifiedName]V, driver, domain, name string) (V, bool) {
	d, n := split(domain, name)
	if v, ok := m[resourcev1.QualifiedName(d+"/"+n)]; ok {
		return v, true
	}
	if d == driver {
		v, ok := m[resourcev1.QualifiedName(n)]
		return v, ok
	}
	var none V
	return none, false
}

func attribute(domain, name string, o *Offer) (resourcev1.DeviceAttribute, bool) {
	return qualified(o.Device.Attributes, o.Driver, domain, name)
}

func capacity(domain, name string, o *Offer) (resource.Quantity, bool) {
	c, ok := qualified(o.Device.Capacity, o.Driver, domain, name)
	return c.Value, ok
}

// said is the value of an attribute.
func said(a resourcev1.DeviceAttribute) string {
	switch {
	case a.StringValue != nil:
		return *a.StringValue
	case a.VersionValue != nil:
		return *a.VersionValue
	case a.IntValue != nil:
		return strconv.FormatInt(*a.IntValue, 10)
	case a.BoolValue != nil:
		return strconv.FormatBool(*a.BoolValue)
	}
	return "a value of another type"
}
