package route

import (
	"strings"
	"testing"

	"polder.dev/polder/api/v1alpha1"
)

// twoTargets is a spec with a split, to be changed by tests.
func twoTargets() *v1alpha1.ModelRouteSpec {
	return &v1alpha1.ModelRouteSpec{
		Targets: []v1alpha1.RouteTarget{{Name: "small", Service: "s", Cost: "0.5"}, {Name: "large", Service: "l", Cost: "10"}},
		Rules:   []v1alpha1.RouteRule{{Name: "all", Split: []v1alpha1.RouteWeight{{Target: "small", Weight: 3}, {Target: "large", Weight: 1}}}},
	}
}

func cascading(threshold string) *v1alpha1.ModelRouteSpec {
	s := twoTargets()
	s.Rules[0].Split = nil
	s.Rules[0].Cascade = &v1alpha1.Cascade{Specialist: "small", General: "large", Threshold: threshold}
	return s
}

func compiled(t *testing.T, s *v1alpha1.ModelRouteSpec, learned string) *Route {
	t.Helper()
	r, err := Compile(s, learned)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompileRefuses(t *testing.T) {
	type spec = v1alpha1.ModelRouteSpec
	for want, change := range map[string]func(*spec){
		`targets: there is none`:                                func(s *spec) { s.Targets = nil },
		`targets[1].name: there is a target "small" already`:    func(s *spec) { s.Targets[1].Name = "small" },
		`targets[0].cost: "much" is no cost`:                    func(s *spec) { s.Targets[0].Cost = "much" },
		`rules: there is none`:                                  func(s *spec) { s.Rules = nil },
		`rules[1].name: there is a rule "all" already`:          func(s *spec) { s.Rules = append(s.Rules, s.Rules[0]) },
		`rules[0]: give one of split and cascade`:               func(s *spec) { s.Rules[0].Split = nil },
		`rules[0].split[1].target: there is no target "nobody"`: func(s *spec) { s.Rules[0].Split[1].Target = "nobody" },
		`rules[0].split[1].target: "small" stands there twice`:  func(s *spec) { s.Rules[0].Split[1].Target = "small" },
		`rules[0].split: all weights are 0`: func(s *spec) {
			s.Rules[0].Split[0].Weight, s.Rules[0].Split[1].Weight = 0, 0
		},
		`rules[0].split[0].weight: -1 is below 0`: func(s *spec) { s.Rules[0].Split[0].Weight = -1 },
		`rules[0].match.languages[0]: "en-GB" is no primary subtag`: func(s *spec) {
			s.Rules[0].Match.Languages = []string{"en-GB"}
		},
		`rules[0].match.headers: "a b" is no name`: func(s *spec) { s.Rules[0].Match.Headers = map[string]string{"a b": "c"} },
		`rules[0].match.headers: Authorization tells who asks`: func(s *spec) {
			s.Rules[0].Match.Headers = map[string]string{"authorization": "c"}
		},
		`rules[0].match.headers: X-A has two values`: func(s *spec) {
			s.Rules[0].Match.Headers = map[string]string{"x-a": "1", "X-A": "2"}
		},
		`rules[0].match: bytesMin is above bytesMax`:      func(s *spec) { s.Rules[0].Match.BytesMin, s.Rules[0].Match.BytesMax = 9, 8 },
		`fallback[0]: there is no target "nobody"`:        func(s *spec) { s.Fallback = []string{"nobody"} },
		`fallback[1]: "small" stands there twice`:         func(s *spec) { s.Fallback = []string{"small", "small"} },
		`shadow.target: there is no target "nobody"`:      func(s *spec) { s.Shadow = &v1alpha1.Shadow{Target: "nobody", Percent: 1} },
		`limits.burst: it bounds nothing`:                 func(s *spec) { s.Limits = &v1alpha1.RouteLimits{Burst: 3} },
		`limits.budgetPerDay: "x" is no number`:           func(s *spec) { s.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "x"} },
		`limits.budgetPerDay: "99999999999" is no number`: func(s *spec) { s.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "99999999999"} },
		`limits.budgetPerDay: 0 lets no request through`: func(s *spec) {
			s.Limits, s.Targets[0].Cost = &v1alpha1.RouteLimits{BudgetPerDay: "0.0"}, "1"
		},
		`limits.budgetPerDay: no target has a cost`: func(s *spec) {
			s.Targets[0].Cost, s.Targets[1].Cost = "", "0"
			s.Limits = &v1alpha1.RouteLimits{BudgetPerDay: "5"}
		},
		`log.redact[1]: error parsing regexp`:             func(s *spec) { s.Log = &v1alpha1.RouteLog{Redact: []string{"ok", "("}} },
		`log.redact[0]: "a*" also fits nothing at all`:    func(s *spec) { s.Log = &v1alpha1.RouteLog{Redact: []string{"a*"}} },
		`rules[0].cascade: specialist and general are bo`: func(s *spec) { *s = *cascading("0.5"); s.Rules[0].Cascade.General = "small" },
		`rules[0].cascade.specialist: there is no target`: func(s *spec) { *s = *cascading("0.5"); s.Rules[0].Cascade.Specialist = "x" },
		`rules[0].cascade.general: there is no target`:    func(s *spec) { *s = *cascading("0.5"); s.Rules[0].Cascade.General = "x" },
		`rules[0].cascade: give one of threshold and lea`: func(s *spec) { *s = *cascading("") },
		`rules[0].cascade.threshold: "1.5" is no number`:  func(s *spec) { *s = *cascading("1.5") },
		`rules[0].cascade.threshold: "NaN" is no number`:  func(s *spec) { *s = *cascading("NaN") },
		`rules[0].cascade.learn.escalationMax: give one`: func(s *spec) {
			*s = *cascading("")
			s.Rules[0].Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: "e"}
		},
		`rules[0].cascade.learn.qualityMin: 0 asks for nothing`: func(s *spec) {
			*s = *cascading("")
			s.Rules[0].Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: "e", QualityMin: "0"}
		},
		`rules[1].cascade.learn: an earlier rule learns`: func(s *spec) {
			*s = *cascading("")
			s.Rules[0].Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: "e", EscalationMax: "0.3"}
			s.Rules = append(s.Rules, s.Rules[0])
			s.Rules[1].Name = "again"
		},
	} {
		s := twoTargets()
		change(s)
		if _, err := Compile(s, ""); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q..., have %v", want, err)
		}
	}
}

func TestCompileLearned(t *testing.T) {
	s := cascading("")
	s.Rules[0].Cascade.Learn = &v1alpha1.CascadeLearning{Evaluation: "e", EscalationMax: "0.3"}
	d, ok := compiled(t, s, "").Decide(&Request{}, Draw{})
	if !ok || d.Target != 1 || d.Cascade != nil {
		t.Errorf("before anything is learned the general model answers: %+v", d)
	}
	d, _ = compiled(t, s, "0.25").Decide(&Request{}, Draw{})
	if d.Target != 0 || d.Cascade == nil || d.Cascade.Threshold != 0.25 {
		t.Errorf("%+v", d)
	}
	if _, err := Compile(s, "x"); err == nil {
		t.Error("a threshold that is none was learned")
	}
}

func TestCost(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "0": 0, "1000": 1e9, "0.5": 500_000, "0.000000001": 1, "999999999.999": 999_999_999_999_000} {
		if got, err := costOf(text); err != nil || got != want {
			t.Errorf("%q costs %d, %v; want %d", text, got, err, want)
		}
	}
}
