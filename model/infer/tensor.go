package infer

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Datatype of a tensor's elements, as the protocol calls it.
type Datatype string

// The datatypes. FP16 has no form in JSON and comes as binary data only.
const (
	Bool   Datatype = "BOOL"
	Uint8  Datatype = "UINT8"
	Uint16 Datatype = "UINT16"
	Uint32 Datatype = "UINT32"
	Uint64 Datatype = "UINT64"
	Int8   Datatype = "INT8"
	Int16  Datatype = "INT16"
	Int32  Datatype = "INT32"
	Int64  Datatype = "INT64"
	FP16   Datatype = "FP16"
	FP32   Datatype = "FP32"
	FP64   Datatype = "FP64"
	Bytes  Datatype = "BYTES"
)

var datatypes = []Datatype{Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, FP16, FP32, FP64, Bytes}

// Tensor is an input or an output.
type Tensor struct {
	Name     string
	Datatype Datatype
	// Shape, outermost dimension first. For models that take rows the first is rows.
	Shape      []int64
	Parameters Parameters
	// Data in row-major order: a []bool, []uint8 ... []int64, []Half, []float32,
	// []float64 or [][]byte, by Datatype.
	Data any
	// Binary says that the data came, or is to be sent, in binary form.
	Binary bool
}

// Half is a floating-point number of 16 bits, IEEE 754 binary16.
type Half uint16

// Float32 is the same number.
func (h Half) Float32() float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero, or a number without the leading 1
		f := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// New makes a tensor of FP32, the form in which models take rows.
func New(name string, data []float32, shape ...int64) Tensor {
	return Tensor{Name: name, Datatype: FP32, Shape: shape, Data: data}
}

// Elements that a tensor of this shape has; ok is false where a dimension is negative or
// the product is more than elementsMax.
func Elements(shape []int64, elementsMax int) (n int, ok bool) {
	n = 1
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
	}
	if slices.Contains(shape, 0) {
		return 0, true
	}
	for _, d := range shape {
		if d > int64(elementsMax/n) {
			return 0, false
		}
		n *= int(d)
	}
	return n, true
}

// Len is the number of elements that Data holds.
func (t *Tensor) Len() int {
	if datatypeOf(t.Data) == "" {
		return 0
	}
	return reflect.ValueOf(t.Data).Len()
}

func datatypeOf(data any) Datatype {
	switch data.(type) {
	case []bool:
		return Bool
	case []uint8:
		return Uint8
	case []uint16:
		return Uint16
	case []uint32:
		return Uint32
	case []uint64:
		return Uint64
	case []int8:
		return Int8
	case []int16:
		return Int16
	case []int32:
		return Int32
	case []int64:
		return Int64
	case []Half:
		return FP16
	case []float32:
		return FP32
	case []float64:
		return FP64
	case [][]byte:
		return Bytes
	}
	return ""
}

type number interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int8 | ~int16 | ~int32 | ~int64 | ~float32 | ~float64
}

func convert[To, From number](dst []To, from []From) []To {
	dst = slices.Grow(dst, len(from))
	for _, v := range from {
		dst = append(dst, To(v))
	}
	return dst
}

func floats[To float32 | float64](dst []To, t *Tensor) ([]To, error) {
	switch d := t.Data.(type) {
	case []float32:
		return convert(dst, d), nil
	case []float64:
		return convert(dst, d), nil
	case []uint8:
		return convert(dst, d), nil
	case []uint16:
		return convert(dst, d), nil
	case []uint32:
		return convert(dst, d), nil
	case []uint64:
		return convert(dst, d), nil
	case []int8:
		return convert(dst, d), nil
	case []int16:
		return convert(dst, d), nil
	case []int32:
		return convert(dst, d), nil
	case []int64:
		return convert(dst, d), nil
	case []Half:
		for _, h := range d {
			dst = append(dst, To(h.Float32()))
		}
		return dst, nil
	case []bool:
		for _, b := range d {
			v := To(0)
			if b {
				v = 1
			}
			dst = append(dst, v)
		}
		return dst, nil
	}
	return nil, wrong(t.Name, "is of datatype %s, which holds no numbers", t.Datatype)
}

// AppendFloat32 appends the elements as float32 to dst. Numbers of other datatypes are
// rounded; BYTES are refused.
func (t *Tensor) AppendFloat32(dst []float32) ([]float32, error) {
	if d, ok := t.Data.([]float32); ok {
		return append(dst, d...), nil
	}
	return floats(dst, t)
}

// Float64s returns the elements as float64; BYTES are refused.
func (t *Tensor) Float64s() ([]float64, error) {
	return floats([]float64(nil), t)
}

// FormatShape writes a shape as people read it, such as [-1 64]; -1 is any number.
func FormatShape(shape []int64) string {
	return "[" + strings.Trim(fmt.Sprint(shape), "[]") + "]"
}
