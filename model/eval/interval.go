package eval

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
)

// z of a two-sided interval of 95 %.
const z95 = 1.959963984540054

// Wilson is the score interval of 95 % of a proportion.
func Wilson(hits, n int64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	p, m := float64(hits)/float64(n), float64(n)
	centre := (p + z95*z95/(2*m)) / (1 + z95*z95/m)
	half := z95 / (1 + z95*z95/m) * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	low, high = max(centre-half, 0), min(centre+half, 1)
	if hits == 0 {
		low = 0
	}
	if hits == n {
		high = 1
	}
	return low, high
}

// paired is the score interval of 95 % (Tango's) of the difference of two proportions that
// were observed on the same n rows: gained have only the first, lost only the second.
func paired(gained, lost, n int64) (low, high float64) {
	b, c, m := float64(gained), float64(lost), float64(n)
	score := func(d float64) float64 {
		p, q := 2*m, -b-c+(2*m-b+c)*d
		r := -c * d * (1 - d)
		other := (math.Sqrt(max(q*q-4*p*r, 0)) - q) / (2 * p)
		v := m * (2*other + d*(1-d))
		if v <= 0 {
			return 0
		}
		return (b - c - m*d) / math.Sqrt(v)
	}
	observed := (b - c) / m
	// The score falls from +z95 to -z95 as d goes from low to high.
	solve := func(from, to, want float64) float64 {
		for range 100 {
			mid := (from + to) / 2
			if score(mid) > want {
				from = mid
			} else {
				to = mid
			}
		}
		return (from + to) / 2
	}
	low, high = -1, 1
	if observed > -1 {
		low = solve(-1, observed, z95)
	}
	if observed < 1 {
		high = solve(observed, 1, -z95)
	}
	return low, high
}

// Rounds of what is drawn: as many as the most, or what the work allows for so many steps
// each, but not under the least.
func rounds(steps, least, most int) int {
	const work = 400_000_000
	return min(max(work/max(steps, 1), least), most)
}

// chance is the source of one thing that is drawn: the seed and what it is for, so that
// another model or slice draws the same whatever was judged before it.
func chance(seed int64, what ...string) *rand.Rand {
	h := fnv.New64a()
	for _, w := range what {
		h.Write([]byte(w))
		h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// bootstrap is the percentile interval of 95 % of a statistic of n rows that are drawn
// again. ok is false where too few of the draws had one.
func bootstrap(r *rand.Rand, n, steps int, s statistic) (low, high float64, ok bool) {
	if n < 2 {
		return 0, 0, false
	}
	count := rounds(steps, 200, 2000)
	got := make([]float64, 0, count)
	w := make([]int32, n)
	for range count {
		clear(w)
		for range n {
			w[r.IntN(n)]++
		}
		if v := s(w); !math.IsNaN(v) {
			got = append(got, v)
		}
	}
	if len(got) < count*9/10 {
		return 0, 0, false
	}
	slices.Sort(got)
	return quantile(got, 0.025), quantile(got, 0.975), true
}

// order is the interval of 95 % of a quantile, from the binomial distribution of how many
// of the sorted values are below it. ok is false where so few values have none.
func order(sorted []float64, q float64) (low, high float64, ok bool) {
	n := len(sorted)
	sum, from, to := 0.0, -1, -1
	for k := 0; k <= n; k++ {
		sum += math.Exp(logChoose(n, k) + float64(k)*math.Log(q) + float64(n-k)*math.Log1p(-q))
		if sum <= 0.025 {
			from = k
		}
		if to < 0 && sum >= 0.975 {
			to = k
		}
	}
	// Values number k+1 to l+1 hold the quantile when more than k and at most l are below it.
	if from < 0 || to < 0 || to >= n {
		return 0, 0, false
	}
	return sorted[from], sorted[to], true
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
