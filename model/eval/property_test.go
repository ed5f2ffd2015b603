package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const seed = 20260901

func dice(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func TestHandComputed(t *testing.T) {
	// Two classes: three of class 0, two of class 1; one of each is missed.
	expected, predicted := []int{0, 0, 0, 1, 1}, []int{0, 0, 1, 1, 0}
	// F1 of class 0: 2*2/(3+3); of class 1: 2*1/(2+2).
	same(t, "f1", f1Of(expected, predicted, 2)(ones(5)), (2./3+1./2)/2, 1e-12)
	// A class that nobody expects or predicts counts nothing; one that is predicted does.
	same(t, "f1", f1Of(expected, predicted, 3)(ones(5)), (2./3+1./2)/2, 1e-12)
	same(t, "f1", f1Of(expected, []int{0, 0, 2, 1, -1}, 3)(ones(5)), (4./5+2./3+0)/3, 1e-12)
	// Of 3*2 pairs five are won, and one is a tie.
	p := []float32{.9, .1, .8, .2, .4, .6, .4, .6, .2, .8}
	same(t, "auc", aucOf(expected, p, 2)(ones(5)), 5.5/6, 1e-12)
	if v := aucOf([]int{1, 1, 1, 1, 1}, p, 2)(ones(5)); !math.IsNaN(v) {
		t.Errorf("the auc of one class is %g, want none", v)
	}
	if d := cmp.Diff([]float64{0.03, 0.06, 0.06, 0.02}, Holm([]float64{0.01, 0.04, 0.03, 0.005}), cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-12 })); d != "" {
		t.Errorf("holm (-want +got):\n%s", d)
	}
}

// The interval of a paired difference ends where the score test just rejects.
func TestPairedEndsAtScore(t *testing.T) {
	for _, c := range [][3]int64{{12, 3, 360}, {0, 0, 50}, {5, 0, 40}, {0, 7, 40}, {40, 30, 100}, {100, 0, 100}} {
		gained, lost, n := c[0], c[1], c[2]
		low, high := paired(gained, lost, n)
		d := float64(gained-lost) / float64(n)
		if !(low <= d && d <= high && low >= -1 && high <= 1) {
			t.Errorf("%v: %g is not within %g to %g", c, d, low, high)
		}
		back, forth := paired(lost, gained, n)
		same(t, "the mirrored interval", back, -high, 1e-9)
		same(t, "the mirrored interval", forth, -low, 1e-9)
		// McNemar's test without correction: (b-c)^2/(b+c) above z^2 exactly when 0 is outside.
		if gained+lost > 0 {
			z := float64((gained-lost)*(gained-lost)) / float64(gained+lost)
			if outside := low > 0 || high < 0; outside != (z > z95*z95) {
				t.Errorf("%v: interval %g to %g, but z^2 = %g", c, low, high, z)
			}
		}
	}
}

// Each interval holds the truth as often as it says.
func TestIntervalCoverage(t *testing.T) {
	r := dice(t)
	const times, n = 1000, 120
	inside := map[string]int{}
	count := func(what string, low, high, truth float64) {
		if low <= truth && truth <= high {
			inside[what]++
		}
	}
	for range times {
		hits, gained, lost := int64(0), int64(0), int64(0)
		v := make([]float64, n)
		for i := range n {
			if r.Float64() < 0.9 {
				hits++
			}
			switch u := r.Float64(); {
			case u < 0.10:
				gained++
			case u < 0.15:
				lost++
			}
			v[i] = r.ExpFloat64()
		}
		low, high := Wilson(hits, n)
		count("wilson", low, high, 0.9)
		low, high = paired(gained, lost, n)
		count("paired", low, high, 0.05)
		low, high, _ = bootstrap(r, n, 400_000_000/300, meanOf(v))
		count("bootstrap", low, high, 1)
		low, high, _ = order(slices.Sorted(slices.Values(v)), 0.5)
		count("order", low, high, math.Ln2)
	}
	for what, k := range inside {
		if share := float64(k) / times; share < 0.92 || share > 0.985 {
			t.Errorf("%s: intervals of 95 %% hold the truth %.1f %% of the time", what, 100*share)
		}
	}
	if len(inside) != 4 {
		t.Fatal("not all intervals were tried")
	}
}

