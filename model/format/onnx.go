package format

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is read of a graph.
const (
	valuesMax    = 4096    // inputs, or outputs
	nodesMax     = 1 << 20 // nodes, or initializers
	nameBytesMax = 4096
)

// Value is an input or output of a graph.
type Value struct {
	Name string `json:"name"`
	// Type of its numbers, such as float32; empty: it is no tensor.
	Type string `json:"type,omitempty"`
	// Shape: sizes, or names of sizes that are not fixed ("?" has none).
	Shape []string `json:"shape,omitempty"`
}

// String is the value as people write it.
func (v Value) String() string {
	return fmt.Sprintf("%s: %s[%s]", v.Name, v.Type, strings.Join(v.Shape, ", "))
}

// ONNX is what the header and the graph of a model say.
type ONNX struct {
	IRVersion uint64
	// Opset of the standard operators; 0: it uses none of them.
	Opset                     uint64
	Producer, ProducerVersion string
	Inputs, Outputs           []Value
	Nodes                     int
	// Parameters is how many numbers the initializers hold.
	Parameters int64
	// External are the files, beside the model, that hold initializers, and how many bytes
	// each must have.
	External map[string]uint64
}

// onnxTypes are the types of numbers, and onnxBits how many bits one has.
var (
	onnxTypes = []string{
		"", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64", "uint32", "uint64",
		"complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1",
	}
	onnxBits = []uint64{0, 32, 8, 8, 16, 16, 32, 64, 0, 8, 16, 64, 32, 64, 64, 128, 16, 8, 8, 8, 8, 4, 4, 4}
)

// ReadONNX reads the header and the graph of a file of sizeBytes. It passes over weights
// and what nodes say.
func ReadONNX(r io.ReaderAt, sizeBytes int64) (*ONNX, error) {
	m := message{w: &window{r: r, size: sizeBytes}, end: sizeBytes}
	o := &ONNX{External: map[string]uint64{}}
	var graph *message
	for {
		f, ok, err := m.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if err := o.field(f, &graph); err != nil {
			return nil, err
		}
	}
	if graph == nil || o.IRVersion == 0 {
		return nil, errors.New("is no ONNX model: it has no graph, or no version of the format")
	}
	if err := o.graph(*graph); err != nil {
		return nil, err
	}
	if len(o.Outputs) == 0 || o.Nodes == 0 {
		return nil, fmt.Errorf("its graph computes nothing: it has %d nodes and %d outputs", o.Nodes, len(o.Outputs))
	}
	return o, nil
}

// field takes one of the fields of ModelProto.
func (o *ONNX) field(f field, graph **message) (err error) {
	switch {
	case f.number == 1 && !f.long:
		o.IRVersion = f.value
	case f.number == 2 && f.long:
		o.Producer, err = f.body.text(nameBytesMax)
	case f.number == 3 && f.long:
		o.ProducerVersion, err = f.body.text(nameBytesMax)
	case f.number == 7 && f.long:
		if *graph != nil {
			return errors.New("it has two graphs")
		}
		*graph = &f.body
	case f.number == 8 && f.long:
		return o.opset(f.body)
	}
	return err
}

// opset takes an OperatorSetIdProto; those of the domain "" or ai.onnx count.
func (o *ONNX) opset(m message) error {
	domain, version := "", uint64(0)
	err := each(&m, func(f field) (err error) {
		switch {
		case f.number == 1 && f.long:
			domain, err = f.body.text(nameBytesMax)
		case f.number == 2 && !f.long:
			version = f.value
		}
		return err
	})
	if domain == "" || domain == "ai.onnx" {
		o.Opset = version
	}
	return err
}

// each calls do for each field of m.
func each(m *message, do func(field) error) error {
	for {
		f, ok, err := m.next()
		if err != nil || !ok {
			return err
		}
		if err := do(f); err != nil {
			return err
		}
	}
}

// graph takes a GraphProto.
func (o *ONNX) graph(m message) error {
	given := map[string]bool{} // initializers may be named among the inputs
	weights := 0
	err := each(&m, func(f field) error {
		if !f.long {
			return nil
		}
		switch f.number {
		case 1:
			if o.Nodes++; o.Nodes > nodesMax {
				return fmt.Errorf("its graph has more than %d nodes", nodesMax)
			}
		case 5:
			if weights++; weights > nodesMax {
				return fmt.Errorf("its graph has more than %d initializers", nodesMax)
			}
			name, err := o.initializer(f.body)
			given[name] = true
			return err
		case 11, 12:
			v, err := value(f.body)
			if err != nil {
				return err
			}
			if f.number == 11 {
				o.Inputs = append(o.Inputs, v)
			} else {
				o.Outputs = append(o.Outputs, v)
			}
			if max(len(o.Inputs), len(o.Outputs)) > valuesMax+len(given) {
				return fmt.Errorf("its graph has more than %d inputs or outputs", valuesMax)
			}
		}
		return nil
	})
	o.Inputs = slices.DeleteFunc(o.Inputs, func(v Value) bool { return given[v.Name] })
	return err
}

// tensor is what a TensorProto says.
type tensor struct {
	name     string
	dims     []uint64
	kind     uint64
	raw      int64 // bytes; -1: there are none
	external bool
	at       map[string]string
}

