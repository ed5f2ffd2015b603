// Package infer is what is said between those who ask a model and those who serve it:
// the Open Inference Protocol, version 2, in plain Go, in JSON and with the extension
// for binary data; what a row of answers says; and the part of a model.json that tells
// how a model is served. Servers, the gateway, evaluations and clients import it. It
// speaks over no network.
//
// What it reads is foreign. Nothing is allocated that the bytes at hand do not account
// for, and an error names the field and what was expected there.
package infer

import (
	"cmp"
	"fmt"
	"strconv"
)

const (
	// HeaderLength is the header that says how many bytes of a body are JSON, when data
	// in binary form comes after them.
	HeaderLength = "Inference-Header-Content-Length"
	// ContentJSON and ContentBinary are the types of bodies without and with such data.
	ContentJSON   = "application/json"
	ContentBinary = "application/octet-stream"
)

// Headers of an answer of the gateway, which say who has answered.
const (
	// HeaderRevision is the revision of the InferenceService.
	HeaderRevision = "Polder-Revision"
	// HeaderRoute is the ModelRoute and its rule, ROUTE/RULE; HeaderTarget who of it has
	// answered, several if rows were put together; HeaderEscalated, of a cascade, is no,
	// yes, K/N rows, or failed; HeaderCost is what the request cost by the targets' cost.
	HeaderRoute     = "Polder-Route"
	HeaderTarget    = "Polder-Target"
	HeaderEscalated = "Polder-Escalated"
	HeaderCost      = "Polder-Cost"
)

// The parameters that the extension for binary data gives a meaning.
const (
	parameterSize   = "binary_data_size"   // of a tensor: its bytes
	parameterBinary = "binary_data"        // of an output that is asked for: a bool
	parameterAll    = "binary_data_output" // of a request: all outputs, a bool
)

// Error is what is wrong with a body.
type Error struct {
	// Field that is wrong, such as inputs[0].shape; empty: the body as a whole.
	Field string
	// Reason says what is wrong and what was expected.
	Reason string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + " " + e.Reason
}

func wrong(field, format string, args ...any) *Error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Limits bound what a body may hold. A zero field means the default.
type Limits struct {
	BytesMax      int // of the body; 64 MiB
	TensorsMax    int // inputs or outputs; 64
	DimensionsMax int // of a tensor; 8
	ElementsMax   int // of all tensors together; 16 Mi
}

func (l Limits) orDefault() Limits {
	l.BytesMax = cmp.Or(l.BytesMax, 64<<20)
	l.TensorsMax = cmp.Or(l.TensorsMax, 64)
	l.DimensionsMax = cmp.Or(l.DimensionsMax, 8)
	l.ElementsMax = cmp.Or(l.ElementsMax, 16<<20)
	return l
}

// Parameters of a request, a response or a tensor: strings, int64, float64, bool, or, of
// what the protocol does not foresee, json.RawMessage.
type Parameters map[string]any

// Request asks a model.
type Request struct {
	// ID comes back in the response.
	ID         string
	Parameters Parameters
	Inputs     []Tensor
	// Outputs that are asked for; none: all.
	Outputs []Output
}

// Output is one that a request asks for.
type Output struct {
	Name       string
	Parameters Parameters
}

// Binary reports whether the output called name is to come in binary form.
func (r *Request) Binary(name string) bool {
	for _, o := range r.Outputs {
		if b, ok := o.Parameters[parameterBinary].(bool); ok && o.Name == name {
			return b
		}
	}
	b, _ := r.Parameters[parameterAll].(bool)
	return b
}

// AskBinary asks for all outputs in binary form.
func (r *Request) AskBinary() {
	if r.Parameters == nil {
		r.Parameters = Parameters{}
	}
	r.Parameters[parameterAll] = true
}

// Response is a model's answer.
type Response struct {
	ModelName    string
	ModelVersion string
	// ID of the request.
	ID         string
	Parameters Parameters
	Outputs    []Tensor
}

// Output returns the output called name, or nil.
func (r *Response) Output(name string) *Tensor {
	for i := range r.Outputs {
		if r.Outputs[i].Name == name {
			return &r.Outputs[i]
		}
	}
	return nil
}

// ParseHeaderLength reads the value of HeaderLength, "" where there is none, of a body
// of size bytes. It returns how many of these are JSON.
func ParseHeaderLength(value string, size int) (int, error) {
	if value == "" {
		return size, nil
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || n == 0 {
		return 0, wrong(HeaderLength, "must be the number of bytes of JSON that the body begins with, not %q", clip(value))
	}
	if int(n) > size {
		return 0, wrong(HeaderLength, "is %d, but the body has %d bytes", n, size)
	}
	return int(n), nil
}

// clip shortens what is shown of somebody else's text.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
