package session

import (
	"errors"
	"fmt"
	"slices"

	"polder.dev/polder/model/infer"
)

func zeros(m infer.TensorMetadata, shape []int64) infer.Tensor {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	t := infer.Tensor{Name: m.Name, Datatype: m.Datatype, Shape: shape}
	switch m.Datatype {
	case infer.Bool:
		t.Data = make([]bool, n)
	case infer.Uint8:
		t.Data = make([]uint8, n)
	case infer.Uint16:
		t.Data = make([]uint16, n)
	case infer.Uint32:
		t.Data = make([]uint32, n)
	case infer.Uint64:
		t.Data = make([]uint64, n)
	case infer.Int8:
		t.Data = make([]int8, n)
	case infer.Int16:
		t.Data = make([]int16, n)
	case infer.Int32:
		t.Data = make([]int32, n)
	case infer.Int64:
		t.Data = make([]int64, n)
	case infer.FP64:
		t.Data = make([]float64, n)
	case infer.Bytes:
		t.Data = make([][]byte, n)
	default:
		t.Data = make([]float32, n)
	}
	return t
}

// Fellow reports whether a and b may be joined: all their dimensions but the first agree.
func Fellow(a, b []infer.Tensor) bool {
	return slices.EqualFunc(a, b, func(a, b infer.Tensor) bool { return slices.Equal(a.Shape[1:], b.Shape[1:]) })
}

// Join puts the rows of several inputs, all fellows, one after the other.
func Join(parts [][]infer.Tensor) []infer.Tensor {
	if len(parts) == 1 {
		return parts[0]
	}
	out := slices.Clone(parts[0])
	for i := range out {
		t := &out[i]
		rows := int64(0)
		for _, p := range parts {
			rows += p[i].Shape[0]
		}
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = rows
		t.Data = joined(parts, i)
	}
	return out
}

func joined(parts [][]infer.Tensor, i int) any {
	switch parts[0][i].Data.(type) {
	case []float32:
		return concat[float32](parts, i)
	case []float64:
		return concat[float64](parts, i)
	case []int64:
		return concat[int64](parts, i)
	case []int32:
		return concat[int32](parts, i)
	case []int16:
		return concat[int16](parts, i)
	case []int8:
		return concat[int8](parts, i)
	case []uint64:
		return concat[uint64](parts, i)
	case []uint32:
		return concat[uint32](parts, i)
	case []uint16:
		return concat[uint16](parts, i)
	case []uint8:
		return concat[uint8](parts, i)
	case []bool:
		return concat[bool](parts, i)
	}
	return concat[[]byte](parts, i)
}

func concat[T any](parts [][]infer.Tensor, i int) []T {
	n := 0
	for _, p := range parts {
		n += len(p[i].Data.([]T))
	}
	out := make([]T, 0, n)
	for _, p := range parts {
		out = append(out, p[i].Data.([]T)...)
	}
	return out
}

// Slice returns the rows from up to but without to, over the same memory.
func Slice(tensors []infer.Tensor, from, to int) []infer.Tensor {
	out := slices.Clone(tensors)
	for i := range out {
		t := &out[i]
		if int64(to-from) == t.Shape[0] {
			continue
		}
		width := t.Len() / int(t.Shape[0])
		t.Data = part(t.Data, from*width, to*width)
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = int64(to - from)
	}
	return out
}

func part(data any, from, to int) any {
	switch d := data.(type) {
	case []float32:
		return d[from:to:to]
	case []float64:
		return d[from:to:to]
	case []int64:
		return d[from:to:to]
	case []int32:
		return d[from:to:to]
	case []int16:
		return d[from:to:to]
	case []int8:
		return d[from:to:to]
	case []uint64:
		return d[from:to:to]
	case []uint32:
		return d[from:to:to]
	case []uint16:
		return d[from:to:to]
	case []uint8:
		return d[from:to:to]
	case []bool:
		return d[from:to:to]
	}
	return data.([][]byte)[from:to:to]
}

// Width is how many numbers a row has, of a model that has one input of FP32 and open or
// one-row first dimension, as models do that need no code of their own.
func (s *Session) Width() (int, error) {
	if len(s.inputs) != 1 || s.inputs[0].Datatype != infer.FP32 || len(s.inputs[0].Shape) < 2 || !known(s.inputs[0].Shape[1:]) {
		return 0, fmt.Errorf("this model takes %s; a model that is given rows has one input of FP32, [rows, features]", s.takes())
	}
	n, _ := infer.Elements(s.inputs[0].Shape[1:], 1<<31-1)
	return n, nil
}

// Rows computes rows of Width numbers each, one after the other in rows, at most batch at
// a time. It returns the outputs of all.
func (s *Session) Rows(rows []float32, batch int) ([]infer.Tensor, error) {
	width, err := s.Width()
	if err != nil {
		return nil, err
	}
	if width == 0 || len(rows) == 0 || len(rows)%width != 0 {
		return nil, fmt.Errorf("%d numbers are no rows of %d", len(rows), width)
	}
	step := max(batch, 1)
	if !s.joins {
		step = int(max(s.inputs[0].Shape[0], 1))
	}
	n := len(rows) / width
	var parts [][]infer.Tensor
	for from := 0; from < n; from += step {
		to := min(from+step, n)
		if !s.joins && to-from < step {
			return nil, fmt.Errorf("the model takes %d rows at a time, of which %d are no multiple; export it with an open first dimension", step, n)
		}
		in := infer.New(s.inputs[0].Name, rows[from*width:to*width:to*width], append([]int64{int64(to - from)}, s.inputs[0].Shape[1:]...)...)
		out, err := s.Run([]infer.Tensor{in})
		if err != nil {
			return nil, err
		}
		for _, t := range out {
			if len(t.Shape) == 0 || t.Shape[0] != int64(to-from) {
				return nil, fmt.Errorf("output %s has shape %s for %d rows; its first dimension must be rows", t.Name, infer.FormatShape(t.Shape), to-from)
			}
		}
		parts = append(parts, out)
	}
	for _, p := range parts {
		if !Fellow(parts[0], p) {
			return nil, errors.New("the model's outputs differ in shape from row to row")
		}
	}
	return Join(parts), nil
}