// initializer takes a TensorProto, and checks that its numbers are there.
func (o *ONNX) initializer(m message) (string, error) {
	t := tensor{raw: -1, at: map[string]string{}}
	if err := each(&m, t.field); err != nil {
		return "", err
	}
	n, ok := product(t.dims)
	if !ok || int64(n) > math.MaxInt64-o.Parameters {
		return "", fmt.Errorf("initializer %.100q has the shape %d", t.name, t.dims)
	}
	o.Parameters += int64(n)
	if t.kind == 0 || t.kind >= uint64(len(onnxTypes)) {
		return "", fmt.Errorf("initializer %.100q is of the unknown type %d", t.name, t.kind)
	}
	size := onnxBits[t.kind]
	hi, all := bits.Mul64(n, size)
	all = all/8 + min(all%8, 1)
	if hi != 0 {
		return "", fmt.Errorf("initializer %.100q has the shape %d", t.name, t.dims)
	}
	if t.external {
		return t.name, o.outside(t, all)
	}
	if t.raw >= 0 && size > 0 && uint64(t.raw) != all {
		return "", fmt.Errorf("initializer %.100q of type %s and shape %d has %d bytes, not %d", t.name, onnxTypes[t.kind], t.dims, t.raw, all)
	}
	return t.name, nil
}

func (t *tensor) field(f field) (err error) {
	switch f.number {
	case 1:
		if !f.long {
			t.dims = append(t.dims, f.value)
			break
		}
		for f.body.pos < f.body.end { // packed
			d, err := f.body.varint()
			if err != nil {
				return err
			}
			if t.dims = append(t.dims, d); len(t.dims) > dimensionsMax {
				break
			}
		}
	case 2:
		t.kind = f.value
	case 8:
		t.name, err = f.body.text(nameBytesMax)
	case 9:
		t.raw = f.body.size()
	case 13:
		err = t.entry(f.body)
	case 14:
		t.external = f.value == 1
	}
	if len(t.dims) > dimensionsMax {
		return fmt.Errorf("an initializer has more than %d dimensions", dimensionsMax)
	}
	return err
}

// entry takes a StringStringEntryProto of external_data.
func (t *tensor) entry(m message) error {
	var key, val string
	err := each(&m, func(f field) (err error) {
		switch {
		case f.number == 1 && f.long:
			key, err = f.body.text(nameBytesMax)
		case f.number == 2 && f.long:
			val, err = f.body.text(nameBytesMax)
		}
		return err
	})
	if len(t.at) < 16 {
		t.at[key] = val
	}
	return err
}

// outside notes the file that has the numbers of an initializer.
func (o *ONNX) outside(t tensor, size uint64) error {
	name := t.at["location"]
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, `\`) {
		return fmt.Errorf("initializer %.100q lies in %.200q, which is not beside the model", t.name, name)
	}
	offset := uint64(0)
	if s := t.at["offset"]; s != "" {
		var err error
		if offset, err = strconv.ParseUint(s, 10, 63); err != nil {
			return fmt.Errorf("initializer %.100q begins at byte %.20q of %s", t.name, s, name)
		}
	}
	if s := t.at["length"]; s != "" {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil || n < size {
			return fmt.Errorf("initializer %.100q has %.20q bytes in %s, not %d", t.name, s, name, size)
		}
	}
	if size > math.MaxInt64-offset {
		return fmt.Errorf("initializer %.100q does not fit in %s", t.name, name)
	}
	name = path.Clean(name)
	if _, ok := o.External[name]; !ok && len(o.External) >= filesMax {
		return fmt.Errorf("its initializers lie in more than %d files", filesMax)
	}
	o.External[name] = max(o.External[name], offset+size)
	return nil
}

// value takes a ValueInfoProto.
func value(m message) (Value, error) {
	var v Value
	err := each(&m, func(f field) (err error) {
		switch {
		case f.number == 1 && f.long:
			v.Name, err = f.body.text(nameBytesMax)
		case f.number == 2 && f.long: // TypeProto
			err = each(&f.body, func(f field) error {
				if f.number != 1 || !f.long { // tensor_type
					return nil
				}
				return v.tensor(f.body)
			})
		}
		return err
	})
	return v, err
}

// tensor takes a TypeProto.Tensor.
func (v *Value) tensor(m message) error {
	v.Shape = nil
	return each(&m, func(f field) error {
		switch {
		case f.number == 1 && !f.long:
			if v.Type = fmt.Sprint(f.value); f.value < uint64(len(onnxTypes)) {
				v.Type = onnxTypes[f.value]
			}
		case f.number == 2 && f.long: // TensorShapeProto
			return each(&f.body, func(f field) error {
				if f.number != 1 || !f.long {
					return nil
				}
				return v.dimension(f.body)
			})
		}
		return nil
	})
}

func (v *Value) dimension(m message) error {
	size := "?"
	err := each(&m, func(f field) (err error) {
		switch {
		case f.number == 1 && !f.long:
			size = strconv.FormatInt(int64(f.value), 10)
		case f.number == 2 && f.long:
			size, err = f.body.text(nameBytesMax)
		}
		return err
	})
	if v.Shape = append(v.Shape, size); len(v.Shape) > dimensionsMax {
		return fmt.Errorf("%.100q has more than %d dimensions", v.Name, dimensionsMax)
	}
	return err
}

// readONNX looks into one file of the model, and for what lies beside it.
func (s *Summary) readONNX(f File) error {
	r, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer r.Close()
	o, err := ReadONNX(r, f.SizeBytes)
	if err != nil {
		return err
	}
	for name, size := range o.External {
		at := path.Join(path.Dir(f.Path), name)
		switch beside := s.file(at); {
		case beside == nil:
			return fmt.Errorf("its weights lie in %s, which is not there: give the directory that has both", at)
		case uint64(beside.SizeBytes) < size:
			return fmt.Errorf("its weights need %d bytes of %s, which has %d", size, at, beside.SizeBytes)
		}
	}
	s.Parameters += o.Parameters
	if s.Kind = KindONNX; path.Base(f.Path) == "model.onnx" || s.Inputs == nil {
		s.Inputs, s.Outputs = o.Inputs, o.Outputs
		s.Framework = fmt.Sprintf("onnx opset %d", o.Opset)
	}
	return nil
}
