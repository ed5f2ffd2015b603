package infer

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Append appends the request to dst. Header is how many of the bytes appended are JSON,
// which must be said in HeaderLength; it is 0 where all are. Tensors with Binary set
// become binary data.
func (r *Request) Append(dst []byte) (out []byte, header int, err error) {
	e := encoder{out: dst}
	e.open('{')
	e.string("id", r.ID)
	e.parameters(r.Parameters)
	e.tensors("inputs", r.Inputs)
	if len(r.Outputs) > 0 {
		e.key("outputs")
		e.open('[')
		for _, o := range r.Outputs {
			e.element()
			e.open('{')
			e.string("name", o.Name)
			e.parameters(o.Parameters)
			e.close('}')
		}
		e.close(']')
	}
	e.close('}')
	return e.end(len(dst), r.Inputs)
}

// Append appends the response to dst, likewise.
func (r *Response) Append(dst []byte) (out []byte, header int, err error) {
	e := encoder{out: dst}
	e.open('{')
	e.string("model_name", r.ModelName)
	e.string("model_version", r.ModelVersion)
	e.string("id", r.ID)
	e.parameters(r.Parameters)
	e.tensors("outputs", r.Outputs)
	e.close('}')
	return e.end(len(dst), r.Outputs)
}

// AppendError appends the protocol's form of an error.
func AppendError(dst []byte, message string) []byte {
	e := encoder{out: dst}
	e.open('{')
	e.key("error")
	e.quote(message)
	e.close('}')
	return e.out
}

// DecodeError reads the message of a server that answered an error; ok is false where
// body is none of the protocol's.
func DecodeError(body []byte) (message string, ok bool) {
	var said struct {
		Error *string `json:"error"`
	}
	if len(body) > 1<<20 || json.Unmarshal(body, &said) != nil || said.Error == nil {
		return "", false
	}
	return *said.Error, true
}

// Reason is the sentence of an answer that says what is wrong, in the form of this protocol,
// of OpenAI's API, or whatever it is.
func Reason(body []byte) string {
	if text, ok := DecodeError(body); ok {
		return text
	}
	var openAI struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &openAI) == nil && openAI.Error.Message != "" {
		return openAI.Error.Message
	}
	const textMax = 512
	text := strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), textMax)]), "?"))
	return cmp.Or(text, "it does not say why")
}

// encoder writes JSON. The standard library's needs the data copied into other types.
type encoder struct {
	out   []byte
	first bool // nothing has come in this object or array yet
	err   error
}

func (e *encoder) open(c byte)  { e.out, e.first = append(e.out, c), true }
func (e *encoder) close(c byte) { e.out, e.first = append(e.out, c), false }

func (e *encoder) element() {
	if !e.first {
		e.out = append(e.out, ',')
	}
	e.first = false
}

func (e *encoder) key(k string) {
	e.element()
	e.quote(k)
	e.out = append(e.out, ':')
}

// quote appends s as a string.
func (e *encoder) quote(s string) {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f
	}
	if plain {
		e.out = append(append(append(e.out, '"'), s...), '"')
		return
	}
	text, err := json.Marshal(s)
	e.fail(err)
	e.out = append(e.out, text...)
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// string appends a field, if it is not empty.
func (e *encoder) string(key, value string) {
	if value != "" {
		e.key(key)
		e.quote(value)
	}
}

func (e *encoder) parameters(p Parameters) {
	if len(p) == 0 {
		return
	}
	e.key("parameters")
	e.open('{')
	for _, k := range slices.Sorted(maps.Keys(p)) {
		e.key(k)
		text, err := json.Marshal(p[k])
		if err != nil {
			e.fail(fmt.Errorf("writing parameter %s: %w", k, err))
		}
		e.out = append(e.out, text...)
	}
	e.close('}')
}

// size writes the parameters of a tensor whose data comes in binary form.
func (e *encoder) size(t *Tensor) {
	if len(t.Parameters) == 0 {
		e.out = append(e.out, `,"parameters":{"`+parameterSize+`":`...)
		e.out = strconv.AppendInt(e.out, int64(t.binarySize()), 10)
		e.out = append(e.out, '}')
		return
	}
	p := maps.Clone(t.Parameters)
	p[parameterSize] = int64(t.binarySize())
	e.parameters(p)
}

