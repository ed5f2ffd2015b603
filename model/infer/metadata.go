package infer

import "fmt"

// ServerMetadata is what GET /v2 answers.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// ExtensionBinary is what a server that takes binary data lists among its extensions.
const ExtensionBinary = "binary_tensor_data"

// ModelMetadata is what GET /v2/models/NAME answers.
type ModelMetadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions,omitempty"`
	Platform string           `json:"platform"`
	Inputs   []TensorMetadata `json:"inputs"`
	Outputs  []TensorMetadata `json:"outputs"`
	// Serving is what the model says of itself, where the server knows; the protocol has
	// no such field, and its readers pass it over.
	Serving *Serving `json:"serving,omitempty"`
}

// TensorMetadata describes an input or output.
type TensorMetadata struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	// Shape; -1 stands for any number, as of rows.
	Shape []int64 `json:"shape"`
}

// Rows is the shape of n rows of width numbers each. The sizes of a row's dimensions are
// the model's; one that is open takes what the others leave.
func (m TensorMetadata) Rows(n, width int) ([]int64, error) {
	shape, want := []int64{int64(n)}, int64(1)
	for _, d := range m.Shape[min(1, len(m.Shape)):] {
		if d < 0 {
			d = max(1, int64(width)/max(1, want))
		}
		shape, want = append(shape, d), want*d
	}
	if want != int64(width) {
		return nil, fmt.Errorf("a row has %d numbers, and the model takes %d, of shape %s", width, want, FormatShape(m.Shape))
	}
	return shape, nil
}

// Fits says what is wrong with t for the input m, or returns nil. Rows are counted by the
// first dimension, of which there must be at least one.
func (m TensorMetadata) Fits(t *Tensor) error {
	ok := len(t.Shape) == len(m.Shape)
	for i := 0; ok && i < len(m.Shape); i++ {
		ok = m.Shape[i] == t.Shape[i] || m.Shape[i] < 0 && t.Shape[i] > 0
	}
	if !ok {
		return wrong("input "+t.Name, "has shape %s; expected %s, where -1 is any number from 1", FormatShape(t.Shape), FormatShape(m.Shape))
	}
	return nil
}
