package infer

import (
	"fmt"
	"strconv"
)

// DecodeRequest reads a request, of which the first header bytes are JSON and the rest,
// if there is any, binary data. Strings of BYTES in binary form are parts of body.
func DecodeRequest(body []byte, header int, l Limits) (*Request, error) {
	d, err := begin(body, header, l)
	if err != nil {
		return nil, err
	}
	r := &Request{}
	inputs := false
	err = d.object(func(key []byte) error {
		var err error
		switch string(key) {
		case "id":
			r.ID, err = d.optional(spot{}, "id")
		case "parameters":
			r.Parameters, err = d.parameters(spot{}, "parameters", nil)
		case "inputs":
			inputs = true
			r.Inputs, err = d.tensors("inputs")
		case "outputs":
			r.Outputs, err = d.outputs()
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !inputs {
		return nil, wrong("inputs", "is missing; a request has the fields inputs and, if need be, id, parameters and outputs")
	}
	return r, d.finish(r.Inputs)
}

// DecodeResponse reads a response likewise.
func DecodeResponse(body []byte, header int, l Limits) (*Response, error) {
	d, err := begin(body, header, l)
	if err != nil {
		return nil, err
	}
	r := &Response{}
	outputs := false
	err = d.object(func(key []byte) error {
		var err error
		switch string(key) {
		case "model_name":
			r.ModelName, err = d.optional(spot{}, "model_name")
		case "model_version":
			r.ModelVersion, err = d.optional(spot{}, "model_version")
		case "id":
			r.ID, err = d.optional(spot{}, "id")
		case "parameters":
			r.Parameters, err = d.parameters(spot{}, "parameters", nil)
		case "outputs":
			outputs = true
			r.Outputs, err = d.tensors("outputs")
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !outputs {
		return nil, wrong("outputs", "is missing; is this the answer of a server of the Open Inference Protocol?")
	}
	return r, d.finish(r.Outputs)
}

// decoder reads one body.
type decoder struct {
	scanner
	limits   Limits
	elements int     // so far
	sizes    []int64 // in bytes, of the tensors with binary data, in order
	binary   []byte  // what is left of the binary data
}

func begin(body []byte, header int, l Limits) (*decoder, error) {
	l = l.orDefault()
	if len(body) > l.BytesMax {
		return nil, wrong("", "the body has %d bytes, and at most %d are read", len(body), l.BytesMax)
	}
	if header < 0 || header > len(body) {
		return nil, wrong(HeaderLength, "is %d, but the body has %d bytes", header, len(body))
	}
	d := &decoder{scanner: scanner{src: body[:header]}, limits: l, binary: body[header:]}
	if d.next() != '{' {
		return nil, d.bad("an object of the Open Inference Protocol, '{',")
	}
	return d, nil
}

// finish reads the binary data of tensors, and sees that nothing is left.
func (d *decoder) finish(tensors []Tensor) error {
	if err := d.end(); err != nil {
		return err
	}
	for i := range tensors {
		t := &tensors[i]
		if !t.Binary {
			continue
		}
		size := d.sizes[0]
		d.sizes = d.sizes[1:]
		if size > int64(len(d.binary)) {
			return wrong(t.Name, "has a %s of %d, but %d bytes of binary data are left in the body", parameterSize, size, len(d.binary))
		}
		n, _ := Elements(t.Shape, d.limits.ElementsMax)
		var err error
		if t.Data, err = fromBinary(t, n, d.binary[:size]); err != nil {
			return err
		}
		d.binary = d.binary[size:]
	}
	if len(d.binary) > 0 {
		return wrong("", "%d bytes of binary data are left that no tensor's %s accounts for", len(d.binary), parameterSize)
	}
	return nil
}

// optional takes a string; null is an empty one.
func (d *decoder) optional(at spot, name string) (string, error) {
	switch d.next() {
	case '"':
		return d.string()
	case 'n':
		return "", d.word("null")
	case 0:
		return "", d.bad("a string")
	}
	return "", wrong(at.field(name), "must be a string")
}

func (d *decoder) outputs() ([]Output, error) {
	if d.next() == 'n' {
		return nil, d.word("null")
	}
	var out []Output
	err := d.array(func(i int) error {
		if i >= d.limits.TensorsMax {
			return wrong("outputs", "has more than %d entries", d.limits.TensorsMax)
		}
		at := spot{"outputs", i}
		var o Output
		err := d.object(func(key []byte) error {
			var err error
			switch string(key) {
			case "name":
				o.Name, err = d.optional(at, "name")
			case "parameters":
				o.Parameters, err = d.parameters(at, "parameters", nil)
			default:
				err = d.skip()
			}
			return err
		})
		if err == nil && o.Name == "" {
			err = wrong(at.field("name"), "is missing")
		}
		out = append(out, o)
		return err
	})
	return out, err
}

// spot is where in a body something is; its name is made only for an error.
type spot struct {
	kind  string
	index int
}

func (p spot) field(name string) string {
	if p.kind == "" { // the body itself
		return name
	}
	return fmt.Sprintf("%s[%d].%s", p.kind, p.index, name)
}

func (d *decoder) tensors(kind string) ([]Tensor, error) {
	if c := d.next(); c != '[' && c != 0 {
		return nil, wrong(kind, "must be an array of tensors")
	}
	var out []Tensor
	err := d.array(func(i int) error {
		if i >= d.limits.TensorsMax {
			return wrong(kind, "has more than %d entries", d.limits.TensorsMax)
		}
		out = append(out, Tensor{})
		return d.tensor(spot{kind, i}, &out[i])
	})
	return out, err
}

func (d *decoder) tensor(at spot, t *Tensor) error {
	var later []byte // data that came before what it is of
	var shaped, filled bool
	err := d.object(func(key []byte) error {
		var err error
		switch string(key) {
		case "name":
			t.Name, err = d.optional(at, "name")
		case "datatype":
			t.Datatype, err = d.datatype(at)
		case "shape":
			shaped = true
			err = d.shape(at, t)
		case "parameters":
			err = d.described(at, t)
		case "data":
			if d.next() == 'n' {
				return d.word("null")
			}
			filled = true
			if shaped && t.Datatype != "" {
				return d.data(at, t)
			}
			later, err = d.raw()
		default:
			err = d.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case t.Name == "":
		return wrong(at.field("name"), "is missing")
	case t.Datatype == "":
		return wrong(at.field("datatype"), "is missing; known are %v", datatypes)
	case !shaped:
		return wrong(at.field("shape"), "is missing")
	case t.Binary && filled:
		return wrong(at.field("data"), "must be missing where parameters.%s is given", parameterSize)
	case t.Binary:
		return d.count(at, t)
	case !filled:
		return wrong(at.field("data"), "is missing")
	case later != nil:
		whole := d.scanner
		d.scanner = scanner{src: later}
		err = d.data(at, t)
		d.scanner = whole
	}
	return err
}

func (d *decoder) datatype(at spot) (Datatype, error) {
	if c := d.next(); c != '"' && c != 0 {
		return "", wrong(at.field("datatype"), "must be a string; known are %v", datatypes)
	}
	text, err := d.text()
	if err != nil {
		return "", err
	}
	for _, t := range datatypes {
		if string(t) == string(text) {
			return t, nil
		}
	}
	return "", wrong(at.field("datatype"), "is %q; known are %v", clip(string(text)), datatypes)
}

// described takes a tensor's parameters. The one that says how long its binary data is
// says nothing else of it, and is not kept.
func (d *decoder) described(at spot, t *Tensor) error {
	var size any
	var err error
	if t.Parameters, err = d.parameters(at, "parameters", &size); err != nil || size == nil {
		return err
	}
	n, ok := size.(int64)
	if !ok || n < 0 || t.Binary {
		return wrong(at.field("parameters."+parameterSize), "must be a number of bytes, once")
	}
	t.Binary = true
	d.sizes = append(d.sizes, n)
	return nil
}

func (d *decoder) shape(at spot, t *Tensor) error {
	if c := d.next(); c != '[' && c != 0 {
		return wrong(at.field("shape"), "must be an array of integers, such as [1, 64]")
	}
	t.Shape = make([]int64, 0, 4)
	return d.array(func(i int) error {
		if i >= d.limits.DimensionsMax {
			return wrong(at.field("shape"), "has more than %d dimensions", d.limits.DimensionsMax)
		}
		text, _, err := d.number()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n < 0 {
			return wrong(at.field("shape"), "holds %s; dimensions are integers of 0 or more", clip(string(text)))
		}
		t.Shape = append(t.Shape, n)
		return nil
	})
}

// count adds what t holds to the elements of the body.
func (d *decoder) count(at spot, t *Tensor) error {
	n, ok := Elements(t.Shape, d.limits.ElementsMax)
	if !ok || n > d.limits.ElementsMax-d.elements {
		return wrong(at.field("shape"), "%s makes more elements than the %d that a body may hold", FormatShape(t.Shape), d.limits.ElementsMax)
	}
	d.elements += n
	return nil
}
