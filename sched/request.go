package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Request is what one pod wants.
type Request struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes
	// Count of devices, and the thousandths of each; Whole asks for whole ones. Of a
	// device that is cut it gets a part that is at least so much, for each of the count.
	Count int
	Share int
	// Models it may run on, sorted; none means any. Parts are of models of their own.
	Models []string
	// Together is a level of the devices' domains of which all that it gets must be in one;
	// "" if they may be in any. In is the domain that this must be; "" for any one.
	Together, In string
	// Within are the domains it must be in, sorted by level.
	Within []Label
}

// Milli is how many thousandths of devices it wants together.
func (r *Request) Milli() int64 { return int64(r.Count) * int64(r.Share) }

// CountMax is the most devices a request may want of one node.
const CountMax = 1024

// Check says what is wrong with a request, naming the field.
func (r *Request) Check() error {
	switch {
	case r.CPU < 0:
		return fmt.Errorf("cpu is %d thousandths of a core; it cannot be negative", r.CPU)
	case r.Memory < 0:
		return fmt.Errorf("memory is %d bytes; it cannot be negative", r.Memory)
	case r.Count < 0 || r.Count > CountMax:
		return fmt.Errorf("count is %d devices; want 0 to %d", r.Count, CountMax)
	case r.Count == 0 && r.Share != 0:
		return fmt.Errorf("share is %d thousandths of no device; set count, or leave share out", r.Share)
	case r.Together == "" && r.In != "" || r.Count == 0 && r.Together != "":
		return fmt.Errorf("%d devices are to be together in one %q, there in %q; set count and level, or leave these out", r.Count, r.Together, r.In)
	case r.Count > 0 && (r.Share < 1 || r.Share > Whole):
		return fmt.Errorf("share is %d thousandths of a device; want 1 to %d", r.Share, Whole)
	case !slices.IsSorted(r.Models) || len(slices.Compact(slices.Clone(r.Models))) != len(r.Models):
		return fmt.Errorf("models %q are not sorted, or one is there twice", r.Models)
	}
	return nil
}

// String is the request in words: "0.81 of a T4 or P100, 11 cores, 30 GiB".
func (r Request) String() string {
	device, many := "device", "devices"
	if len(r.Models) > 0 {
		device = strings.Join(r.Models, " or ")
		many = device
	}
	var what string
	switch {
	case r.Count == 0:
		what = "no device"
	case r.Share < Whole && r.Count == 1:
		what = fmt.Sprintf("%g of a %s", float64(r.Share)/Whole, device)
	case r.Share < Whole:
		what = fmt.Sprintf("%g of each of %d %s", float64(r.Share)/Whole, r.Count, many)
	case r.Count == 1:
		what = "1 " + device
	default:
		what = fmt.Sprintf("%d %s", r.Count, many)
	}
	what += r.of() + fmt.Sprintf(", %g cores, %.3g GiB", float64(r.CPU)/1000, float64(r.Memory)/(1<<30))
	for _, l := range r.Within {
		what += fmt.Sprintf(", in %s %s", l.Level, l.Name)
	}
	return what
}

// together is what its devices must have in common, without the domain of the name.
func (r *Request) together() string {
	return r.Together[strings.LastIndexByte(r.Together, '/')+1:]
}

// of says so behind devices.
func (r *Request) of() string {
	if r.Together == "" {
		return ""
	}
	return " of one " + r.together()
}

// class is what it counts as in a node's Classes, or -1.
func (r *Request) class() int {
	switch {
	case r.Count == 0:
		return -1
	case r.Count == 1 && r.Share < Whole:
		return 0
	case r.Count <= 2:
		return r.Count
	case r.Count <= 4:
		return 3
	}
	return 4
}

// shape appends what scores depend on: two requests of one shape are placed alike.
func (r *Request) shape(b []byte) []byte {
	for _, v := range []int64{r.CPU, r.Memory, int64(r.Count), int64(r.Share)} {
		b = append(strconv.AppendInt(b, v, 36), ' ')
	}
	for _, m := range r.Models {
		b = append(strconv.AppendQuote(b, m), '|')
	}
	if r.Together != "" {
		b = append(strconv.AppendQuote(strconv.AppendQuote(b, r.Together), r.In), '&')
	}
	for _, l := range r.Within {
		b = append(strconv.AppendQuote(strconv.AppendQuote(b, l.Level), l.Name), '@')
	}
	return b
}

// allows reports whether the request may run on the model.
func (r *Request) allows(model string) bool {
	return len(r.Models) == 0 || slices.Contains(r.Models, model)
}

// usable reports whether d has room for one device's part of the request.
func (r *Request) usable(d *Device) bool {
	if d.Cut != nil {
		return d.room(r, 1) > 0
	}
	return d.Free >= r.Share && r.allows(d.Model) && r.near(d)
}

// near reports whether a device is in the domain that all must be in.
func (r *Request) near(d *Device) bool {
	return r.In == "" || d.in(r.Together) == r.In
}

// in is the domain of a level that a device is in, or "".
func (d *Device) in(level string) string {
	for _, l := range d.Domain {
		if l.Level == level {
			return l.Name
		}
	}
	return ""
}

// apart is the request for each domain of n's devices that may have all that it wants:
// one for all devices, if they need not be together.
func (r *Request) apart(n *Node) []*Request {
	if r.Together == "" || r.In != "" {
		return []*Request{r}
	}
	var out []*Request
	for i := range n.Devices {
		at := n.Devices[i].in(r.Together)
		if at == "" || slices.ContainsFunc(out, func(o *Request) bool { return o.In == at }) {
			continue
		}
		c := *r
		c.In = at
		out = append(out, &c)
	}
	return out
}

// could is usable for when nobody has any of the device.
func (r *Request) could(d *Device) bool {
	if d.Cut == nil {
		return r.allows(d.Model) && r.near(d)
	}
	return r.near(d) && slices.ContainsFunc(d.Cut.Parts, func(p Part) bool { return r.takes(&p) })
}

// Shape is the same for requests that are placed alike, and for no others.
func (r *Request) Shape() string { return string(r.shape(nil)) }