func (e *encoder) tensors(key string, tensors []Tensor) {
	e.key(key)
	e.open('[')
	for i := range tensors {
		t := &tensors[i]
		e.element()
		e.open('{')
		e.string("name", t.Name)
		e.string("datatype", string(t.Datatype))
		e.key("shape")
		e.out = list(e.out, t.Shape, func(b []byte, d int64) []byte { return strconv.AppendInt(b, d, 10) })
		if n, ok := Elements(t.Shape, math.MaxInt); !ok || n != t.Len() {
			e.fail(wrong(t.Name, "holds %d elements, but shape %s has %d", t.Len(), FormatShape(t.Shape), n))
		}
		if is := datatypeOf(t.Data); t.Data != nil && is != t.Datatype {
			e.fail(wrong(t.Name, "is of datatype %q, but holds %q", t.Datatype, is))
		}
		if t.Binary {
			e.size(t)
		} else {
			e.parameters(t.Parameters)
		}
		if !t.Binary {
			e.key("data")
			e.data(t)
		}
		e.close('}')
	}
	e.close(']')
}

// end appends the binary data of tensors.
func (e *encoder) end(from int, tensors []Tensor) (out []byte, header int, err error) {
	if e.err != nil {
		return nil, 0, e.err
	}
	length := len(e.out) - from
	for i := range tensors {
		if tensors[i].Binary {
			header = length
			e.out = tensors[i].appendBinary(e.out)
		}
	}
	return e.out, header, nil
}

func list[T any](out []byte, data []T, one func([]byte, T) []byte) []byte {
	out = append(out, '[')
	for i, v := range data {
		if i > 0 {
			out = append(out, ',')
		}
		out = one(out, v)
	}
	return append(out, ']')
}

func integers[T uint8 | uint16 | uint32 | uint64 | int8 | int16 | int32 | int64](e *encoder, data []T) {
	e.out = list(e.out, data, func(b []byte, v T) []byte {
		if v < 0 {
			return strconv.AppendInt(b, int64(v), 10)
		}
		return strconv.AppendUint(b, uint64(v), 10)
	})
}

func (e *encoder) floats(t *Tensor, bits int, v float64, b []byte) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		e.fail(wrong(t.Name, "holds %v, which has no form in JSON", v))
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}

func (e *encoder) data(t *Tensor) {
	e.first = false
	switch d := t.Data.(type) {
	case nil: // of a shape without elements
		e.out = append(e.out, "[]"...)
	case []float32:
		e.out = list(e.out, d, func(b []byte, v float32) []byte { return e.floats(t, 32, float64(v), b) })
	case []float64:
		e.out = list(e.out, d, func(b []byte, v float64) []byte { return e.floats(t, 64, v, b) })
	case []bool:
		e.out = list(e.out, d, strconv.AppendBool)
	case []uint8:
		integers(e, d)
	case []uint16:
		integers(e, d)
	case []uint32:
		integers(e, d)
	case []uint64:
		integers(e, d)
	case []int8:
		integers(e, d)
	case []int16:
		integers(e, d)
	case []int32:
		integers(e, d)
	case []int64:
		integers(e, d)
	case [][]byte:
		e.open('[')
		for _, s := range d {
			if !utf8.Valid(s) {
				e.fail(wrong(t.Name, "holds bytes that are not UTF-8, which have no form in JSON; ask for binary data"))
			}
			e.element()
			e.quote(string(s))
		}
		e.close(']')
	default:
		e.fail(wrong(t.Name, "is of datatype %s, which has no form in JSON; ask for binary data", t.Datatype))
	}
}

func (t *Tensor) binarySize() int {
	d, ok := t.Data.([][]byte)
	if !ok {
		return t.Len() * sizes[t.Datatype]
	}
	n := 0
	for _, s := range d {
		n += 4 + len(s)
	}
	return n
}

func (t *Tensor) appendBinary(out []byte) []byte {
	switch d := t.Data.(type) {
	case nil:
		return out
	case [][]byte:
		for _, s := range d {
			out = append(binary.LittleEndian.AppendUint32(out, uint32(len(s))), s...)
		}
		return out
	case []uint8:
		return append(out, d...)
	case []float32:
		out = slices.Grow(out, 4*len(d))
		for _, v := range d {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
		return out
	}
	out, err := binary.Append(out, binary.LittleEndian, t.Data)
	if err != nil {
		panic("infer: data of a tensor is of no known type: " + err.Error()) // tensors has seen to it
	}
	return out
}
