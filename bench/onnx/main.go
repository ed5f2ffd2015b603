// Command onnx is the least server of a model in ONNX that somebody would write: a
// handler of net/http that reads a row, calls onnxruntime and writes the answer. The
// server of tools/onnx is measured beside it, by bench/measure.
//
// It checks nothing and takes one model, of rows of numbers called x to probabilities.
// POST /binary takes and gives float32, little-endian; POST /json speaks the Open
// Inference Protocol by encoding/json.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "onnx:", err)
		os.Exit(1)
	}
}

// run serves the model named by the first argument at the address that is the second.
// The third and fourth are the numbers of a row and of an answer.
func run() error {
	if len(os.Args) != 5 {
		return fmt.Errorf("usage: onnx MODEL ADDRESS FEATURES CLASSES")
	}
	features, err := strconv.ParseInt(os.Args[3], 10, 32)
	if err != nil {
		return err
	}
	classes, err := strconv.ParseInt(os.Args[4], 10, 32)
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(os.Getenv("POLDER_ONNXRUNTIME"))
	if err := ort.InitializeEnvironment(); err != nil {
		return err
	}
	o, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	if err := o.SetIntraOpNumThreads(1); err != nil {
		return err
	}
	s, err := ort.NewDynamicAdvancedSession(os.Args[1], []string{"x"}, []string{"probabilities"}, o)
	if err != nil {
		return err
	}
	m := &model{session: s, features: features, classes: classes}
	http.HandleFunc("POST /binary", m.binary)
	http.HandleFunc("POST /json", m.json)
	return http.ListenAndServe(os.Args[2], nil)
}

type model struct {
	session           *ort.DynamicAdvancedSession
	features, classes int64
}

func (m *model) answer(row []float32) ([]float32, error) {
	x, err := ort.NewTensor(ort.NewShape(1, m.features), row)
	if err != nil {
		return nil, err
	}
	defer x.Destroy()
	y, err := ort.NewEmptyTensor[float32](ort.NewShape(1, m.classes))
	if err != nil {
		return nil, err
	}
	defer y.Destroy()
	if err := m.session.Run([]ort.Value{x}, []ort.Value{y}); err != nil {
		return nil, err
	}
	return y.GetData(), nil
}

func (m *model) binary(w http.ResponseWriter, r *http.Request) {
	row := make([]float32, m.features)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&row[0])), 4*len(row))
	if _, err := io.ReadFull(r.Body, b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	y, err := m.answer(row)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(unsafe.Slice((*byte)(unsafe.Pointer(&y[0])), 4*len(y)))
}

type tensor struct {
	Name     string    `json:"name"`
	Datatype string    `json:"datatype"`
	Shape    []int64   `json:"shape"`
	Data     []float32 `json:"data"`
}

func (m *model) json(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Inputs []tensor `json:"inputs"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	y, err := m.answer(in.Inputs[0].Data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out := struct {
		Model   string   `json:"model_name"`
		Outputs []tensor `json:"outputs"`
	}{"m", []tensor{{"probabilities", "FP32", []int64{1, m.classes}, y}}}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
