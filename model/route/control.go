package route

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Controls are what would be had without a cascade.
type Controls struct {
	// Cheapest asks the specialist alone, Strongest the general model alone.
	Cheapest  Quality `json:"cheapest"`
	Strongest Quality `json:"strongest"`
	// Split is the best fixed mix of both that costs no more than the cascade.
	Split Quality `json:"split"`
	// Difference of the cascade and the split in quality, with its interval of 95 %
	// (paired bootstrap over rows).
	Difference Difference `json:"difference"`
	// Verdict in sentences.
	Verdict string `json:"verdict"`
}

// Difference between two ways on the same rows.
type Difference struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// draws of the bootstrap.
const draws = 2000

// table counts rows by what became of them: the bits of an index are escalated, the
// specialist right, the general model right.
type table [8]int

func cell(o *outcome) int { return count(o.escalated)<<2 | count(o.Specialist)<<1 | count(o.General) }

// numbers of a table, as shares of its rows.
type numbers struct {
	rows                                    float64
	escalated, cascade, specialist, general float64
	mix                                     float64 // share of the split that the general model gets
	split                                   float64 // quality of it
}

func (t *table) numbers(c Costs) numbers {
	var n numbers
	for i, k := range t {
		v := float64(k)
		escalated, small, large := i&4 != 0, i&2 != 0, i&1 != 0
		n.rows += v
		n.escalated += v * float64(count(escalated))
		n.specialist += v * float64(count(small))
		n.general += v * float64(count(large))
		n.cascade += v * float64(count(escalated && large || !escalated && small))
	}
	for _, p := range []*float64{&n.escalated, &n.cascade, &n.specialist, &n.general} {
		*p /= n.rows
	}
	n.mix = mixOf(n.escalated, c)
	if n.general <= n.specialist {
		n.mix = 0 // the best mix is then the cheaper one alone
	}
	n.split = (1-n.mix)*n.specialist + n.mix*n.general
	return n
}

// mixOf is the share of requests that the general model can have in a mix at the cost of a
// cascade with this escalation. A cascade pays for the specialist always, a mix for one of
// the two. Where costs are not known only the general model's answers count.
func mixOf(escalation float64, c Costs) float64 {
	switch {
	case c.Specialist == 0 && c.General == 0:
		return escalation
	case c.General <= c.Specialist:
		return 1
	}
	return min(1, escalation*c.General/(c.General-c.Specialist))
}

func tableOf(outcomes []outcome) table {
	var t table
	for i := range outcomes {
		t[cell(&outcomes[i])]++
	}
	return t
}

func qualityOf(outcomes []outcome, c Costs) Quality {
	t := tableOf(outcomes)
	n := t.numbers(c)
	return quality(n.cascade, n.escalated, len(outcomes), c.Specialist+n.escalated*c.General)
}

func quality(share, escalation float64, n int, cost float64) Quality {
	q, e := wilson(share, n), wilson(escalation, n)
	return Quality{Quality: q.Value, Low: q.Low, High: q.High, Escalation: e, Cost: cost}
}

func compare(outcomes []outcome, c Costs, seed uint64) Controls {
	t := tableOf(outcomes)
	n := t.numbers(c)
	rows := len(outcomes)
	out := Controls{
		Cheapest:  quality(n.specialist, 0, rows, c.Specialist),
		Strongest: quality(n.general, 1, rows, c.General),
		Split:     quality(n.split, n.mix, rows, (1-n.mix)*c.Specialist+n.mix*c.General),
	}
	for _, q := range []*Quality{&out.Cheapest, &out.Strongest, &out.Split} { // these shares are chosen, not found
		q.Escalation = Share{Value: q.Escalation.Value, Low: q.Escalation.Value, High: q.Escalation.Value, Of: rows}
	}
	out.Difference = bootstrap(outcomes, c, seed)
	return out
}

// bootstrap draws rows anew, all that was measured of one together, and looks how the
// difference varies.
func bootstrap(outcomes []outcome, c Costs, seed uint64) Difference {
	cells := make([]uint8, len(outcomes))
	for i := range outcomes {
		cells[i] = uint8(cell(&outcomes[i]))
	}
	rng := rand.New(rand.NewPCG(seed, 0x626f6f74))
	all := make([]float64, draws)
	for d := range all {
		var t table
		for range cells {
			t[cells[rng.IntN(len(cells))]]++
		}
		n := t.numbers(c)
		all[d] = n.cascade - n.split
	}
	slices.Sort(all)
	t := tableOf(outcomes)
	n := t.numbers(c)
	return Difference{Value: n.cascade - n.split, Low: all[draws*25/1000], High: all[draws-1-draws*25/1000]}
}

// disagreement among the rows that went on.
func disagreement(outcomes []outcome) Share {
	on, other := 0, 0
	for i := range outcomes {
		if outcomes[i].escalated {
			on++
			other += count(!outcomes[i].Agree)
		}
	}
	if on == 0 {
		return Share{High: 1}
	}
	return wilson(float64(other)/float64(on), on)
}

// wilson is the interval of 95 % of a share of n.
func wilson(p float64, n int) Share {
	const z = 1.959963984540054
	f := float64(n)
	mid := (p + z*z/(2*f)) / (1 + z*z/f)
	half := z / (1 + z*z/f) * math.Sqrt(p*(1-p)/f+z*z/(4*f*f))
	return Share{Value: p, Low: max(0, mid-half), High: min(1, mid+half), Of: n}
}

// sentence says whether the cascade is worth it.
func (l *Learned) sentence(goal Goal) string {
	d := l.Difference
	points := fmt.Sprintf("by %.1f points (95 %%: %.1f to %.1f)", 100*math.Abs(d.Value), 100*d.Low, 100*d.High)
	var s string
	switch {
	case l.Strongest.Quality <= l.Cheapest.Quality:
		s = "The general model is not better than the specialist on these rows; ask the specialist alone."
	case l.Expected.Escalation.Value == 0:
		s = "At this goal nothing would go on to the general model; ask the specialist alone, or allow more."
	case d.Low > 0:
		s = fmt.Sprintf("The cascade is better than the best fixed mix at equal cost, %s.", points)
	case d.High < 0:
		s = fmt.Sprintf("The cascade is worse than the best fixed mix at equal cost, %s; use a split.", points)
	default:
		s = fmt.Sprintf("No significant difference between the cascade and the best fixed mix at equal cost: %+.1f points (95 %%: %.1f to %.1f); a split is simpler.", 100*d.Value, 100*d.Low, 100*d.High)
	}
	switch {
	case !l.Reached:
		s += fmt.Sprintf(" A quality of %s is not reached by any threshold; this one comes nearest.", Decimal(goal.Quality))
	case goal.Quality > 0 && l.Expected.Low < goal.Quality:
		s += fmt.Sprintf(" That a quality of %s holds on new rows is not sure: it is between %.3f and %.3f.", Decimal(goal.Quality), l.Expected.Low, l.Expected.High)
	}
	return s
}
