package route

import (
	"fmt"
	"maps"
	"math"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// Route is a spec that has been checked, ready to decide by. It is not changed after
// Compile, and many may use it at once.
type Route struct {
	Targets []Target
	// Limits of each client, and the budget of each tenant.
	Limits Limits
	// Cache is nil when answers are not kept.
	Cache *v1alpha1.RouteCache
	// Log is nil when requests are not kept; Redact are its patterns.
	Log    *v1alpha1.RouteLog
	Redact []*regexp.Regexp
	// Headers that rules look at, in canonical form and sorted. Who keeps answers must
	// keep those apart that differ in them.
	Headers []string

	rules    []rule
	fallback []int
	shadow   int // -1: none
	percent  int32
}

// Target is a service under a name.
type Target struct {
	Name, Service string
	// Cost of one request in billionths of the organisation's unit, rounded up.
	Cost int64
}

// Limits of a route. A zero is no limit.
type Limits struct {
	PerSecond, Burst int32
	// Budget of a tenant for a day, in billionths of the unit; limited when Budgeted.
	Budget   int64
	Budgeted bool
}

type rule struct {
	name    string
	match   match
	split   []share
	cascade *Cascade
}

// share is a target and the sum of all weights up to and with its own.
type share struct {
	target int
	upTo   int64
}

// Cascade asks one target, and another if the first is not sure.
type Cascade struct {
	// Specialist and General are indices of Targets.
	Specialist, General int
	// Output that tells how sure the specialist is; "": the first.
	Output string
	// Threshold of the margin below which the general model is asked, 0 to 1.
	Threshold float64
	// Learns: the threshold is one that is learned. Waits: it has not been yet, so the
	// general model answers everything.
	Learns, Waits bool
}

// Compile checks a spec. learned is the threshold for the rule whose cascade learns it;
// "" when there is none yet.
func Compile(spec *v1alpha1.ModelRouteSpec, learned string) (*Route, error) {
	r := &Route{shadow: -1, Cache: spec.Cache, Log: spec.Log}
	byName, err := r.targets(spec.Targets)
	if err != nil {
		return nil, err
	}
	if len(spec.Rules) == 0 {
		return nil, fmt.Errorf("rules: there is none, so every request would be answered 404; give one with a split")
	}
	seen := map[string]bool{}
	for i := range spec.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if seen[spec.Rules[i].Name] {
			return nil, fmt.Errorf("%s.name: there is a rule %q already; give each a name of its own", at, spec.Rules[i].Name)
		}
		seen[spec.Rules[i].Name] = true
		one, err := compileRule(&spec.Rules[i], byName, learned, at)
		if err != nil {
			return nil, err
		}
		if one.cascade != nil && one.cascade.Learns && slices.ContainsFunc(r.rules, func(o rule) bool { return o.cascade != nil && o.cascade.Learns }) {
			return nil, fmt.Errorf("%s.cascade.learn: an earlier rule learns a threshold, and a route learns one; give a threshold here, or make another route", at)
		}
		r.rules = append(r.rules, one)
	}
	if r.fallback, err = byName.all(spec.Fallback, "fallback"); err != nil {
		return nil, err
	}
	if s := spec.Shadow; s != nil {
		if r.shadow, err = byName.find(s.Target, "shadow.target"); err != nil {
			return nil, err
		}
		r.percent = s.Percent
	}
	if r.Limits, err = compileLimits(spec.Limits, r.Targets); err != nil {
		return nil, err
	}
	if r.Redact, err = patterns(spec.Log); err != nil {
		return nil, err
	}
	r.Headers = headersOf(r.rules)
	return r, nil
}

func (r *Route) targets(spec []v1alpha1.RouteTarget) (names, error) {
	if len(spec) == 0 {
		return nil, fmt.Errorf("targets: there is none; name at least one service")
	}
	byName := names{}
	for i, t := range spec {
		at := fmt.Sprintf("targets[%d]", i)
		if _, twice := byName[t.Name]; twice {
			return nil, fmt.Errorf("%s.name: there is a target %q already; give each a name of its own", at, t.Name)
		}
		cost, err := costOf(t.Cost)
		if err != nil {
			return nil, fmt.Errorf("%s.cost: %w", at, err)
		}
		byName[t.Name] = i
		r.Targets = append(r.Targets, Target{Name: t.Name, Service: t.Service, Cost: cost})
	}
	return byName, nil
}

// names are targets' indices.
type names map[string]int

func (n names) find(name, field string) (int, error) {
	if i, ok := n[name]; ok {
		return i, nil
	}
	return 0, fmt.Errorf("%s: there is no target %q; targets are %s", field, name, strings.Join(slices.Sorted(maps.Keys(n)), ", "))
}

func (n names) all(list []string, field string) ([]int, error) {
	var out []int
	for i, name := range list {
		at, err := n.find(name, fmt.Sprintf("%s[%d]", field, i))
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, at) {
			return nil, fmt.Errorf("%s[%d]: %q stands there twice; name each once", field, i, name)
		}
		out = append(out, at)
	}
	return out, nil
}

