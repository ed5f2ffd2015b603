package session

import (
	"fmt"
	"math"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"polder.dev/polder/model/infer"
)

// Match puts the inputs of a request into the order and datatypes of the model's, and
// says in a sentence what does not fit. Numbers are converted to float32 and float64
// where the model takes these; other datatypes must be the model's. Rows is the first
// dimension, 1 where there is none.
func (s *Session) Match(given []infer.Tensor) (inputs []infer.Tensor, rows int, err error) {
	inputs = make([]infer.Tensor, len(s.inputs))
	for i := range given {
		t := &given[i]
		at := slices.IndexFunc(s.inputs, func(m infer.TensorMetadata) bool { return m.Name == t.Name })
		if at < 0 {
			return nil, 0, &infer.Error{Field: fmt.Sprintf("inputs[%d].name", i), Reason: fmt.Sprintf("is %q; this model takes %s", t.Name, s.takes())}
		}
		if inputs[at].Name != "" {
			return nil, 0, &infer.Error{Field: fmt.Sprintf("inputs[%d].name", i), Reason: fmt.Sprintf("is %q, which is given twice", t.Name)}
		}
		if err := s.inputs[at].Fits(t); err != nil {
			return nil, 0, err
		}
		if inputs[at], err = converted(t, s.inputs[at].Datatype); err != nil {
			return nil, 0, err
		}
	}
	rows = 1
	for i, t := range inputs {
		if t.Name == "" {
			return nil, 0, &infer.Error{Field: "inputs", Reason: fmt.Sprintf("lacks %q; this model takes %s", s.inputs[i].Name, s.takes())}
		}
		if !s.joins {
			continue
		}
		if n := int(t.Shape[0]); i == 0 {
			rows = n
		} else if n != rows {
			return nil, 0, &infer.Error{Field: "input " + t.Name, Reason: fmt.Sprintf("has %d rows, but %s has %d; all have as many", n, inputs[0].Name, rows)}
		}
	}
	return inputs, rows, nil
}

// takes lists the inputs, for people.
func (s *Session) takes() string {
	out := ""
	for i, m := range s.inputs {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%q of datatype %s and shape %s", m.Name, m.Datatype, infer.FormatShape(m.Shape))
	}
	return out
}

func converted(t *infer.Tensor, to infer.Datatype) (infer.Tensor, error) {
	out := infer.Tensor{Name: t.Name, Datatype: to, Shape: t.Shape, Data: t.Data}
	if t.Datatype == to {
		return out, nil
	}
	var err error
	switch to {
	case infer.FP32:
		out.Data, err = t.AppendFloat32(nil)
	case infer.FP64:
		out.Data, err = t.Float64s()
	default:
		return out, &infer.Error{Field: "input " + t.Name, Reason: fmt.Sprintf("has datatype %s; expected %s", t.Datatype, to)}
	}
	return out, err
}

