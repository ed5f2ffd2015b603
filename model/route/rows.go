package route

import (
	"fmt"
	"slices"

	"polder.dev/polder/model/infer"
)

// RowsOf is how many rows a request has: the first dimension of all its inputs. False when
// they do not agree, so that it cannot be taken apart; it is then one row.
func RowsOf(r *infer.Request) (int, bool) {
	rows := int64(-1)
	for i := range r.Inputs {
		s := r.Inputs[i].Shape
		if len(s) == 0 || s[0] < 1 || rows >= 0 && s[0] != rows {
			return 1, false
		}
		rows = s[0]
	}
	if rows < 0 {
		return 1, false
	}
	return int(rows), true
}

// Part is a request for some rows of r, which RowsOf has counted.
func Part(r *infer.Request, rows []int) (*infer.Request, error) {
	out := *r
	out.Inputs = make([]infer.Tensor, len(r.Inputs))
	for i := range r.Inputs {
		t := r.Inputs[i]
		of := int(t.Shape[0])
		var err error
		if t.Data, err = take(t.Data, of, rows); err != nil {
			return nil, fmt.Errorf("inputs[%d]: %w", i, err)
		}
		t.Shape = append([]int64{int64(len(rows))}, t.Shape[1:]...)
		t.Parameters = nil // sizes of what it was
		out.Inputs[i] = t
	}
	return &out, nil
}

// Merge puts the general model's answers about some rows into the specialist's about all.
// It is an error when they have not the same form; then nothing can be merged.
func Merge(all, some *infer.Response, rows []int, of int) (*infer.Response, error) {
	out := *all
	out.Outputs = slices.Clone(all.Outputs)
	if len(some.Outputs) != len(all.Outputs) {
		return nil, fmt.Errorf("the specialist has %d outputs, the general model %d", len(all.Outputs), len(some.Outputs))
	}
	for i := range out.Outputs {
		t := &out.Outputs[i]
		o := some.Output(t.Name)
		switch {
		case o == nil:
			return nil, fmt.Errorf("the general model has no output %s", t.Name)
		case o.Datatype != t.Datatype:
			return nil, fmt.Errorf("output %s is %s of the specialist, %s of the general model", t.Name, t.Datatype, o.Datatype)
		case len(t.Shape) == 0 || len(o.Shape) == 0 || t.Shape[0] != int64(of) || o.Shape[0] != int64(len(rows)) || !slices.Equal(t.Shape[1:], o.Shape[1:]):
			return nil, fmt.Errorf("output %s has shape %s of the specialist, %s of the general model", t.Name, infer.FormatShape(t.Shape), infer.FormatShape(o.Shape))
		}
		var err error
		if t.Data, err = put(t.Data, o.Data, of, rows); err != nil {
			return nil, fmt.Errorf("output %s: %w", t.Name, err)
		}
	}
	return &out, nil
}

// take picks rows of the data of a tensor with so many.
func take(data any, of int, rows []int) (any, error) {
	switch d := data.(type) {
	case []bool:
		return pickRows(d, of, rows), nil
	case []uint8:
		return pickRows(d, of, rows), nil
	case []uint16:
		return pickRows(d, of, rows), nil
	case []uint32:
		return pickRows(d, of, rows), nil
	case []uint64:
		return pickRows(d, of, rows), nil
	case []int8:
		return pickRows(d, of, rows), nil
	case []int16:
		return pickRows(d, of, rows), nil
	case []int32:
		return pickRows(d, of, rows), nil
	case []int64:
		return pickRows(d, of, rows), nil
	case []infer.Half:
		return pickRows(d, of, rows), nil
	case []float32:
		return pickRows(d, of, rows), nil
	case []float64:
		return pickRows(d, of, rows), nil
	case [][]byte:
		return pickRows(d, of, rows), nil
	}
	return nil, fmt.Errorf("data of type %T has no rows", data)
}

func pickRows[T any](data []T, of int, rows []int) []T {
	size := len(data) / of
	out := make([]T, 0, size*len(rows))
	for _, r := range rows {
		out = append(out, data[r*size:(r+1)*size]...)
	}
	return out
}

// put returns a copy of all with some in the places of rows.
func put(all, some any, of int, rows []int) (any, error) {
	switch d := all.(type) {
	case []bool:
		return putRows(d, some, of, rows)
	case []uint8:
		return putRows(d, some, of, rows)
	case []uint16:
		return putRows(d, some, of, rows)
	case []uint32:
		return putRows(d, some, of, rows)
	case []uint64:
		return putRows(d, some, of, rows)
	case []int8:
		return putRows(d, some, of, rows)
	case []int16:
		return putRows(d, some, of, rows)
	case []int32:
		return putRows(d, some, of, rows)
	case []int64:
		return putRows(d, some, of, rows)
	case []infer.Half:
		return putRows(d, some, of, rows)
	case []float32:
		return putRows(d, some, of, rows)
	case []float64:
		return putRows(d, some, of, rows)
	case [][]byte:
		return putRows(d, some, of, rows)
	}
	return nil, fmt.Errorf("data of type %T has no rows", all)
}

func putRows[T any](all []T, some any, of int, rows []int) ([]T, error) {
	d, ok := some.([]T)
	size := len(all) / of
	if !ok || len(d) != size*len(rows) {
		return nil, fmt.Errorf("the answers have not the same form")
	}
	out := slices.Clone(all)
	for i, r := range rows {
		copy(out[r*size:(r+1)*size], d[i*size:(i+1)*size])
	}
	return out, nil
}

// Scoring is the request to ask the specialist with: one that asks for some outputs, and
// not for the one that tells how sure it is, becomes one for all. changed says so.
func (c *Cascade) Scoring(r *infer.Request) (out *infer.Request, changed bool) {
	if len(r.Outputs) == 0 || slices.ContainsFunc(r.Outputs, func(o infer.Output) bool {
		return o.Name == c.Output || c.Output == "" && (o.Name == infer.OutputProbabilities || o.Name == infer.OutputLogits)
	}) {
		return r, false
	}
	all := *r
	all.Outputs = nil
	return &all, true
}

// AskedFor is an answer with what r asked for alone, and in its form.
func AskedFor(answer *infer.Response, r *infer.Request) *infer.Response {
	out := *answer
	out.Outputs = nil
	for _, o := range r.Outputs {
		if t := answer.Output(o.Name); t != nil {
			one := *t
			one.Binary = r.Binary(o.Name)
			out.Outputs = append(out.Outputs, one)
		}
	}
	return &out
}
