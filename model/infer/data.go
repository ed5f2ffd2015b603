package infer

import (
	"encoding/binary"
	"math"
	"strconv"
)

// data takes the elements of t from JSON: flat, or nested as its shape says.
func (d *decoder) data(at spot, t *Tensor) error {
	if err := d.count(at, t); err != nil {
		return err
	}
	n, _ := Elements(t.Shape, d.limits.ElementsMax)
	// An element is at least one byte, and is parted from the next by another.
	if left := len(d.src) - d.at; n > left/2+1 {
		return wrong(at.field("data"), "holds fewer elements than the %d of shape %s", n, FormatShape(t.Shape))
	}
	w := &walker{decoder: d, where: at, t: t, n: n}
	switch t.Datatype {
	case FP32:
		return fill(w, func(b []byte) (float32, error) {
			v, err := strconv.ParseFloat(string(b), 32)
			return float32(v), err
		})
	case FP64:
		return fill(w, func(b []byte) (float64, error) { return strconv.ParseFloat(string(b), 64) })
	case Int8:
		return fill(w, signed[int8](8))
	case Int16:
		return fill(w, signed[int16](16))
	case Int32:
		return fill(w, signed[int32](32))
	case Int64:
		return fill(w, signed[int64](64))
	case Uint8:
		return fill(w, unsigned[uint8](8))
	case Uint16:
		return fill(w, unsigned[uint16](16))
	case Uint32:
		return fill(w, unsigned[uint32](32))
	case Uint64:
		return fill(w, unsigned[uint64](64))
	case Bool:
		out := make([]bool, 0, n)
		err := w.walk("true or false", 'f', 't', func() error {
			v, err := d.bool()
			out = append(out, v)
			return err
		})
		t.Data = out
		return err
	case Bytes:
		out := make([][]byte, 0, n)
		err := w.walk("a string", '"', '"', func() error {
			v, err := d.string()
			out = append(out, []byte(v))
			return err
		})
		t.Data = out
		return err
	}
	return wrong(at.field("data"), "cannot hold %s, which has no form in JSON; send it as binary data", t.Datatype)
}

