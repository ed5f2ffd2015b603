package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/infer"
)

// cellsMax are numbers in a request: some 8 MiB of JSON, which both the gateway and the
// server of ONNX models take.
const cellsMax = 1 << 19

// silent are answers of servers that do not say what they take.
var silent = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}

// Rows answers rows by the Open Inference Protocol.
type Rows struct {
	g       *Gateway
	e       trial.Entrant
	input   infer.TensorMetadata
	serving *infer.Serving
	sent    trial.Sent
}

var _ trial.Service = (*Rows)(nil)

// Open finds out what a service or route takes. One that does not say is sent rows of
// numbers, as input x.
func (g *Gateway) Open(ctx context.Context, task string, e trial.Entrant) (*Rows, error) {
	r := &Rows{g: g, e: e, input: infer.TensorMetadata{Name: "x", Datatype: infer.FP32, Shape: []int64{-1, -1}}}
	a, err := g.ask(ctx, &e, http.MethodGet, "/v2/models/"+r.name(), nil)
	var no *refusal
	var m infer.ModelMetadata
	switch {
	case errors.As(err, &no) && slices.Contains(silent, no.status):
		// If there is no such service, the first request says so.
	case err != nil:
		return nil, err
	case json.Unmarshal(a.body, &m) == nil && len(m.Inputs) > 1:
		return nil, fmt.Errorf("%s takes %d inputs; one that is given rows takes one", e.What(), len(m.Inputs))
	case len(m.Inputs) == 1 && m.Inputs[0].Name != "" && len(m.Inputs[0].Shape) > 0:
		r.input, r.serving = m.Inputs[0], m.Serving
	}
	if r.input.Datatype != infer.FP32 && r.input.Datatype != infer.FP64 {
		return nil, fmt.Errorf("%s takes %s; one that is given rows takes %s or %s", e.What(), r.input.Datatype, infer.FP32, infer.FP64)
	}
	if len(e.Labels) > 0 {
		s := infer.Serving{Task: task}
		if r.serving != nil {
			s = *r.serving
		}
		s.Labels = e.Labels
		r.serving = &s
	}
	return r, nil
}

func (r *Rows) name() string {
	if r.e.Route != "" {
		return r.e.Route
	}
	return r.e.Service
}

// Width implements trial.Model.
func (r *Rows) Width() (int, error) {
	n, ok := infer.Elements(r.input.Shape[1:], 1<<31-1)
	if !ok || len(r.input.Shape) < 2 {
		return 0, nil // some of it is open
	}
	return n, nil
}

// Serving implements trial.Model.
func (r *Rows) Serving() *infer.Serving { return r.serving }

// Batch implements trial.Service.
func (r *Rows) Batch(width int) int {
	if n := r.input.Shape[0]; n == 1 {
		return 1
	}
	return cellsMax / max(width, 1)
}

// Sent implements trial.Service.
func (r *Rows) Sent() trial.Sent { return r.sent }

// Close implements trial.Model.
func (r *Rows) Close() { r.g.client.CloseIdleConnections() }

// Rows implements trial.Model.
func (r *Rows) Rows(ctx context.Context, rows []float32, width, _ int) ([]infer.Tensor, error) {
	n := len(rows) / width
	shape, err := r.input.Rows(n, width)
	if err != nil {
		return nil, err
	}
	in := infer.New(r.input.Name, rows, shape...)
	if r.input.Datatype == infer.FP64 {
		wide := make([]float64, len(rows))
		for i, v := range rows {
			wide[i] = float64(v)
		}
		in.Datatype, in.Data = infer.FP64, wide
	}
	body, _, err := (&infer.Request{Inputs: []infer.Tensor{in}}).Append(nil)
	if err != nil {
		return nil, err
	}
	a, err := r.g.ask(ctx, &r.e, http.MethodPost, "/v2/models/"+r.name()+"/infer", body)
	if err != nil {
		return nil, err
	}
	header, err := infer.ParseHeaderLength(a.header.Get(infer.HeaderLength), len(a.body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.e.What(), err)
	}
	said, err := infer.DecodeResponse(a.body, header, infer.Limits{BytesMax: answerBytesMax})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.e.What(), err)
	}
	r.sent = a.sent
	r.sent.By = a.by(&r.e, said.ModelVersion, n)
	return said.Outputs, nil
}
