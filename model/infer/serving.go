package infer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// What a model does, in the words of the API.
const (
	TaskClassification = "classification"
	TaskRegression     = "regression"
	TaskForecast       = "forecast"
)

var tasks = []string{TaskClassification, TaskRegression, TaskForecast}

// Serving is the section serving of a model.json: how a model is served and judged that
// brings no code. docs/formats/model.md is normative.
type Serving struct {
	// Task: classification, regression or forecast.
	Task string `json:"task"`
	// Features names the columns of a row, in the order in which the model takes them;
	// empty: they have no names.
	Features []string `json:"features,omitempty"`
	// Labels names the classes, in the order of the outputs; empty: 0, 1, 2 and so on.
	Labels []string `json:"labels,omitempty"`
	// Horizon is how many steps ahead a forecast reaches; 0: as many as it has values.
	Horizon int `json:"horizon,omitempty"`
}

const (
	// ModelFile and DescriptionFile are what a model's directory must have, and may have.
	ModelFile       = "model.onnx"
	DescriptionFile = "model.json"
	// DescriptionBytesMax is the most that is read of a model.json.
	DescriptionBytesMax = 1 << 20
	namesMax            = 65536 // features, or labels
	nameBytesMax        = 256
)

// ParseServing reads the section serving of a model.json. One that has no such section,
// and no model.json at all (empty text), give nil: numbers go in and come out, and nobody
// knows what they stand for.
func ParseServing(text []byte) (*Serving, error) {
	if len(text) == 0 {
		return nil, nil
	}
	if len(text) > DescriptionBytesMax {
		return nil, fmt.Errorf("%s has %d bytes, and at most %d are read", DescriptionFile, len(text), DescriptionBytesMax)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("reading %s: %w", DescriptionFile, err)
	}
	section, ok := whole["serving"]
	if !ok || string(section) == "null" {
		return nil, nil
	}
	var s Serving
	d := json.NewDecoder(bytes.NewReader(section))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("reading serving in %s: %w", DescriptionFile, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("reading serving in %s: there is more than one value", DescriptionFile)
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", DescriptionFile, err)
	}
	return &s, nil
}

// Validate says in a sentence what is wrong with s.
func (s *Serving) Validate() error {
	if !slices.Contains(tasks, s.Task) {
		return fmt.Errorf("serving.task is %q; it must be one of %s", clip(s.Task), strings.Join(tasks, ", "))
	}
	if err := distinct("serving.features", s.Features); err != nil {
		return err
	}
	if err := distinct("serving.labels", s.Labels); err != nil {
		return err
	}
	switch {
	case len(s.Labels) > 0 && s.Task != TaskClassification:
		return fmt.Errorf("serving.labels are for task %s; remove them, or change the task from %s", TaskClassification, s.Task)
	case len(s.Labels) == 1:
		return fmt.Errorf("serving.labels has one entry; a classifier tells at least two classes apart")
	case s.Horizon != 0 && s.Task != TaskForecast:
		return fmt.Errorf("serving.horizon is for task %s; remove it, or change the task from %s", TaskForecast, s.Task)
	case s.Horizon < 0:
		return fmt.Errorf("serving.horizon is %d; it must be at least 1", s.Horizon)
	}
	return nil
}

func distinct(field string, names []string) error {
	if len(names) > namesMax {
		return fmt.Errorf("%s has %d entries, and at most %d are read", field, len(names), namesMax)
	}
	seen := make(map[string]int, len(names))
	for i, n := range names {
		if n == "" || len(n) > nameBytesMax {
			return fmt.Errorf("%s[%d] must be of 1 to %d bytes", field, i, nameBytesMax)
		}
		if at, ok := seen[n]; ok {
			return fmt.Errorf("%s[%d] is %q, like %s[%d]; names must differ", field, i, clip(n), field, at)
		}
		seen[n] = i
	}
	return nil
}

// Label names a class.
func (s *Serving) Label(class int) string {
	if s != nil && class >= 0 && class < len(s.Labels) {
		return s.Labels[class]
	}
	return fmt.Sprint(class)
}

// Class of a label, or -1.
func (s *Serving) Class(label string) int {
	if s != nil && len(s.Labels) > 0 {
		return slices.Index(s.Labels, label)
	}
	var n int
	if _, err := fmt.Sscanf(label, "%d", &n); err != nil || n < 0 || fmt.Sprint(n) != label {
		return -1
	}
	return n
}
