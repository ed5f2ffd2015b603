package route

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"polder.dev/polder/api/v1alpha1"
)

// Sample is one row that both models have answered.
type Sample struct {
	// Margin of the specialist's answer, 0 to 1.
	Margin float64
	// Specialist and General: their answers are right.
	Specialist, General bool
	// Agree: they gave the same answer.
	Agree bool
}

// Goal of a threshold: the best quality at an escalation of at most Escalation, or, when
// Quality is above 0, the lowest escalation at a quality of at least that.
type Goal struct{ Escalation, Quality float64 }

// GoalOf reads a goal. The error begins with the name of the field.
func GoalOf(spec *v1alpha1.CascadeLearning) (Goal, error) {
	if (spec.EscalationMax != "") == (spec.QualityMin != "") {
		return Goal{}, errors.New("escalationMax: give one of escalationMax and qualityMin")
	}
	if spec.EscalationMax != "" {
		v, err := fraction(spec.EscalationMax)
		if err != nil {
			return Goal{}, fmt.Errorf("escalationMax: %w", err)
		}
		return Goal{Escalation: v}, nil
	}
	v, err := fraction(spec.QualityMin)
	switch {
	case err != nil:
		return Goal{}, fmt.Errorf("qualityMin: %w", err)
	case v == 0:
		return Goal{}, errors.New("qualityMin: 0 asks for nothing; give the share of right answers that you need")
	}
	return Goal{Quality: v}, nil
}

// Costs of a thousand requests of each model; both 0 where they are not known.
type Costs struct{ Specialist, General float64 }

// Bounds of what is learned from.
const (
	SamplesMin = 40 // with fewer, nothing can be told
	folds      = 10
)

// Learned is a threshold and what is known of it.
type Learned struct {
	// Threshold below which the general model is asked, rounded to 9 decimals.
	Threshold float64 `json:"threshold"`
	// Rows that it was learned from.
	Rows int `json:"rows"`
	// Reached: on the samples, the goal is met.
	Reached bool `json:"reached"`
	// Expected of the cascade on new rows, by cross-fitting: each row is judged by a
	// threshold that was chosen on other rows.
	Expected Quality `json:"expected"`
	// Disagreement expected among rows that go on: both models answer otherwise.
	Disagreement Share `json:"disagreement"`
	Controls
	// Curve of quality by escalation on the samples themselves, for pictures.
	Curve []Point `json:"curve"`
}

