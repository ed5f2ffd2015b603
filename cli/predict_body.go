package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/sheet"
)

// v2Body is a request of the Open Inference Protocol: what was given, if it is one, or one
// with the rows that were given.
func (a *asker) v2Body(ctx context.Context, file string, text []byte) ([]byte, error) {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) > 0 && trimmed[0] == '{' {
		if _, err := infer.DecodeRequest(trimmed, len(trimmed), infer.Limits{BytesMax: askBytesMax}); err != nil {
			return nil, usage.Errorf("what is asked is no request of the Open Inference Protocol: %w", err)
		}
		return trimmed, nil
	}
	var table *sheet.Sheet
	var rows [][]float64
	var err error
	if csv := strings.EqualFold(filepath.Ext(file), ".csv"); csv && len(trimmed) > 0 {
		table, err = sheet.Read(bytes.NewReader(trimmed))
	} else {
		rows, err = readRows(trimmed)
	}
	if err != nil {
		return nil, usage.Errorf("what is asked: %w", err)
	}
	answer, err := a.send(ctx, http.MethodGet, "/v2/models/"+a.name, "", nil)
	if err != nil {
		return nil, err
	}
	var m infer.ModelMetadata
	if err := json.Unmarshal(answer, &m); err != nil || len(m.Inputs) == 0 {
		return nil, usage.Errorf("%s does not say what it takes; write a whole request of the Open Inference Protocol", a.name)
	}
	a.serving = m.Serving
	if table != nil {
		if rows, err = numbers(table, m.Serving); err != nil {
			return nil, usage.Errorf("what is asked: %w", err)
		}
	}
	return rowsBody(&m, rows)
}

// readRows reads rows of numbers: JSON with one row or several.
func readRows(text []byte) ([][]float64, error) {
	var rows [][]float64
	var one []float64
	switch {
	case len(text) == 0:
		return nil, errors.New("there is nothing in it")
	case json.Unmarshal(text, &one) == nil:
		rows = [][]float64{one}
	case json.Unmarshal(text, &rows) != nil:
		return nil, errors.New("it is neither a request of the protocol nor rows of numbers; write [[1, 2], [3, 4]], or name a file *.csv")
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return nil, errors.New("it has no row of numbers")
	}
	for i, r := range rows {
		if len(r) != len(rows[0]) {
			return nil, usage.Errorf("row %d has %d numbers, and row 0 has %d", i, len(r), len(rows[0]))
		}
	}
	return rows, nil
}

// numbers are the rows of a table. Where it and the model both name columns, the model's
// are taken, in its order; else all are, in the table's.
func numbers(s *sheet.Sheet, serving *infer.Serving) ([][]float64, error) {
	var at []int
	if s.Names != nil && serving != nil && len(serving.Features) > 0 {
		for _, f := range serving.Features {
			i := slices.Index(s.Names, f)
			if i < 0 {
				return nil, usage.Errorf("there is no column %q, which the model takes; without a line of names columns are taken in their order", f)
			}
			at = append(at, i)
		}
	} else {
		for i := range s.Width() {
			at = append(at, i)
		}
	}
	rows := make([][]float64, len(s.Rows))
	for i, record := range s.Rows {
		rows[i] = make([]float64, len(at))
		for k, c := range at {
			v, err := strconv.ParseFloat(record[c], 64)
			if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
				return nil, usage.Errorf("row %d, column %s: %q is not a number", i+1, s.Name(c), record[c])
			}
			rows[i][k] = v
		}
	}
	return rows, nil
}

// rowsBody asks a model about rows. The sizes of a row's dimensions are the model's.
func rowsBody(m *infer.ModelMetadata, rows [][]float64) ([]byte, error) {
	in := m.Inputs[0]
	if len(m.Inputs) > 1 {
		return nil, usage.Errorf("the model takes %d inputs; write a whole request of the Open Inference Protocol", len(m.Inputs))
	}
	shape, err := in.Rows(len(rows), len(rows[0]))
	if err != nil {
		return nil, usage.Error(err)
	}
	type tensor struct {
		Name     string         `json:"name"`
		Datatype infer.Datatype `json:"datatype"`
		Shape    []int64        `json:"shape"`
		Data     []float64      `json:"data"`
	}
	return json.Marshal(map[string][]tensor{"inputs": {{in.Name, in.Datatype, shape, slices.Concat(rows...)}}})
}

// openAIBody is the body of a request in OpenAI's API, and the path that it is for. A model
// that it does not name is name.
func openAIBody(name string, text []byte) (body []byte, path string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, "", usage.Errorf("what is asked is no JSON object: %w", usage.Line(err))
	}
	for _, kind := range []struct{ field, path string }{{"messages", "chat/completions"}, {"prompt", "completions"}, {"input", "embeddings"}} {
		if _, ok := fields[kind.field]; ok {
			path = kind.path
			break
		}
	}
	if path == "" {
		return nil, "", usage.Errorf("what is asked has none of messages, prompt and input, so nobody knows what for")
	}
	if _, ok := fields["model"]; !ok {
		if fields["model"], err = json.Marshal(name); err != nil {
			return nil, "", err
		}
	}
	body, err = json.Marshal(fields)
	return body, path, err
}
