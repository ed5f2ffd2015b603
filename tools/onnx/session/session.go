// Package session opens models in ONNX and runs them, by onnxruntime. The server of
// models and the program of evaluations use it; whoever imports it needs cgo, and the
// library when the program runs.
//
// A model is a directory with model.onnx and, if its rows and answers are to mean
// something, model.json (docs/formats/model.md). It may have any inputs and outputs that
// are tensors. What it is given is checked against them before the library sees it.
package session

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"

	"polder.dev/polder/model/infer"
)

// Options of Open.
type Options struct {
	// Threads that one run may use; 0: one.
	Threads int
}

// Session is a model that is ready to run. Its methods may be called at the same time,
// but for Close, which must be the last.
type Session struct {
	inputs, outputs []infer.TensorMetadata
	serving         *infer.Serving
	model           *ort.DynamicAdvancedSession
	// joins: the first dimension of all inputs and outputs is rows, of which there may be
	// any number, so rows of several requests can be computed together.
	joins bool
	// shapes of the outputs for one row, where joins and every other dimension is known.
	shapes [][]int64
}

// Open loads the model in dir. Start must have been called.
func Open(dir string, o Options) (*Session, error) {
	path := filepath.Join(dir, infer.ModelFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s; a model that is served is exported to ONNX under that name", dir, infer.ModelFile)
	}
	if err != nil {
		return nil, fmt.Errorf("opening model: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, fmt.Errorf("%s is empty, or no file", path)
	}
	s := &Session{}
	if s.serving, err = description(dir); err != nil {
		return nil, err
	}
	if err := s.describe(path); err != nil {
		return nil, err
	}
	if err := s.load(path, max(o.Threads, 1)); err != nil {
		return nil, err
	}
	if err := s.probe(); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// description reads the section serving of dir's model.json; nil where there is none.
func description(dir string) (*infer.Serving, error) {
	f, err := os.Open(filepath.Join(dir, infer.DescriptionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening model: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, infer.DescriptionBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	return infer.ParseServing(text)
}

// Close frees the model.
func (s *Session) Close() {
	if s.model != nil {
		_ = s.model.Destroy() // it always returns nil
		s.model = nil
	}
}

// Inputs in the order in which Run takes them. Treat them as read-only.
func (s *Session) Inputs() []infer.TensorMetadata { return s.inputs }

// Outputs in the order in which Run returns them. Treat them as read-only.
func (s *Session) Outputs() []infer.TensorMetadata { return s.outputs }

// Serving is what model.json says; nil where it says nothing.
func (s *Session) Serving() *infer.Serving { return s.serving }

// Joins reports whether rows of several requests may be given to one run.
func (s *Session) Joins() bool { return s.joins }

// Metadata as the protocol tells it.
func (s *Session) Metadata(name string) infer.ModelMetadata {
	return infer.ModelMetadata{Name: name, Platform: "onnxruntime_onnx", Inputs: s.inputs, Outputs: s.outputs, Serving: s.serving}
}

// datatypes that can be given and taken. The library's binding for Go cannot do those of
// 16 bits.
var datatypes = map[ort.TensorElementDataType]infer.Datatype{
	ort.TensorElementDataTypeBool:   infer.Bool,
	ort.TensorElementDataTypeUint8:  infer.Uint8,
	ort.TensorElementDataTypeUint16: infer.Uint16,
	ort.TensorElementDataTypeUint32: infer.Uint32,
	ort.TensorElementDataTypeUint64: infer.Uint64,
	ort.TensorElementDataTypeInt8:   infer.Int8,
	ort.TensorElementDataTypeInt16:  infer.Int16,
	ort.TensorElementDataTypeInt32:  infer.Int32,
	ort.TensorElementDataTypeInt64:  infer.Int64,
	ort.TensorElementDataTypeFloat:  infer.FP32,
	ort.TensorElementDataTypeDouble: infer.FP64,
	ort.TensorElementDataTypeString: infer.Bytes,
}

// broken is what is said of a file that the library does not take.
func broken(path string, err error) error {
	return fmt.Errorf("%s is no model that onnxruntime %s can load: %w; is it whole, and exported for an opset that this version knows?", path, Version(), err)
}

// describe finds out what the model takes and answers. It loads the file without
// optimising it, since the library tells only of what is loaded.
func (s *Session) describe(path string) error {
	o, err := options(1)
	if err != nil {
		return err
	}
	defer o.Destroy()
	if err := o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
		return fmt.Errorf("setting options of onnxruntime: %w", err)
	}
	inputs, outputs, err := ort.GetInputOutputInfoWithOptions(path, o)
	if err != nil {
		return broken(path, err)
	}
	if s.inputs, err = tensors(inputs, "input"); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if s.outputs, err = tensors(outputs, "output"); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(s.inputs) == 0 || len(s.outputs) == 0 {
		return fmt.Errorf("%s has %d inputs and %d outputs; a model that is served needs both", path, len(s.inputs), len(s.outputs))
	}
	return nil
}

func tensors(in []ort.InputOutputInfo, kind string) ([]infer.TensorMetadata, error) {
	var out []infer.TensorMetadata
	for _, i := range in {
		if i.OrtValueType != ort.ONNXTypeTensor {
			return nil, fmt.Errorf("%s %s is no tensor but a %v; export the model without it (for scikit-learn: zipmap=False)", kind, i.Name, i.OrtValueType)
		}
		d, ok := datatypes[i.DataType]
		if !ok {
			return nil, fmt.Errorf("%s %s is of a datatype that is not served (%v); export the model with float32 there", kind, i.Name, i.DataType)
		}
		shape := make([]int64, 0, len(i.Dimensions))
		for _, d := range i.Dimensions {
			shape = append(shape, max(d, -1))
		}
		out = append(out, infer.TensorMetadata{Name: i.Name, Datatype: d, Shape: shape})
	}
	return out, nil
}

func options(threads int) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("making options of onnxruntime: %w", err)
	}
	if err := errors.Join(o.SetIntraOpNumThreads(threads), o.SetInterOpNumThreads(1), o.SetExecutionMode(ort.ExecutionModeSequential),
		// Threads that wait for work must not take the cores from those that bring it.
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0")); err != nil {
		_ = o.Destroy() // it always returns nil
		return nil, fmt.Errorf("setting options of onnxruntime: %w", err)
	}
	return o, nil
}

func (s *Session) load(path string, threads int) error {
	o, err := options(threads)
	if err != nil {
		return err
	}
	defer o.Destroy()
	var in, out []string
	for _, i := range s.inputs {
		in = append(in, i.Name)
	}
	for _, i := range s.outputs {
		out = append(out, i.Name)
	}
	if s.model, err = ort.NewDynamicAdvancedSession(path, in, out, o); err != nil {
		return broken(path, err)
	}
	return nil
}

// probe runs the model to see whether its answers go by rows: two rows together must be
// answered as each is alone. A model for which the first dimension is time, say, does not
// pass. One that fails on what it is given here is served all the same, a request at a
// time.
func (s *Session) probe() error {
	joins := true
	for _, m := range append(append([]infer.TensorMetadata(nil), s.inputs...), s.outputs...) {
		joins = joins && len(m.Shape) > 0 && m.Shape[0] < 0
	}
	one, err := s.Run(s.sample(0, 1))
	if err != nil {
		return nil
	}
	if err := s.conventional(one); err != nil {
		return err
	}
	if !joins {
		return nil
	}
	two, err := s.Run(s.sample(1, 1))
	if err != nil {
		return nil
	}
	both, err := s.Run(s.sample(0, 2))
	if err != nil {
		return nil
	}
	var shapes [][]int64
	for i := range one {
		if one[i].Shape[0] != 1 || two[i].Shape[0] != 1 || both[i].Shape[0] != 2 {
			return nil
		}
		if known(s.outputs[i].Shape[1:]) {
			shapes = append(shapes, one[i].Shape)
		}
	}
	if !Fellow(one, two) || !Fellow(one, both) || !alike(Join([][]infer.Tensor{one, two}), both) {
		return nil
	}
	s.joins = true
	if len(shapes) == len(one) {
		s.shapes = shapes
	}
	return nil
}

func known(shape []int64) bool {
	for _, d := range shape {
		if d < 0 {
			return false
		}
	}
	return true
}

// conventional checks what model.json says against an answer.
func (s *Session) conventional(one []infer.Tensor) error {
	if s.serving == nil {
		return nil
	}
	if n := len(s.serving.Features); n > 0 && len(s.inputs) == 1 {
		if shape := s.inputs[0].Shape; len(shape) == 2 && shape[1] >= 0 && shape[1] != int64(n) {
			return fmt.Errorf("serving.features in %s has %d names, but input %s takes %d numbers a row", infer.DescriptionFile, n, s.inputs[0].Name, shape[1])
		}
	}
	scores := (&infer.Response{Outputs: one}).Scores()
	if n := len(s.serving.Labels); n > 0 && scores != nil && len(scores.Shape) == 2 {
		if classes := scores.Shape[1]; classes != int64(n) && !(classes == 1 && n == 2) {
			return fmt.Errorf("serving.labels in %s has %d names, but output %s has %d classes", infer.DescriptionFile, n, scores.Name, classes)
		}
	}
	return nil
}

// Zeros are inputs of n rows, with the least number where a dimension is open.
func (s *Session) Zeros(n int) []infer.Tensor {
	var out []infer.Tensor
	for _, m := range s.inputs {
		shape := make([]int64, len(m.Shape))
		for i, d := range m.Shape {
			shape[i] = d
			if d < 0 {
				shape[i] = 1
				if i == 0 {
					shape[i] = int64(n)
				}
			}
		}
		out = append(out, zeros(m, shape))
	}
	return out
}
