package eval

import (
	"cmp"
	"math"
	"slices"
)

// A statistic is a metric of a table whose row i counts weight[i] times. It is NaN where
// it cannot be told of these rows, for example an area under the curve with one class.
type statistic func(weight []int32) float64

// meanOf is the mean of v.
func meanOf(v []float64) statistic {
	return func(w []int32) float64 {
		sum, n := 0.0, 0.0
		for i, x := range v {
			sum += float64(w[i]) * x
			n += float64(w[i])
		}
		return sum / n
	}
}

// rootOf is the root of the mean of v.
func rootOf(v []float64) statistic {
	mean := meanOf(v)
	return func(w []int32) float64 { return math.Sqrt(mean(w)) }
}

// f1Of is the mean over classes of the F1 of each: of those that are expected or
// predicted in some row. A prediction of -1 is none of the classes.
func f1Of(expected, predicted []int, classes int) statistic {
	return func(w []int32) float64 {
		hit, want, got := make([]float64, classes), make([]float64, classes), make([]float64, classes)
		for i, e := range expected {
			n := float64(w[i])
			want[e] += n
			if p := predicted[i]; p >= 0 {
				got[p] += n
				if p == e {
					hit[e] += n
				}
			}
		}
		return macro(hit, want, got)
	}
}

// macro is the mean F1 of classes, from how often each was right, expected and predicted.
func macro(hit, want, got []float64) float64 {
	sum, n := 0.0, 0
	for c := range hit {
		if want[c]+got[c] > 0 {
			sum += 2 * hit[c] / (want[c] + got[c])
			n++
		}
	}
	return sum / float64(n)
}

// aucOf is the area under the curve. Of two classes it is that of the second one's
// probability, of more the mean over the classes of each against the rest. Ties count
// half. Classes that no row is of, or all are, count nothing.
func aucOf(expected []int, probability []float32, classes int) statistic {
	curves := make([]curve, 0, classes)
	for c := range classes {
		if classes == 2 && c == 0 {
			continue
		}
		curves = append(curves, newCurve(expected, probability, classes, c))
	}
	return func(w []int32) float64 {
		sum, n := 0.0, 0
		for i := range curves {
			if a := curves[i].area(w); !math.IsNaN(a) {
				sum += a
				n++
			}
		}
		if n == 0 {
			return math.NaN()
		}
		return sum / float64(n)
	}
}

// A curve has the rows in the order of one class's probability.
type curve struct {
	order []int32
	of    []bool // the row is of the class, in that order
	last  []bool // no later row has the same probability
}

func newCurve(expected []int, probability []float32, classes, class int) curve {
	n := len(expected)
	c := curve{order: make([]int32, n), of: make([]bool, n), last: make([]bool, n)}
	at := func(i int32) float32 { return probability[int(i)*classes+class] }
	for i := range c.order {
		c.order[i] = int32(i)
	}
	slices.SortFunc(c.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a, b))
	})
	for i, row := range c.order {
		c.of[i] = expected[row] == class
		c.last[i] = i == n-1 || at(c.order[i+1]) > at(row)
	}
	return c
}

// area is the probability that a row of the class ranks above one that is not.
func (c *curve) area(w []int32) float64 {
	below, won := 0.0, 0.0 // rows of other classes so far; pairs won
	in, out := 0.0, 0.0    // rows with the present probability
	positive := 0.0
	for i, row := range c.order {
		if n := float64(w[row]); c.of[i] {
			in += n
		} else {
			out += n
		}
		if c.last[i] {
			won += in * (below + out/2)
			positive += in
			below += out
			in, out = 0, 0
		}
	}
	if positive == 0 || below == 0 {
		return math.NaN()
	}
	return won / (positive * below)
}

// ones are the weights of a table as it is.
func ones(n int) []int32 {
	w := make([]int32, n)
	for i := range w {
		w[i] = 1
	}
	return w
}

// quantile of sorted values, as the smallest value that at least a share q is up to.
func quantile(sorted []float64, q float64) float64 {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
