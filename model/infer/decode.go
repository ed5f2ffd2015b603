package infer

import (
	"fmt"
	"slices"
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
	err = d.object(func(key string) error {
		var err error
		switch key {
		case "id":
			r.ID, err = d.text("id")
		case "parameters":
			r.Parameters, err = d.parameters("parameters")
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
	err = d.object(func(key string) error {
		var err error
		switch key {
		case "model_name":
			r.ModelName, err = d.text("model_name")
		case "model_version":
			r.ModelVersion, err = d.text("model_version")
		case "id":
			r.ID, err = d.text("id")
		case "parameters":
			r.Parameters, err = d.parameters("parameters")
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
	elements int    // so far
	binary   []byte // what is left of the binary data
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
		size := t.Parameters[parameterSize].(int64) // tensor has seen to it
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

// text takes a string; null is an empty one.
func (d *decoder) text(field string) (string, error) {
	switch d.next() {
	case '"':
		return d.string()
	case 'n':
		return "", d.word("null")
	case 0:
		return "", d.bad("a string")
	}
	return "", wrong(field, "must be a string")
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
		field := fmt.Sprintf("outputs[%d]", i)
		var o Output
		err := d.object(func(key string) error {
			var err error
			switch key {
			case "name":
				o.Name, err = d.text(field + ".name")
			case "parameters":
				o.Parameters, err = d.parameters(field + ".parameters")
			default:
				err = d.skip()
			}
			return err
		})
		if err == nil && o.Name == "" {
			err = wrong(field+".name", "is missing")
		}
		out = append(out, o)
		return err
	})
	return out, err
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
		return d.tensor(kind+"["+strconv.Itoa(i)+"]", &out[i])
	})
	return out, err
}

func (d *decoder) tensor(field string, t *Tensor) error {
	var later []byte // data that came before what it is of
	shaped, filled := false, false
	err := d.object(func(key string) error {
		var err error
		switch key {
		case "name":
			t.Name, err = d.text(field + ".name")
		case "datatype":
			var s string
			s, err = d.text(field + ".datatype")
			t.Datatype = Datatype(s)
			if err == nil && !slices.Contains(datatypes, t.Datatype) {
				err = wrong(field+".datatype", "is %q; known are %v", clip(s), datatypes)
			}
		case "shape":
			shaped = true
			err = d.shape(field+".shape", t)
		case "parameters":
			t.Parameters, err = d.parameters(field + ".parameters")
		case "data":
			if d.next() == 'n' {
				return d.word("null")
			}
			filled = true
			if shaped && t.Datatype != "" {
				return d.data(field+".data", t)
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
		return wrong(field+".name", "is missing")
	case t.Datatype == "":
		return wrong(field+".datatype", "is missing; known are %v", datatypes)
	case !shaped:
		return wrong(field+".shape", "is missing")
	}
	size, binary := t.Parameters[parameterSize]
	switch n, ok := size.(int64); {
	case binary && (!ok || n < 0):
		return wrong(field+".parameters."+parameterSize, "must be a number of bytes")
	case binary && filled:
		return wrong(field+".data", "must be missing where parameters.%s is given", parameterSize)
	case binary:
		t.Binary = true
		return d.count(field+".shape", t)
	case !filled:
		return wrong(field+".data", "is missing")
	case later != nil:
		whole := d.scanner
		d.scanner = scanner{src: later}
		err = d.data(field+".data", t)
		d.scanner = whole
	}
	return err
}

func (d *decoder) shape(field string, t *Tensor) error {
	if c := d.next(); c != '[' && c != 0 {
		return wrong(field, "must be an array of integers, such as [1, 64]")
	}
	t.Shape = make([]int64, 0, 4)
	return d.array(func(i int) error {
		if i >= d.limits.DimensionsMax {
			return wrong(field, "has more than %d dimensions", d.limits.DimensionsMax)
		}
		text, _, err := d.number()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n < 0 {
			return wrong(field, "holds %s; dimensions are integers of 0 or more", clip(string(text)))
		}
		t.Shape = append(t.Shape, n)
		return nil
	})
}

// count adds what t holds to the elements of the body.
func (d *decoder) count(field string, t *Tensor) error {
	n, ok := Elements(t.Shape, d.limits.ElementsMax)
	if !ok || n > d.limits.ElementsMax-d.elements {
		return wrong(field, "%s makes more elements than the %d that a body may hold", FormatShape(t.Shape), d.limits.ElementsMax)
	}
	d.elements += n
	return nil
}