// Run computes the outputs of inputs, which Match, Zeros or Join made. The tensors that
// it returns are the caller's.
func (s *Session) Run(inputs []infer.Tensor) ([]infer.Tensor, error) {
	// Inputs first, then outputs; those that the library is to make are nil.
	values := make([]ort.Value, len(inputs)+len(s.outputs))
	in, out := values[:len(inputs)], values[len(inputs):]
	defer destroy(values)
	for i := range inputs {
		v, err := value(&inputs[i])
		if err != nil { // v may hold a nil pointer, which is not to be destroyed
			return nil, fmt.Errorf("giving input %s to the model: %w", inputs[i].Name, err)
		}
		in[i] = v
	}
	answers := make([]infer.Tensor, len(s.outputs))
	// Where it is known what comes, the library writes it where it is to be.
	for i, shape := range s.shapes {
		whole := slices.Clone(shape)
		whole[0] = inputs[0].Shape[0]
		answers[i] = zeros(s.outputs[i], whole)
		if answers[i].Datatype == infer.Bytes || answers[i].Len() == 0 {
			answers[i].Data = nil
			continue
		}
		v, err := value(&answers[i])
		if err != nil {
			return nil, fmt.Errorf("making room for output %s: %w", answers[i].Name, err)
		}
		out[i] = v
	}
	if err := s.model.Run(in, out); err != nil {
		return nil, fmt.Errorf("running the model: %w", err)
	}
	for i, v := range out {
		if answers[i].Data != nil { // it was written where it is
			continue
		}
		var err error
		if answers[i], err = answer(s.outputs[i], v); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func destroy(values []ort.Value) {
	for _, v := range values {
		if v != nil {
			_ = v.Destroy() // it always returns nil
		}
	}
}

// value makes the library's tensor of t, over the same memory.
func value(t *infer.Tensor) (ort.Value, error) {
	shape := ort.Shape(t.Shape)
	if len(shape) == 0 {
		return scalar(t)
	}
	switch d := t.Data.(type) {
	case []float32:
		return ort.NewTensor(shape, d)
	case []float64:
		return ort.NewTensor(shape, d)
	case []int64:
		return ort.NewTensor(shape, d)
	case []int32:
		return ort.NewTensor(shape, d)
	case []int16:
		return ort.NewTensor(shape, d)
	case []int8:
		return ort.NewTensor(shape, d)
	case []uint64:
		return ort.NewTensor(shape, d)
	case []uint32:
		return ort.NewTensor(shape, d)
	case []uint16:
		return ort.NewTensor(shape, d)
	case []uint8:
		return ort.NewTensor(shape, d)
	case []bool:
		return ort.NewTensor(shape, d)
	case [][]byte:
		v, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		text := make([]string, len(d))
		for i, s := range d {
			text[i] = string(s)
		}
		if err := v.SetContents(text); err != nil {
			_ = v.Destroy() // it always returns nil
			return nil, err
		}
		return v, nil
	}
	return nil, fmt.Errorf("datatype %s is not served", t.Datatype)
}

// scalar is a tensor without dimensions.
func scalar(t *infer.Tensor) (ort.Value, error) {
	switch d := t.Data.(type) {
	case []float32:
		return ort.NewScalar(d[0])
	case []float64:
		return ort.NewScalar(d[0])
	case []int64:
		return ort.NewScalar(d[0])
	case []int32:
		return ort.NewScalar(d[0])
	case []bool:
		return ort.NewScalar(d[0])
	}
	return nil, fmt.Errorf("datatype %s is not served without dimensions", t.Datatype)
}

// answer takes the data out of a tensor that the library made.
func answer(m infer.TensorMetadata, v ort.Value) (infer.Tensor, error) {
	t := infer.Tensor{Name: m.Name, Datatype: m.Datatype, Shape: v.GetShape()}
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		t.Data = v.GetData()
	case *ort.Tensor[float64]:
		t.Data = v.GetData()
	case *ort.Tensor[int64]:
		t.Data = v.GetData()
	case *ort.Tensor[int32]:
		t.Data = v.GetData()
	case *ort.Tensor[int16]:
		t.Data = v.GetData()
	case *ort.Tensor[int8]:
		t.Data = v.GetData()
	case *ort.Tensor[uint64]:
		t.Data = v.GetData()
	case *ort.Tensor[uint32]:
		t.Data = v.GetData()
	case *ort.Tensor[uint16]:
		t.Data = v.GetData()
	case *ort.Tensor[uint8]:
		t.Data = v.GetData()
	case *ort.Tensor[bool]:
		t.Data = v.GetData()
	case *ort.StringTensor:
		text, err := v.GetContents()
		if err != nil {
			return t, fmt.Errorf("reading output %s: %w", m.Name, err)
		}
		data := make([][]byte, len(text))
		for i, s := range text {
			data[i] = []byte(s)
		}
		t.Data = data
	default:
		return t, fmt.Errorf("output %s is not of the datatype %s that the model declares", m.Name, m.Datatype)
	}
	return t, nil
}

// NaN returns the first row of a tensor of floating-point numbers that holds one that is
// no number, or -1. Tensors of other datatypes hold none.
func NaN(t *infer.Tensor) int {
	at := -1
	switch d := t.Data.(type) {
	case []float32:
		at = slices.IndexFunc(d, func(v float32) bool { return v != v })
	case []float64:
		at = slices.IndexFunc(d, math.IsNaN)
	}
	if at < 0 || len(t.Shape) == 0 || t.Shape[0] == 0 {
		return at
	}
	return at / (t.Len() / int(t.Shape[0]))
}
