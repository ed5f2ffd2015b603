package route

import "slices"

// Draw is chance, from outside: numbers from 0 up to but without 1, evenly spread.
type Draw struct{ Split, Shadow, Log float64 }

// Decision is where one request goes.
type Decision struct {
	// Rule that fitted.
	Rule string
	// Target is asked first; of a cascade it is the specialist, or the general model as
	// long as the threshold is not known. It is an index of Targets, as all here.
	Target int
	// Cascade is nil when Target answers alone.
	Cascade *Cascade
	// Fallback targets, in order. Those of a cascade may be its own: a specialist that is
	// not sure is better than nothing only for who says so.
	Fallback []int
	// Shadow gets a copy; -1: none does.
	Shadow int
	// Log: the request is to be kept.
	Log bool
}

// Decide says where a request goes, and false when no rule fits it.
func (r *Route) Decide(req *Request, draw Draw) (Decision, bool) {
	for i := range r.rules {
		one := &r.rules[i]
		if !one.match.fits(req) {
			continue
		}
		d := Decision{Rule: one.name, Shadow: -1, Log: r.Log != nil && draw.Log*100 < float64(percentOf(r.Log.Percent))}
		if one.cascade != nil {
			d.Target, d.Cascade = one.cascade.Specialist, one.cascade
			if one.cascade.Waits {
				d.Target, d.Cascade = one.cascade.General, nil
			}
		} else {
			d.Target = pick(one.split, draw.Split)
		}
		if r.shadow >= 0 && draw.Shadow*100 < float64(r.percent) && r.shadow != d.Target {
			d.Shadow = r.shadow
		}
		for _, f := range r.fallback {
			if f != d.Target || d.Cascade != nil {
				d.Fallback = append(d.Fallback, f)
			}
		}
		return d, true
	}
	return Decision{}, false
}

// percentOf is p, or all when it is not said.
func percentOf(p int32) int32 {
	if p == 0 {
		return 100
	}
	return p
}

// pick returns the target whose part of the weights u falls in.
func pick(shares []share, u float64) int {
	sum := shares[len(shares)-1].upTo
	at := int64(u * float64(sum))
	for _, s := range shares {
		if at < s.upTo {
			return s.target
		}
	}
	return shares[len(shares)-1].target // u was not below 1
}

// CostMax is the most that a request with this decision may cost, in billionths: that every
// target is asked that may be, and of a cascade the general model and those after it twice,
// about some rows and, if that cannot be merged, about all.
func (r *Route) CostMax(d *Decision) int64 {
	rest := slices.Clone(d.Fallback)
	times := int64(1)
	if d.Cascade != nil {
		rest = append(rest, d.Cascade.General)
		times = 2
	}
	slices.Sort(rest)
	sum := r.Targets[d.Target].Cost
	for _, t := range slices.Compact(rest) {
		if t != d.Target {
			sum += times * r.Targets[t].Cost
		}
	}
	return sum
}

// Learning returns the cascade whose threshold is learned, and the name of its rule.
func (r *Route) Learning() (*Cascade, string) {
	for i := range r.rules {
		if c := r.rules[i].cascade; c != nil && c.Learns {
			return c, r.rules[i].name
		}
	}
	return nil, ""
}

// Cascaded returns the first cascade of the route; nil when it has none.
func (r *Route) Cascaded() *Cascade {
	for i := range r.rules {
		if c := r.rules[i].cascade; c != nil {
			return c
		}
	}
	return nil
}
