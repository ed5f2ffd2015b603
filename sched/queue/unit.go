package queue

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// Device is one whole accelerator in parts. Every number up to 16 divides it, and a
// thousand does, so that a device's seventh and its milli are whole numbers.
const Device int64 = 18_018_000

// The resources that are not accelerators, in their units: thousandths of a processor,
// and bytes.
const (
	CPU    = "cpu"
	Memory = "memory"
)

// Fraction is the part of a device that takes have of its whole, rounded up: of all
// its counters, the largest is what nobody else can have.
func Fraction(have, whole map[string]int64) int64 {
	most := int64(0)
	for name, n := range have {
		if w := whole[name]; w > 0 && n > 0 {
			most = max(most, part(n, w))
		}
	}
	return most
}

// part is Device*n/whole, rounded up, and at most a Device.
func part(n, whole int64) int64 {
	if n >= whole {
		return Device
	}
	hi, lo := bits.Mul64(uint64(Device), uint64(n))
	q, r := bits.Div64(hi, lo, uint64(whole))
	if r > 0 {
		q++
	}
	return int64(q)
}

// Thousandths is n thousandths of a device, where n may have been rounded: what is within
// one of a fraction with a denominator up to 16 is that fraction, the simplest first. So
// 143 is a seventh.
func Thousandths(n int64) int64 {
	if n <= 0 || n >= 1000 {
		return min(max(n, 0), 1000) * (Device / 1000)
	}
	for d := int64(2); d <= 16; d++ {
		k := (n*d + 500) / 1000
		if diff := n*d - 1000*k; k > 0 && k < d && diff < d && diff > -d {
			return Device / d * k
		}
	}
	return n * (Device / 1000)
}

// Flavor is what one can be given: a resource, or accelerators of one product.
type Flavor struct {
	// Name tells it from others.
	Name string
	// Resource is CPU or Memory; "" for accelerators.
	Resource string
	// Kind, Product and Memory (in bytes) of an accelerator.
	Kind    device.Kind
	Product string
	Memory  int64
	// Software stacks that run on it.
	Software string
	// Precisions that it computes in; nil if that is not known.
	Precisions []device.Precision
	// Speed of one device, in comparison with others; 0 is 1. Fair shares are of
	// devices times speed.
	Speed float64
	// Parts in which its devices can be had.
	Parts []Part
	// Capacity is all that the cloud has of it for queued work; less than 0 if that
	// is not known, and then only quotas limit it.
	Capacity int64
}

// Part is a size in which a device is given out.
type Part struct {
	// Memory in bytes.
	Memory int64
	// Takes is what it takes of the device, see Fraction.
	Takes int64
}

// speed in thousandths.
func (f *Flavor) speed() int64 {
	if f.Speed == 0 {
		return 1000
	}
	return int64(f.Speed * 1000)
}

// Class is what one line of a quota counts. The zero value counts every accelerator.
type Class struct {
	// Resource is CPU or Memory; "" for accelerators.
	Resource string
	// Kind of accelerator; "" is any.
	Kind device.Kind
	// Product of that name; "" is any.
	Product string
	// MemoryMin is the least memory of a device, in bytes.
	MemoryMin int64
}

// counts reports whether f is of the class.
func (c Class) counts(f *Flavor) bool {
	if c.Resource != "" || f.Resource != "" {
		return c.Resource == f.Resource
	}
	return (c.Kind == "" || c.Kind == f.Kind) && (c.Product == "" || c.Product == f.Product) && f.Memory >= c.MemoryMin
}

// within reports whether d counts all that c counts, and is not c.
func (c Class) within(d Class) bool {
	return c != d && c.Resource == d.Resource && (d.Kind == "" || c.Kind == d.Kind) &&
		(d.Product == "" || c.Product == d.Product) && c.MemoryMin >= d.MemoryMin
}

// String names the class as people do: "gpu with at least 80 GiB".
func (c Class) String() string {
	switch c.Resource {
	case "":
	case CPU:
		return "processors"
	case Memory:
		return "GiB of memory"
	default:
		return c.Resource
	}
	s := "accelerators"
	if c.Kind != "" {
		s = strings.ToUpper(string(c.Kind)) + "s"
	}
	if c.Product != "" {
		s = c.Product
	}
	if c.MemoryMin > 0 {
		s += fmt.Sprintf(" with at least %s GiB", short(float64(c.MemoryMin)/(1<<30)))
	}
	return s
}

// Amount writes n units of the class, without its name.
func (c Class) Amount(n int64) string {
	switch c.Resource {
	case "":
		return short(float64(n) / float64(Device))
	case CPU:
		return short(float64(n) / 1000)
	case Memory:
		return short(float64(n) / (1 << 30))
	}
	return strconv.FormatInt(n, 10)
}

// short writes a number with at most two digits behind the point.
func short(f float64) string {
	s := strconv.FormatFloat(f, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