func compileRule(spec *v1alpha1.RouteRule, byName names, learned, at string) (rule, error) {
	m, err := compileMatch(&spec.Match, at+".match")
	if err != nil {
		return rule{}, err
	}
	out := rule{name: spec.Name, match: m}
	if (spec.Cascade != nil) == (len(spec.Split) > 0) {
		return rule{}, fmt.Errorf("%s: give one of split and cascade", at)
	}
	if spec.Cascade != nil {
		out.cascade, err = compileCascade(spec.Cascade, byName, learned, at+".cascade")
		return out, err
	}
	var sum int64
	for i, w := range spec.Split {
		field := fmt.Sprintf("%s.split[%d]", at, i)
		target, err := byName.find(w.Target, field+".target")
		if err != nil {
			return rule{}, err
		}
		if w.Weight < 0 {
			return rule{}, fmt.Errorf("%s.weight: %d is below 0; give 0 or more", field, w.Weight)
		}
		if slices.ContainsFunc(spec.Split[:i], func(o v1alpha1.RouteWeight) bool { return o.Target == w.Target }) {
			return rule{}, fmt.Errorf("%s.target: %q stands there twice; give it one weight", field, w.Target)
		}
		sum += int64(w.Weight)
		if w.Weight > 0 {
			out.split = append(out.split, share{target: target, upTo: sum})
		}
	}
	if sum == 0 {
		return rule{}, fmt.Errorf("%s.split: all weights are 0, so no target would get anything; give one of them more", at)
	}
	return out, nil
}

func compileCascade(spec *v1alpha1.Cascade, byName names, learned, at string) (*Cascade, error) {
	small, err := byName.find(spec.Specialist, at+".specialist")
	if err != nil {
		return nil, err
	}
	large, err := byName.find(spec.General, at+".general")
	if err != nil {
		return nil, err
	}
	if small == large {
		return nil, fmt.Errorf("%s: specialist and general are both %q; name two targets, or use a split", at, spec.General)
	}
	if (spec.Learn != nil) == (spec.Threshold != "") {
		return nil, fmt.Errorf("%s: give one of threshold and learn", at)
	}
	c := &Cascade{Specialist: small, General: large, Output: spec.Output, Learns: spec.Learn != nil}
	text, field := spec.Threshold, at+".threshold"
	if c.Learns {
		if _, err := GoalOf(spec.Learn); err != nil {
			return nil, fmt.Errorf("%s.learn.%w", at, err)
		}
		text, field = learned, at+".learn: what was learned"
		if text == "" {
			c.Waits = true
			return c, nil
		}
	}
	if c.Threshold, err = fraction(text); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return c, nil
}

// fraction reads a decimal number from 0 to 1.
func fraction(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, fmt.Errorf("%q is no number from 0 to 1; write it like 0.25", text)
	}
	return v, nil
}

// budgetMax is the largest budget that is counted in billionths.
const budgetMax = 9_000_000_000

func compileLimits(spec *v1alpha1.RouteLimits, targets []Target) (Limits, error) {
	if spec == nil {
		return Limits{}, nil
	}
	out := Limits{PerSecond: spec.RequestsPerSecond, Burst: spec.Burst}
	switch {
	case out.PerSecond < 0 || out.Burst < 0:
		return Limits{}, fmt.Errorf("limits: requestsPerSecond and burst must be 0 or more")
	case out.Burst > 0 && out.PerSecond == 0:
		return Limits{}, fmt.Errorf("limits.burst: it bounds nothing without requestsPerSecond; give both")
	case out.Burst == 0:
		out.Burst = out.PerSecond
	}
	if spec.BudgetPerDay == "" {
		return out, nil
	}
	v, err := strconv.ParseFloat(spec.BudgetPerDay, 64)
	if err != nil || !(v >= 0 && v <= budgetMax) {
		return Limits{}, fmt.Errorf("limits.budgetPerDay: %q is no number from 0 to %d; count in a larger unit", spec.BudgetPerDay, int64(budgetMax))
	}
	if !slices.ContainsFunc(targets, func(t Target) bool { return t.Cost > 0 }) {
		return Limits{}, fmt.Errorf("limits.budgetPerDay: no target has a cost, so nothing would ever be spent; give targets[].cost")
	}
	if v == 0 {
		return Limits{}, fmt.Errorf("limits.budgetPerDay: 0 lets no request through; leave it out if nothing is to be bounded")
	}
	out.Budget, out.Budgeted = int64(math.Floor(v*1e9)), true
	return out, nil
}

// costOf is the cost of one request in billionths, rounded up, from that of a thousand.
func costOf(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v < 1e9) {
		return 0, fmt.Errorf("%q is no cost; write a decimal number below a thousand million, such as 0.25", text)
	}
	return int64(math.Ceil(v * 1e6)), nil // 1e9 billionths, of a thousandth
}

func patterns(spec *v1alpha1.RouteLog) ([]*regexp.Regexp, error) {
	if spec == nil {
		return nil, nil
	}
	var out []*regexp.Regexp
	for i, text := range spec.Redact {
		p, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("log.redact[%d]: %w; write it in the syntax of RE2", i, err)
		}
		if p.MatchString("") {
			return nil, fmt.Errorf("log.redact[%d]: %q also fits nothing at all, so it would fit everywhere; make it ask for a character", i, text)
		}
		out = append(out, p)
	}
	return out, nil
}

func headersOf(rules []rule) []string {
	set := map[string]bool{}
	for i := range rules {
		m := &rules[i].match
		for name := range m.headers {
			set[name] = true
		}
		for name, used := range map[string]bool{HeaderTask: m.tasks != nil, HeaderClassification: m.classifications != nil, headerLanguage: m.languages != nil} {
			if used {
				set[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
