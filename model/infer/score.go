package infer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// The outputs of a model that serves without code of its own (docs/formats/model.md).
const (
	OutputProbabilities = "probabilities" // [rows, classes], each row adds up to 1
	OutputLogits        = "logits"        // [rows, classes]
	OutputValues        = "values"        // [rows] or [rows, horizon]
)

// Row is what a classifier says of one row.
type Row struct {
	// Class that is likeliest, from 0.
	Class int
	// Probability of it, and Margin by which it is ahead of the next likeliest; both 0 to
	// 1.
	Probability float64
	Margin      float64
}

// sumSlack is how far the sum of a row's probabilities may be from 1: they are computed
// in 16 or 32 bits, or were rounded for JSON.
const sumSlack = 0.01

// Scores returns the output of a response that holds a classifier's scores: the one called
// probabilities or logits, else the only one of numbers with two dimensions; nil if there
// is none.
func (r *Response) Scores() *Tensor {
	for _, name := range []string{OutputProbabilities, OutputLogits} {
		if t := r.Output(name); t != nil {
			return t
		}
	}
	var found *Tensor
	for i := range r.Outputs {
		t := &r.Outputs[i]
		if len(t.Shape) != 2 || t.Datatype != FP32 && t.Datatype != FP64 && t.Datatype != FP16 {
			continue
		}
		if found != nil {
			return nil
		}
		found = t
	}
	return found
}

// Rows reads a tensor of scores, [rows, classes]: the likeliest class of each row and how
// sure it is. A tensor called logits goes through Softmax, one called probabilities must
// hold such, and of any other the content decides: if every row is of numbers from 0 to 1
// that add up to 1, they are probabilities. A single column is the score of class 1 beside
// class 0.
func Rows(t *Tensor) ([]Row, error) {
	p, classes, err := Probabilities(t)
	if err != nil {
		return nil, err
	}
	out := make([]Row, 0, len(p)/classes)
	for row := range slices.Chunk(p, classes) {
		out = append(out, Likeliest(row))
	}
	return out, nil
}

// Probabilities returns the probabilities in a tensor of scores, row by row, and how many
// classes there are; a single column becomes two. See Rows.
func Probabilities(t *Tensor) (p []float64, classes int, err error) {
	n, ok := Elements(t.Shape, math.MaxInt)
	if len(t.Shape) != 2 || !ok || t.Shape[1] == 0 {
		return nil, 0, wrong("output "+t.Name, "has shape %s; scores have [rows, classes]", FormatShape(t.Shape))
	}
	if t.Len() != n {
		return nil, 0, wrong("output "+t.Name, "holds %d elements, but its shape is %s", t.Len(), FormatShape(t.Shape))
	}
	if p, err = t.Float64s(); err != nil {
		return nil, 0, err
	}
	classes = int(t.Shape[1])
	for i, v := range p {
		if math.IsNaN(v) || math.IsInf(v, 1) {
			return nil, 0, wrong("output "+t.Name, "holds %v in row %d", v, i/classes)
		}
	}
	row, why := improbable(p, classes)
	if t.Name == OutputProbabilities && row >= 0 {
		return nil, 0, wrong("output "+t.Name, "is not of probabilities: row %d %s", row, why)
	}
	logits := t.Name == OutputLogits || row >= 0
	if classes == 1 {
		return pairs(p, logits), 2, nil
	}
	for row := range slices.Chunk(p, classes) {
		if logits {
			Softmax(row)
		}
	}
	return p, classes, nil
}

// improbable returns the first row that cannot be of probabilities, and why; -1 if none.
func improbable(p []float64, classes int) (row int, why string) {
	row = 0
	for r := range slices.Chunk(p, classes) {
		sum := 0.0
		for _, v := range r {
			if v < 0 || v > 1+sumSlack {
				return row, fmt.Sprintf("holds %v", v)
			}
			sum += v
		}
		if classes > 1 && math.Abs(sum-1) > sumSlack {
			return row, fmt.Sprintf("adds up to %.4g, not to 1", sum)
		}
		row++
	}
	return -1, ""
}

// pairs makes the probabilities of class 0 and 1 of the score of class 1.
func pairs(scores []float64, logits bool) []float64 {
	out := make([]float64, 0, 2*len(scores))
	for _, v := range scores {
		pair := []float64{1 - v, v}
		if logits {
			pair = []float64{0, v}
			Softmax(pair)
		}
		out = append(out, pair...)
	}
	return out
}

// Softmax turns logits into probabilities, in place.
func Softmax(row []float64) {
	if len(row) == 0 {
		return
	}
	most, sum := slices.Max(row), 0.0
	if math.IsInf(most, -1) { // all of them are: nothing is likelier
		most, sum = 0, float64(len(row))
		for i := range row {
			row[i] = 1
		}
	} else {
		for i, v := range row {
			row[i] = math.Exp(v - most)
			sum += row[i]
		}
	}
	for i := range row {
		row[i] /= sum
	}
}

// Likeliest reads one row of probabilities. Of equals the first is the likeliest.
func Likeliest(p []float64) Row {
	out := Row{Class: -1}
	next := 0.0
	for i, v := range p {
		v = min(max(v, 0), 1)
		switch {
		case i == 0 || v > out.Probability:
			next, out.Probability, out.Class = out.Probability, v, i
		default:
			next = max(next, v)
		}
	}
	out.Margin = out.Probability - next
	return out
}

// Margin by which the likeliest of probabilities is ahead of the next; 0 to 1.
func Margin(p []float64) float64 { return Likeliest(p).Margin }

// Least returns the row whose margin is the least: a request is as sure as that.
func Least(rows []Row) (Row, bool) {
	if len(rows) == 0 {
		return Row{}, false
	}
	return slices.MinFunc(rows, func(a, b Row) int { return cmp.Compare(a.Margin, b.Margin) }), true
}