// Without a difference a test finds one no oftener than it says.
func TestFalseAlarms(t *testing.T) {
	r := dice(t)
	const times, n = 600, 60
	alarms := map[string]int{"mcnemar": 0, "means": 0, "f1": 0, "auc": 0}
	for range times {
		e := make([]int, n)
		var a, b [2][]float64
		var p [2][]float32
		var c [2][]int
		gained, lost := int64(0), int64(0)
		for i := range n {
			e[i] = r.IntN(2)
			hard := r.NormFloat64()
			right := [2]bool{}
			for m := range 2 {
				a[m] = append(a[m], math.Abs(hard+r.NormFloat64()))
				b[m] = append(b[m], a[m][i]*a[m][i])
				x := 1 / (1 + math.Exp(-(float64(2*e[i]-1) + hard/2 + r.NormFloat64())))
				p[m] = append(p[m], float32(1-x), float32(x))
				k := 0
				if x > 0.5 {
					k = 1
				}
				c[m] = append(c[m], k)
				right[m] = k == e[i]
			}
			switch {
			case right[0] && !right[1]:
				gained++
			case right[1] && !right[0]:
				lost++
			}
		}
		const few = 400_000_000 // steps: the fewest rounds
		for what, got := range map[string]float64{
			"mcnemar": McNemar(gained, lost), "means": permutation(r, n, few, rootsSwapped(b[0], b[1])),
			"f1": permutation(r, n, few, f1Swapped(e, c[0], c[1], 2)), "auc": permutation(r, n, few, aucSwapped(e, p[0], p[1], 2)),
		} {
			if got < 0.05 {
				alarms[what]++
			}
		}
	}
	for what, k := range alarms {
		if share := float64(k) / times; share > 0.08 {
			t.Errorf("%s: a difference is found %.1f %% of the time where there is none", what, 100*share)
		}
	}
	if alarms["means"]+alarms["f1"]+alarms["auc"] == 0 {
		t.Error("no test ever finds a difference")
	}
}

// inputOf makes answers of three models to rows of three classes; the third is worse.
func inputOf(r *rand.Rand, n int) *Input {
	in := &Input{Task: TaskClassification, Seed: 5, Data: Data{Label: "kind", Classes: []string{"a", "b", "c"}}, Slices: []Column{{Name: "region"}}}
	for i := range n {
		in.Rows = append(in.Rows, int64(i))
		in.Expected = append(in.Expected, r.IntN(3))
		in.Slices[0].Values = append(in.Slices[0].Values, []string{"north", "south"}[r.IntN(2)])
	}
	for m, wrong := range []float64{0.05, 0.06, 0.3} {
		a := Answered{Name: []string{"small", "large", "old"}[m], Seconds: []float64{.001, .002, .003}}
		for _, e := range in.Expected {
			p := []float32{0.1, 0.1, 0.1}
			if r.Float64() < wrong {
				e = (e + 1) % 3
			}
			p[e] = 0.8
			a.Predicted, a.Probability = append(a.Predicted, e), append(a.Probability, p...)
		}
		in.Models = append(in.Models, a)
	}
	return in
}

// The order of rows changes no metric and no verdict, and the same input no bit.
func TestOrderOfRows(t *testing.T) {
	r := dice(t)
	in := inputOf(r, 400)
	first, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, again); d != "" {
		t.Fatalf("the same input gave another report:\n%s", d)
	}
	at := r.Perm(400)
	mixed := *in
	mixed.Expected = pick(in.Expected, at)
	mixed.Slices = []Column{{Name: "region", Values: pick(in.Slices[0].Values, at)}}
	mixed.Models = slices.Clone(in.Models)
	for i := range mixed.Models {
		m := &mixed.Models[i]
		m.Predicted, m.Probability = pick(m.Predicted, at), nil
		for _, j := range at {
			m.Probability = append(m.Probability, in.Models[i].Probability[3*j:3*j+3]...)
		}
	}
	second, err := Judge(&mixed)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Models {
		for name, v := range first.Models[i].Metrics {
			same(t, name, second.Models[i].Metrics[name].Value, v.Value, 1e-12)
		}
	}
	if d := cmp.Diff(first.Comparisons, second.Comparisons); d != "" {
		t.Errorf("comparisons differ (-first +second):\n%s", d)
	}
	if first.Verdict != second.Verdict {
		t.Errorf("verdict %q became %q", first.Verdict, second.Verdict)
	}
}
