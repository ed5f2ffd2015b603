package conformance

import (
	"cmp"
	"fmt"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device/profile"
)

// Report is the judgement of one driver.
type Report struct {
	Driver  string `json:"driver"`
	Profile string `json:"profile"` // version of the standard that was tested
	Devices int    `json:"devices"`
	// Conforms is true if no rule of level must is broken.
	Conforms bool     `json:"conforms"`
	Results  []Result `json:"results"`
}

// Result is that of one rule.
type Result struct {
	Rule string `json:"rule"`
	// Level is must or should.
	Level string `json:"level"`
	Title string `json:"title"`
	OK    bool   `json:"ok"`
	// Failures name the devices, POOL/DEVICE, and what is wrong with them: the first
	// few of Count.
	Failures []string `json:"failures,omitempty"`
	Count    int      `json:"count,omitempty"`
}

// failuresMax is how many failures of one rule are told.
const failuresMax = 5

// rule is one requirement of the profile.
type rule struct {
	id, level, title string
	check            func(*pool, func(device, wrong string))
}

// pool is all that a driver publishes under one pool's name.
type pool struct {
	name    string
	slices  []*resourcev1.ResourceSlice
	devices []*resourcev1.Device
}

// Rules lists the identifiers of the rules, in order.
func Rules() []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = r.id
	}
	return out
}

// Check judges every driver that published one of these slices, by its name.
func Check(published []resourcev1.ResourceSlice) []Report {
	drivers := map[string]map[string]*pool{}
	for i := range published {
		s := &published[i]
		if drivers[s.Spec.Driver] == nil {
			drivers[s.Spec.Driver] = map[string]*pool{}
		}
		p := drivers[s.Spec.Driver][s.Spec.Pool.Name]
		if p == nil {
			p = &pool{name: s.Spec.Pool.Name}
			drivers[s.Spec.Driver][p.name] = p
		}
		p.slices = append(p.slices, s)
	}
	var out []Report
	for name, pools := range drivers {
		out = append(out, judge(name, pools))
	}
	slices.SortFunc(out, func(a, b Report) int { return cmp.Compare(a.Driver, b.Driver) })
	return out
}

// take puts the slices in the scheduler's order, which is by name, and takes the
// devices of the newest generation out of them: older ones are no longer valid.
func (p *pool) take() {
	slices.SortStableFunc(p.slices, func(a, b *resourcev1.ResourceSlice) int { return cmp.Compare(a.Name, b.Name) })
	newest := p.newest()
	for _, s := range p.slices {
		for i := range s.Spec.Devices {
			if s.Spec.Pool.Generation == newest {
				p.devices = append(p.devices, &s.Spec.Devices[i])
			}
		}
	}
}

func (p *pool) newest() int64 {
	var newest int64
	for _, s := range p.slices {
		newest = max(newest, s.Spec.Pool.Generation)
	}
	return newest
}

func judge(driver string, pools map[string]*pool) Report {
	sorted := make([]*pool, 0, len(pools))
	r := Report{Driver: driver, Profile: profile.Version, Conforms: true}
	for _, p := range pools {
		p.take()
		sorted = append(sorted, p)
		r.Devices += len(p.devices)
	}
	slices.SortFunc(sorted, func(a, b *pool) int { return cmp.Compare(a.name, b.name) })
	for _, rule := range rules {
		res := Result{Rule: rule.id, Level: rule.level, Title: rule.title}
		for _, p := range sorted {
			rule.check(p, func(device, wrong string) {
				if res.Count++; len(res.Failures) < failuresMax {
					res.Failures = append(res.Failures, fmt.Sprintf("%s/%s: %s", p.name, device, wrong))
				}
			})
		}
		res.OK = res.Count == 0
		if !res.OK && rule.level == must {
			r.Conforms = false
		}
		r.Results = append(r.Results, res)
	}
	return r
}