func signed[T int8 | int16 | int32 | int64](bits int) func([]byte) (T, error) {
	return func(b []byte) (T, error) {
		v, err := strconv.ParseInt(string(b), 10, bits)
		return T(v), err
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](bits int) func([]byte) (T, error) {
	return func(b []byte) (T, error) {
		v, err := strconv.ParseUint(string(b), 10, bits)
		return T(v), err
	}
}

// fill reads numbers.
func fill[T any](w *walker, parse func([]byte) (T, error)) error {
	out := make([]T, 0, w.n)
	err := w.walk("a number", '-', '9', func() error {
		text, _, err := w.number()
		if err != nil {
			return err
		}
		v, err := parse(text)
		if err != nil {
			return wrong(w.where.field("data"), "holds %s, which is no %s", clip(string(text)), w.t.Datatype)
		}
		out = append(out, v)
		return nil
	})
	w.t.Data = out
	return err
}

// walker goes over an array of elements, or of arrays of them.
type walker struct {
	*decoder
	where spot
	t     *Tensor
	n     int // elements that there must be
	have  int
}

// walk calls each before every element. An element begins with a byte of low to high.
func (w *walker) walk(what string, low, high byte, each func() error) error {
	if w.next() != '[' {
		return wrong(w.where.field("data"), "must be an array")
	}
	one := func() error {
		if c := w.next(); c < low || c > high {
			if c == 0 {
				return w.bad("an element of " + w.where.field("data"))
			}
			return wrong(w.where.field("data"), "holds something else than %s at element %d; datatype is %s, shape %s", what, w.have, w.t.Datatype, FormatShape(w.t.Shape))
		}
		if w.have == w.n {
			return wrong(w.where.field("data"), "holds more elements than the %d of shape %s", w.n, FormatShape(w.t.Shape))
		}
		w.have++
		return each()
	}
	ahead := scanner{src: w.src, at: w.at + 1}
	var err error
	if ahead.next() == '[' {
		err = w.nested(0, one)
	} else {
		err = w.array(func(int) error { return one() })
	}
	if err == nil && w.have != w.n {
		return wrong(w.where.field("data"), "holds %d elements, but shape %s has %d", w.have, FormatShape(w.t.Shape), w.n)
	}
	return err
}

func (w *walker) nested(depth int, one func() error) error {
	if depth == len(w.t.Shape) {
		return wrong(w.where.field("data"), "is nested deeper than its shape %s", FormatShape(w.t.Shape))
	}
	if c := w.next(); c != '[' {
		if c == 0 {
			return w.bad("'['")
		}
		return wrong(w.where.field("data"), "is not nested as its shape %s says", FormatShape(w.t.Shape))
	}
	count := int64(0)
	err := w.array(func(int) error {
		count++
		if depth == len(w.t.Shape)-1 {
			return one()
		}
		return w.nested(depth+1, one)
	})
	if err == nil && count != w.t.Shape[depth] {
		return wrong(w.where.field("data"), "has %d entries at depth %d, but its shape is %s", count, depth, FormatShape(w.t.Shape))
	}
	return err
}

// fromBinary reads n elements of t: little-endian and packed; BOOL is a byte; strings
// of BYTES have their length before them, in four bytes.
func fromBinary(t *Tensor, n int, b []byte) (any, error) {
	if t.Datatype == Bytes {
		return stringsOf(t, n, b)
	}
	if want := n * sizes[t.Datatype]; len(b) != want {
		return nil, wrong(t.Name, "has a %s of %d, but shape %s of %s takes %d bytes", parameterSize, len(b), FormatShape(t.Shape), t.Datatype, want)
	}
	le := binary.LittleEndian
	switch t.Datatype {
	case Bool:
		return each(b, 1, func(b []byte) bool { return b[0] != 0 }), nil
	case Uint8:
		return each(b, 1, func(b []byte) uint8 { return b[0] }), nil
	case Int8:
		return each(b, 1, func(b []byte) int8 { return int8(b[0]) }), nil
	case Uint16:
		return each(b, 2, le.Uint16), nil
	case Int16:
		return each(b, 2, func(b []byte) int16 { return int16(le.Uint16(b)) }), nil
	case FP16:
		return each(b, 2, func(b []byte) Half { return Half(le.Uint16(b)) }), nil
	case Uint32:
		return each(b, 4, le.Uint32), nil
	case Int32:
		return each(b, 4, func(b []byte) int32 { return int32(le.Uint32(b)) }), nil
	case FP32:
		return each(b, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }), nil
	case Uint64:
		return each(b, 8, le.Uint64), nil
	case Int64:
		return each(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) }), nil
	}
	return each(b, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) }), nil // FP64
}

// sizes of elements, in bytes.
var sizes = map[Datatype]int{Bool: 1, Uint8: 1, Int8: 1, Uint16: 2, Int16: 2, FP16: 2, Uint32: 4, Int32: 4, FP32: 4, Uint64: 8, Int64: 8, FP64: 8}

func each[T any](b []byte, size int, one func([]byte) T) []T {
	out := make([]T, len(b)/size)
	for i := range out {
		out[i] = one(b[i*size : (i+1)*size])
	}
	return out
}

func stringsOf(t *Tensor, n int, b []byte) ([][]byte, error) {
	if n > len(b)/4 {
		return nil, wrong(t.Name, "has a %s of %d, too little for the %d strings of shape %s", parameterSize, len(b), n, FormatShape(t.Shape))
	}
	out := make([][]byte, 0, n)
	for len(b) >= 4 && len(out) < n {
		size := binary.LittleEndian.Uint32(b)
		if b = b[4:]; uint64(size) > uint64(len(b)) {
			return nil, wrong(t.Name, "has a string of %d bytes at element %d, where %d bytes are left", size, len(out), len(b))
		}
		out = append(out, b[:size:size])
		b = b[size:]
	}
	if len(out) != n || len(b) > 0 {
		return nil, wrong(t.Name, "has %d strings and %d bytes left in its binary data; shape %s takes %d strings and no more", len(out), len(b), FormatShape(t.Shape), n)
	}
	return out, nil
}
