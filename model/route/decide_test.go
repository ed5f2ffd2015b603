package route

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"polder.dev/polder/api/v1alpha1"
)

// Draws that are spread evenly give each target its weight, to a draw.
func TestWeights(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		s := &v1alpha1.ModelRouteSpec{Rules: []v1alpha1.RouteRule{{Name: "r"}}}
		sum := 0
		for i := range 1 + rng.IntN(16) {
			w := rng.IntN(50)
			if i == 0 {
				w++
			}
			sum += w
			name := fmt.Sprintf("t%d", i)
			s.Targets = append(s.Targets, v1alpha1.RouteTarget{Name: name, Service: name})
			s.Rules[0].Split = append(s.Rules[0].Split, v1alpha1.RouteWeight{Target: name, Weight: int32(w)})
		}
		r := compiled(t, s, "")
		got := make([]int, len(s.Targets))
		for i := range sum {
			d, ok := r.Decide(&Request{}, Draw{Split: (float64(i) + 0.5) / float64(sum)})
			if !ok {
				t.Fatal("no rule fits")
			}
			got[d.Target]++
		}
		for i, w := range s.Rules[0].Split {
			if got[i] != int(w.Weight) {
				t.Fatalf("target %d has %d of %d draws, its weight is %d", i, got[i], sum, w.Weight)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	h := func(pairs ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			out.Add(pairs[i], pairs[i+1])
		}
		return out
	}
	for name, c := range map[string]struct {
		match v1alpha1.RouteMatch
		req   Request
		want  bool
	}{
		"everything":       {v1alpha1.RouteMatch{}, Request{}, true},
		"task":             {v1alpha1.RouteMatch{Tasks: []string{"ocr", "sort"}}, Request{Header: h("polder-task", "sort")}, true},
		"another task":     {v1alpha1.RouteMatch{Tasks: []string{"ocr"}}, Request{Header: h("Polder-Task", "sort")}, false},
		"no task":          {v1alpha1.RouteMatch{Tasks: []string{"ocr"}}, Request{}, false},
		"language":         {v1alpha1.RouteMatch{Languages: []string{"en"}}, Request{Header: h("Content-Language", "de, EN-gb")}, true},
		"another language": {v1alpha1.RouteMatch{Languages: []string{"en"}}, Request{Header: h("Content-Language", "eng")}, false},
		"tenant":           {v1alpha1.RouteMatch{Tenants: []string{"red"}}, Request{Tenant: "red"}, true},
		"another tenant":   {v1alpha1.RouteMatch{Tenants: []string{"red"}}, Request{Tenant: "blue"}, false},
		"classification":   {v1alpha1.RouteMatch{Classifications: []string{"public"}}, Request{Header: h("Polder-Classification", "public")}, true},
		"header":           {v1alpha1.RouteMatch{Headers: map[string]string{"x-a": "1"}}, Request{Header: h("X-A", "1")}, true},
		"header's value":   {v1alpha1.RouteMatch{Headers: map[string]string{"x-a": "1"}}, Request{Header: h("X-A", "2")}, false},
		"small":            {v1alpha1.RouteMatch{BytesMax: 10}, Request{Bytes: 10}, true},
		"not small":        {v1alpha1.RouteMatch{BytesMax: 10}, Request{Bytes: 11}, false},
		"large":            {v1alpha1.RouteMatch{BytesMin: 10}, Request{Bytes: 9}, false},
		"all of it":        {v1alpha1.RouteMatch{Tasks: []string{"ocr"}, Tenants: []string{"red"}}, Request{Header: h("Polder-Task", "ocr"), Tenant: "blue"}, false},
	} {
		s := twoTargets()
		s.Rules[0].Match = c.match
		if _, ok := compiled(t, s, "").Decide(&c.req, Draw{}); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestDecide(t *testing.T) {
	s := twoTargets()
	s.Targets = append(s.Targets, v1alpha1.RouteTarget{Name: "new", Service: "n", Cost: "2"})
	s.Fallback = []string{"small", "large"}
	s.Shadow = &v1alpha1.Shadow{Target: "new", Percent: 10}
	s.Log = &v1alpha1.RouteLog{Percent: 50}
	r := compiled(t, s, "")
	d, _ := r.Decide(&Request{}, Draw{Split: 0.99, Shadow: 0.09, Log: 0.5})
	if d.Target != 1 || d.Shadow != 2 || d.Log || len(d.Fallback) != 1 || d.Fallback[0] != 0 {
		t.Errorf("%+v", d)
	}
	if got := r.CostMax(&d); got != 10_500_000 {
		t.Errorf("it costs at most %d", got)
	}
	d, _ = r.Decide(&Request{}, Draw{Shadow: 0.1, Log: 0.49})
	if d.Target != 0 || d.Shadow != -1 || !d.Log {
		t.Errorf("%+v", d)
	}
}