// Quality of a way of routing: the share of right answers, with its interval of 95 %, at
// what escalation and at what cost of a thousand requests.
type Quality struct {
	Quality    float64 `json:"quality"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Escalation Share   `json:"escalation"`
	Cost       float64 `json:"cost,omitempty"`
}

// Share with its interval of 95 % (Wilson), of how many.
type Share struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Of    int     `json:"of"`
}

// Point of a curve.
type Point struct {
	Threshold  float64 `json:"threshold"`
	Escalation float64 `json:"escalation"`
	Quality    float64 `json:"quality"`
}

// Learn chooses a threshold on samples and says what to expect of it. seed is of the
// folds and of the bootstrap.
func Learn(samples []Sample, goal Goal, costs Costs, seed uint64) (*Learned, error) {
	if len(samples) < SamplesMin {
		return nil, fmt.Errorf("there are %d rows, and a threshold takes at least %d; evaluate on more", len(samples), SamplesMin)
	}
	for i, s := range samples {
		if !(s.Margin >= 0 && s.Margin <= 1) {
			return nil, fmt.Errorf("row %d has a margin of %v, which is not from 0 to 1", i, s.Margin)
		}
	}
	sorted, fold := shuffled(samples, seed)
	out := &Learned{Rows: len(sorted), Curve: curve(sorted)}
	var chosen Point
	chosen, out.Reached = choose(sorted, goal)
	out.Threshold = chosen.Threshold
	outcomes := crossFit(sorted, fold, goal)
	out.Expected = qualityOf(outcomes, costs)
	out.Disagreement = disagreement(outcomes)
	out.Controls = compare(outcomes, costs, seed)
	out.Verdict = out.sentence(goal)
	return out, nil
}

// shuffled returns the samples by rising margin, and a fold drawn for each.
func shuffled(samples []Sample, seed uint64) (sorted []Sample, fold []int) {
	sorted = slices.Clone(samples)
	slices.SortStableFunc(sorted, func(a, b Sample) int { return cmp.Compare(a.Margin, b.Margin) })
	fold = make([]int, len(sorted))
	for i := range fold {
		fold[i] = i % folds
	}
	rng := rand.New(rand.NewPCG(seed, 0x666f6c64))
	rng.Shuffle(len(fold), func(i, j int) { fold[i], fold[j] = fold[j], fold[i] })
	return sorted, fold
}

// outcome of one row of a cascade.
type outcome struct {
	Sample
	escalated bool
}

func (o *outcome) right() bool { return o.escalated && o.General || !o.escalated && o.Specialist }

// crossFit judges each row by the threshold that the other folds give.
func crossFit(sorted []Sample, fold []int, goal Goal) []outcome {
	out := make([]outcome, 0, len(sorted))
	for f := range folds {
		var others []Sample
		for i := range sorted {
			if fold[i] != f {
				others = append(others, sorted[i])
			}
		}
		chosen, _ := choose(others, goal)
		for i := range sorted {
			if fold[i] == f {
				out = append(out, outcome{Sample: sorted[i], escalated: sorted[i].Margin < chosen.Threshold})
			}
		}
	}
	return out
}

// choose returns the best cut of samples that are sorted by margin, and whether it meets
// the goal.
//
// An escalation is a bound to keep on rows yet to come, so the cut stays below it by one
// standard error of such a share. Of the cuts below it the one with the best quality is
// looked for; a small sample finds it too early, where chance has it, so as much goes on as
// is allowed while that is not worse by more than one standard error, if the general model
// is the better one at all.
func choose(sorted []Sample, goal Goal) (Point, bool) {
	if goal.Quality > 0 {
		return reach(sorted, goal.Quality)
	}
	n := float64(len(sorted))
	limit := max(0, goal.Escalation-math.Sqrt(goal.Escalation*(1-goal.Escalation)/n))
	var allowed []cut
	best := 0
	cuts(sorted, func(c cut) bool {
		if c.Escalation > limit {
			return false
		}
		allowed = append(allowed, c)
		if c.Quality > allowed[best].Quality {
			best = len(allowed) - 1
		}
		return true
	})
	if better(sorted) {
		for k := len(allowed) - 1; k > best; k-- {
			if allowed[best].Quality-allowed[k].Quality <= math.Sqrt(float64(allowed[k].differ-allowed[best].differ))/n {
				return allowed[k].Point, true
			}
		}
	}
	return allowed[best].Point, true
}

// reach returns the cut with the lowest escalation that has a quality, or the best one.
func reach(sorted []Sample, quality float64) (best Point, reached bool) {
	first := true
	cuts(sorted, func(c cut) bool {
		if first || c.Quality > best.Quality {
			best, first = c.Point, false
		}
		reached = c.Quality >= quality
		return !reached
	})
	return best, reached
}

// better: the general model has more rows right.
func better(samples []Sample) bool {
	more := 0
	for i := range samples {
		more += count(samples[i].General) - count(samples[i].Specialist)
	}
	return more > 0
}

// cut parts the samples.
type cut struct {
	Point
	differ int // rows that go on which one model alone has right
}

// cuts calls each with every threshold that parts the samples, from none that goes on to
// all, until it returns false.
func cuts(sorted []Sample, each func(cut) bool) {
	n := float64(len(sorted))
	right, differ := 0, 0
	for i := range sorted {
		right += count(sorted[i].Specialist)
	}
	if !each(cut{Point: Point{Quality: float64(right) / n}}) {
		return
	}
	for k := 1; k <= len(sorted); k++ {
		right += count(sorted[k-1].General) - count(sorted[k-1].Specialist)
		differ += count(sorted[k-1].General != sorted[k-1].Specialist)
		threshold, next := 1.0, 1.0
		if k < len(sorted) {
			next = sorted[k].Margin
			threshold = rounded((sorted[k-1].Margin + next) / 2)
		}
		if sorted[k-1].Margin >= threshold || threshold > next {
			continue // nothing is between them that can be written down
		}
		if !each(cut{Point{Threshold: threshold, Escalation: float64(k) / n, Quality: float64(right) / n}, differ}) {
			return
		}
	}
}

// curvePoints at most are kept for pictures.
const curvePoints = 101

func curve(sorted []Sample) []Point {
	var out []Point
	last := -1.0
	cuts(sorted, func(c cut) bool {
		if c.Escalation-last >= 1.0/(curvePoints-1) || c.Escalation == 0 {
			out, last = append(out, c.Point), c.Escalation
		}
		return true
	})
	return out
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rounded to 9 decimals, as thresholds are written.
func rounded(v float64) float64 { return math.Round(v*1e9) / 1e9 }

// Decimal writes a number as the API has them, with at most 9 decimals.
func Decimal(v float64) string { return strconv.FormatFloat(rounded(v), 'f', -1, 64) }
