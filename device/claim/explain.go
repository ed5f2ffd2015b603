package claim

import (
	"fmt"
	"strconv"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// Verdict says of one device whether it fulfils a requirement, check by check.
type Verdict struct {
	Offer Offer `json:"-"`
	// Fits is true if all checks hold.
	Fits   bool    `json:"fits"`
	Checks []Check `json:"checks"`
}

// Check is one thing asked of a device.
type Check struct {
	// What is asked: kind, software, form, memory, precision, fabric, sandbox, health.
	What string `json:"what"`
	Want string `json:"want"`
	Have string `json:"have"`
	OK   bool   `json:"ok"`
}

// Explain judges one device. That it is taken is no matter of the requirement.
func Explain(r device.Requirement, o Offer) Verdict {
	v := Verdict{Offer: o, Fits: true}
	m, known := driverOf(&o)
	if !known {
		return Verdict{Offer: o, Checks: []Check{{What: "driver", Want: "one whose names are known", Have: o.Driver}}}
	}
	for _, c := range m.checks(&r) {
		v.add(c.judge(m, &o))
	}
	v.add(healthy(o.Taints()))
	return v
}

func (v *Verdict) add(c Check) {
	v.Checks = append(v.Checks, c)
	v.Fits = v.Fits && c.OK
}

func (c *check) judge(m *Driver, o *Offer) Check {
	out := Check{What: c.what, Want: c.want, OK: true, Have: c.always}
	if c.never != "" {
		out.OK, out.Have = false, c.never
		return out
	}
	for i := range c.all {
		ok, have := c.all[i].holds(m.Name, o)
		if out.Have = have; !ok {
			out.OK = false
			return out
		}
	}
	if c.what == "fabric" {
		if a, ok := attribute(m.Name, m.Fabric, o); ok {
			out.Have = said(a)
		} else {
			out.OK, out.Have = false, "none"
		}
	}
	return out
}

// healthy is the check that nothing keeps new work away from a device.
func healthy(taints []resourcev1.DeviceTaint) Check {
	c := Check{What: "health", Want: "no taint", Have: "none", OK: true}
	var found []string
	for _, t := range taints {
		if KeepsAway(t) {
			found = append(found, t.Key)
		}
	}
	if len(found) > 0 {
		c.OK, c.Have = false, strings.Join(found, " ")
	}
	return c
}

// KeepsAway reports whether a taint keeps new work off its device. Claims that are
// compiled here tolerate none.
func KeepsAway(t resourcev1.DeviceTaint) bool {
	return t.Effect == resourcev1.DeviceTaintEffectNoSchedule || t.Effect == resourcev1.DeviceTaintEffectNoExecute
}

// Fit lists the devices that fulfil r, by node.
func Fit(r device.Requirement, offers []Offer) map[string][]Offer {
	out := map[string][]Offer{}
	for _, o := range offers {
		if Explain(r, o).Fits {
			out[o.Node] = append(out[o.Node], o)
		}
	}
	return out
}

// Impossible says in one sentence why no device that there is, free or not, ill or
// not, can fulfil r on one node; "" if some can.
func Impossible(r device.Requirement, offers []Offer) string {
	if len(offers) == 0 {
		return "no driver of this cluster publishes a device"
	}
	nodes := map[string]int{}
	var best *Verdict
	passed := -1
	for _, o := range offers {
		o.Rules = nil
		v := Explain(r, o)
		n := 0
		for n < len(v.Checks) && (v.Checks[n].OK || v.Checks[n].What == "health") {
			n++
		}
		if n == len(v.Checks) {
			nodes[o.Node]++
			continue
		}
		if n > passed || n == passed && better(&v.Checks[n], &best.Checks[n]) {
			best, passed = &v, n
		}
	}
	if len(nodes) == 0 {
		c := best.Checks[passed]
		what := "no device of this cluster has " + c.What + " " + c.Want
		if c.What == "memory" {
			what = fmt.Sprintf("no product in this cluster has %s of memory", strings.TrimPrefix(c.Want, "at least "))
		}
		where := ""
		if best.Offer.Node != "" {
			where = " on node " + best.Offer.Node
		}
		if c.What == whatSandbox {
			return fmt.Sprintf("no device of this cluster that would do works in the sandbox %s; the nearest is %s%s, which works in %s", c.Want, best.Offer.Product(), where, c.Have)
		}
		return fmt.Sprintf("%s; the nearest is %s%s, with %s", what, best.Offer.Product(), where, c.Have)
	}
	most, where := 0, ""
	for n, have := range nodes {
		if have > most || have == most && n < where {
			most, where = have, n
		}
	}
	if most < r.Count { // a device that many share still is one of a claim
		if where == "" {
			return fmt.Sprintf("there are only %d such devices", most)
		}
		return fmt.Sprintf("no node has %d such devices; node %s has the most, %d", r.Count, where, most)
	}
	return ""
}

// better reports whether a is the nearer miss of two checks of one kind.
func better(a, b *Check) bool {
	amount := func(c *Check) float64 {
		n, err := strconv.ParseFloat(strings.TrimSuffix(c.Have, " GiB"), 64)
		if err != nil {
			return -1
		}
		return n
	}
	return a.What == "memory" && amount(a) > amount(b)
}

// Product is what the driver calls the device; its name if it does not say.
func (o *Offer) Product() string {
	if m, ok := driverOf(o); ok && m.Product != "" {
		if a, ok := attribute(m.Name, m.Product, o); ok {
			return said(a)
		}
	}
	return o.Device.Name
}
