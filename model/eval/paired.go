package eval

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// McNemar is the two-sided mid-p of two models that were right on the same rows but for
// gained, which only the first had right, and lost, which only the second had. The exact p
// is too careful, and with few such rows contradicts the interval of the difference
// (Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013).
func McNemar(gained, lost int64) float64 {
	n, k := int(gained+lost), int(min(gained, lost))
	if n == 0 {
		return 1
	}
	sum, point := 0.0, 0.0
	for i := 0; i <= k; i++ {
		point = math.Exp(logChoose(n, i) - float64(n)*math.Ln2)
		sum += point
	}
	if gained == lost {
		return 1 - point/2
	}
	return 2*sum - point
}

// Holm adjusts p for their number, in the order in which they were given.
func Holm(p []float64) []float64 {
	by := make([]int, len(p))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	out := make([]float64, len(p))
	most := 0.0
	for rank, i := range by {
		most = max(most, min(p[i]*float64(len(p)-rank), 1))
		out[i] = most
	}
	return out
}

// A swapped difference is that of two models' metrics if they had changed answers in the
// rows where swap is true.
type swapped func(swap []bool) float64

// permutation is the two-sided p of a difference, by changing answers at random.
func permutation(r *rand.Rand, n, steps int, d swapped) float64 {
	swap := make([]bool, n)
	observed := math.Abs(d(swap))
	count, beyond := rounds(steps, 999, 9999), 0
	bound := observed * (1 - 1e-12) // sums in another order differ in the last bits
	for range count {
		var bits uint64
		for i := range swap {
			if i%64 == 0 {
				bits = r.Uint64()
			}
			swap[i] = bits&1 == 1
			bits >>= 1
		}
		if math.Abs(d(swap)) >= bound {
			beyond++
		}
	}
	return float64(1+beyond) / float64(1+count)
}

// meansSwapped is the difference of two means.
func meansSwapped(a, b []float64) swapped {
	return func(swap []bool) float64 {
		sum := 0.0
		for i := range a {
			if d := a[i] - b[i]; swap[i] {
				sum -= d
			} else {
				sum += d
			}
		}
		return sum / float64(len(a))
	}
}

// rootsSwapped is the difference of the roots of two means.
func rootsSwapped(a, b []float64) swapped {
	return func(swap []bool) float64 {
		x, y := 0.0, 0.0
		for i := range a {
			if swap[i] {
				x, y = x+b[i], y+a[i]
			} else {
				x, y = x+a[i], y+b[i]
			}
		}
		n := float64(len(a))
		return math.Sqrt(x/n) - math.Sqrt(y/n)
	}
}

// f1Swapped is the difference of two F1.
func f1Swapped(expected, a, b []int, classes int) swapped {
	var hit, got [2][]float64
	for m := range hit {
		hit[m], got[m] = make([]float64, classes), make([]float64, classes)
	}
	want := make([]float64, classes)
	for _, e := range expected {
		want[e]++
	}
	return func(swap []bool) float64 {
		for m := range hit {
			clear(hit[m])
			clear(got[m])
		}
		for i, e := range expected {
			x, y := a[i], b[i]
			if swap[i] {
				x, y = y, x
			}
			for m, p := range [2]int{x, y} {
				if p >= 0 {
					got[m][p]++
					if p == e {
						hit[m][e]++
					}
				}
			}
		}
		return macro(hit[0], want, got[0]) - macro(hit[1], want, got[1])
	}
}

// aucSwapped is the difference of two areas under the curve: the rows of both are put in
// one order once, and each of the two walks over those that are its own.
func aucSwapped(expected []int, a, b []float32, classes int) swapped {
	n := len(expected)
	twice, all := slices.Concat(expected, expected), slices.Concat(a, b)
	area := aucOf(twice, all, classes)
	x, y := make([]int32, 2*n), make([]int32, 2*n)
	return func(swap []bool) float64 {
		for i, s := range swap {
			first, second := int32(1), int32(0)
			if s {
				first, second = 0, 1
			}
			x[i], x[n+i] = first, second
			y[i], y[n+i] = second, first
		}
		return area(x) - area(y)
	}
}
