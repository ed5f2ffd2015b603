package session

import (
	"bytes"
	"math"
	"slices"

	"polder.dev/polder/model/infer"
)

// sample are inputs of n rows, of which the first is row from of an endless table that is
// always the same: numbers from 0 to 1, and the integers 0 and 1, which every vocabulary
// has.
func (s *Session) sample(from, n int) []infer.Tensor {
	out := s.Zeros(n)
	for i := range out {
		t := &out[i]
		if t.Len() == 0 {
			continue
		}
		first := from * t.Len() / n
		switch d := t.Data.(type) {
		case []float32:
			fill(d, func(k int) float32 { return float32(fraction(first + k)) })
		case []float64:
			fill(d, func(k int) float64 { return fraction(first + k) })
		case []int64:
			fill(d, func(k int) int64 { return int64(math.Round(fraction(first + k))) })
		case []int32:
			fill(d, func(k int) int32 { return int32(math.Round(fraction(first + k))) })
		}
	}
	return out
}

func fill[T any](d []T, at func(int) T) {
	for k := range d {
		d[k] = at(k)
	}
}

// fraction is a number from 0 to 1 that has nothing to do with its neighbours.
func fraction(k int) float64 {
	_, f := math.Modf(float64(k+1) * math.Phi)
	return f
}

// alike reports whether two answers are the same, but for what rounding does.
func alike(a, b []infer.Tensor) bool {
	return slices.EqualFunc(a, b, func(a, b infer.Tensor) bool {
		if texts, ok := a.Data.([][]byte); ok {
			return slices.EqualFunc(texts, b.Data.([][]byte), bytes.Equal)
		}
		x, errA := a.Float64s()
		y, errB := b.Float64s()
		return errA == nil && errB == nil && slices.EqualFunc(x, y, func(x, y float64) bool {
			return x == y || math.Abs(x-y) <= 1e-5+1e-3*math.Abs(x) || math.IsNaN(x) && math.IsNaN(y)
		})
	})
}
