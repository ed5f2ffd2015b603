package route

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// drawn returns rows of a specialist whose answers are right as often as its margin says,
// and of a general model that is right with a fixed probability.
func drawn(rng *rand.Rand, n int, general float64) []Sample {
	out := make([]Sample, n)
	for i := range out {
		m := math.Sqrt(rng.Float64())
		out[i] = Sample{Margin: m, Specialist: rng.Float64() < 0.5+0.5*m, General: rng.Float64() < general}
		out[i].Agree = out[i].Specialist && out[i].General
	}
	return out
}

func learned(t *testing.T, samples []Sample, goal Goal, costs Costs) *Learned {
	t.Helper()
	l, err := Learn(samples, goal, costs, 7)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLearnBeatsTheMix(t *testing.T) {
	l := learned(t, drawn(rand.New(rand.NewPCG(1, 2)), 4000, 0.97), Goal{Escalation: 0.3}, Costs{})
	if e := l.Expected.Escalation; e.Value > 0.3 || e.Value < 0.25 {
		t.Errorf("escalation %+v", e)
	}
	if l.Difference.Low <= 0 || l.Expected.Quality <= l.Split.Quality || l.Split.Quality <= l.Cheapest.Quality || l.Strongest.Quality < l.Expected.Quality {
		t.Errorf("%+v", l)
	}
	if !strings.HasPrefix(l.Verdict, "The cascade is better than the best fixed mix at equal cost, by") {
		t.Error(l.Verdict)
	}
	again := learned(t, drawn(rand.New(rand.NewPCG(1, 2)), 4000, 0.97), Goal{Escalation: 0.3}, Costs{})
	if !reflect.DeepEqual(l, again) {
		t.Error("the same rows and seed gave something else")
	}
}

// A margin that tells nothing gives a cascade that is no better than the mix, and the
// verdict says so: by far most of the times, since the interval is one of 95 %.
func TestLearnIsHonest(t *testing.T) {
	const worlds = 60
	wrong := 0
	for seed := range uint64(worlds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		samples := make([]Sample, 300)
		for i := range samples {
			samples[i] = Sample{Margin: rng.Float64(), Specialist: rng.Float64() < 0.8, General: rng.Float64() < 0.95}
		}
		if learned(t, samples, Goal{Escalation: 0.4}, Costs{}).Difference.Low > 0 {
			wrong++
		}
	}
	if wrong > 6 { // of a binomial with 0.025 to 0.05, more has a chance below 1 in 100
		t.Errorf("%d of %d cascades without information are called better", wrong, worlds)
	}
}

// What is expected by cross-fitting is what comes on new rows: the interval holds the
// truth about as often as it says.
func TestExpectedHolds(t *testing.T) {
	const worlds = 60
	held, over := 0, 0
	for seed := range uint64(worlds) {
		rng := rand.New(rand.NewPCG(seed, 4))
		l := learned(t, drawn(rng, 400, 0.97), Goal{Escalation: 0.3}, Costs{})
		right, on := 0, 0
		fresh := drawn(rng, 20_000, 0.97)
		for _, s := range fresh {
			o := outcome{Sample: s, escalated: s.Margin < l.Threshold}
			right += count(o.right())
			on += count(o.escalated)
		}
		q, e := float64(right)/float64(len(fresh)), float64(on)/float64(len(fresh))
		if l.Expected.Low <= q && q <= l.Expected.High {
			held++
		}
		if e > 0.3 {
			over++
		}
	}
	if held < 51 { // 57 are meant
		t.Errorf("the quality on new rows was in the interval in %d of %d worlds", held, worlds)
	}
	if over > 21 { // 16 % are meant: one standard error
		t.Errorf("more went on than was allowed in %d of %d worlds", over, worlds)
	}
}

// rows are n of a kind.
func rows(n int, margin float64, small, large bool) []Sample {
	out := make([]Sample, n)
	for i := range out {
		out[i] = Sample{Margin: margin, Specialist: small, General: large, Agree: small == large}
	}
	return out
}

// 20 rows of margin 0.2 that only the general model has right, 80 of 0.8 that both have:
// all is known by hand.
func TestLearnByHand(t *testing.T) {
	samples := append(rows(20, 0.2, false, true), rows(80, 0.8, true, true)...)
	l := learned(t, samples, Goal{Escalation: 0.3}, Costs{Specialist: 1, General: 10})
	if l.Threshold != 0.5 || !l.Reached || l.Expected.Quality != 1 || l.Expected.Escalation.Value != 0.2 || l.Expected.Cost != 3 {
		t.Errorf("%+v", l.Expected)
	}
	// 3 = (1-q)*1 + q*10 gives q = 2/9, and 0.8 + q*0.2 = 0.8444
	if s := l.Split; math.Abs(s.Quality-(0.8+0.2*2/9)) > 1e-12 || math.Abs(s.Cost-3) > 1e-12 {
		t.Errorf("%+v", s)
	}
	if l.Cheapest.Quality != 0.8 || l.Strongest.Quality != 1 || l.Disagreement.Value != 1 {
		t.Errorf("%+v %+v", l.Controls, l.Disagreement)
	}
	if math.Abs(l.Cheapest.Low-0.7112) > 1e-4 || math.Abs(l.Cheapest.High-0.8666) > 1e-4 { // Wilson, 80 of 100
		t.Errorf("%+v", l.Cheapest)
	}
	l = learned(t, samples, Goal{Quality: 0.99}, Costs{})
	if l.Threshold != 0.5 || !l.Reached || !strings.Contains(l.Verdict, "is not sure") { // 100 of 100 may be 0.963
		t.Errorf("%v %v %s", l.Threshold, l.Reached, l.Verdict)
	}
	if l = learned(t, samples, Goal{Quality: 0.5}, Costs{}); l.Threshold != 0 || !strings.Contains(l.Verdict, "nothing would go on") {
		t.Errorf("%v %s", l.Threshold, l.Verdict)
	}
	if l = learned(t, samples, Goal{Escalation: 0}, Costs{}); l.Threshold != 0 {
		t.Errorf("%v goes on where nothing may", l.Threshold)
	}
	if l = learned(t, samples, Goal{Escalation: 1}, Costs{Specialist: 10, General: 1}); l.Split.Quality != 1 {
		t.Errorf("a general model that is cheaper is the best mix: %+v", l.Split)
	}
	worse := append(rows(20, 0.2, true, false), rows(80, 0.8, true, true)...)
	if l = learned(t, worse, Goal{Escalation: 0.5}, Costs{}); !strings.HasPrefix(l.Verdict, "The general model is not better") {
		t.Error(l.Verdict)
	}
	both := append(rows(20, 0.2, false, false), rows(80, 0.8, true, true)...)
	if l = learned(t, both, Goal{Quality: 0.9}, Costs{}); l.Reached || !strings.Contains(l.Verdict, "not reached by any threshold") {
		t.Errorf("%+v", l)
	}
}

func TestLearnRefuses(t *testing.T) {
	nan := rows(50, 0.5, true, true)
	nan[7].Margin = math.NaN()
	for want, samples := range map[string][]Sample{
		"there are 3 rows":       rows(3, 0.5, true, true),
		"row 7 has a margin of ": nan,
		"row 0 has a margin of ": rows(50, 1.5, true, true),
	} {
		if _, err := Learn(samples, Goal{Escalation: 0.3}, Costs{}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
}

// A plateau is gone along as far as is allowed, and not where the general model is worse.
func TestChoosePlateau(t *testing.T) {
	var samples []Sample
	for i := range 1000 {
		m := float64(i) / 1000
		samples = append(samples, Sample{Margin: m, Specialist: i >= 100, General: true})
	}
	if p, _ := choose(samples, Goal{Escalation: 0.5}); p.Escalation < 0.48 || p.Escalation > 0.5 {
		t.Errorf("%+v", p)
	}
	for i := 200; i < 300; i++ { // here the general model is worse, by far
		samples[i].General = false
	}
	if p, _ := choose(samples, Goal{Escalation: 0.5}); p.Escalation > 0.21 || p.Escalation < 0.1 {
		t.Errorf("%+v", p)
	}
	for i := range samples {
		samples[i].General = samples[i].Specialist
	}
	if p, _ := choose(samples, Goal{Escalation: 0.5}); p.Escalation != 0 {
		t.Errorf("%+v goes on although nothing is won", p)
	}
}

// Every threshold parts the rows as its point says.
func TestCuts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		samples := drawn(rng, 1+rng.IntN(60), 0.9)
		for i := range samples {
			switch rng.IntN(4) {
			case 0:
				samples[i].Margin = math.Round(samples[i].Margin*10) / 10
			case 1:
				samples[i].Margin = 1 - 1e-10*float64(rng.IntN(3)) // nearer than can be written down
			}
		}
		sorted, _ := shuffled(samples, seed)
		cuts(sorted, func(p cut) bool {
			on, right, differ := 0, 0, 0
			for _, s := range sorted {
				o := outcome{Sample: s, escalated: s.Margin < p.Threshold}
				on, right = on+count(o.escalated), right+count(o.right())
				differ += count(o.escalated && s.Specialist != s.General)
			}
			n := float64(len(sorted))
			if p.differ != differ || p.Escalation != float64(on)/n || p.Quality != float64(right)/n || rounded(p.Threshold) != p.Threshold {
				t.Fatalf("%+v: %d go on, %d are right of %d", p, on, right, len(sorted))
			}
			return true
		})
	}
}
