package session

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

// TestMain finds the library that `make build` has brought, if it is not named.
func TestMain(m *testing.M) {
	if os.Getenv(LibraryVariable) == "" {
		os.Setenv(LibraryVariable, filepath.Join("..", "..", "..", "bin", "libexec", "polder", LibraryName))
	}
	if err := Start(); err != nil {
		os.Stderr.WriteString(err.Error() + "; `make build` brings it\n")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func dir(t *testing.T, model []byte, description string) string {
	t.Helper()
	d := t.TempDir()
	if model != nil {
		if err := os.WriteFile(filepath.Join(d, infer.ModelFile), model, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if description != "" {
		if err := os.WriteFile(filepath.Join(d, infer.DescriptionFile), []byte(description), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func open(t *testing.T, model []byte, description string) *Session {
	t.Helper()
	s, err := Open(dir(t, model, description), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// rows are some numbers for a model that takes width of them.
func rows(n, width int) []float32 {
	out := make([]float32, n*width)
	for i := range out {
		out[i] = float32(math.Sin(float64(i)))
	}
	return out
}

func TestRows(t *testing.T) {
	for _, output := range []string{infer.OutputProbabilities, infer.OutputLogits, infer.OutputValues} {
		net := infertest.Random(1, 8, 16, 3)
		net.Output = output
		for _, fixed := range []int64{0, 1} {
			net.Rows = fixed
			s := open(t, net.Bytes(), "")
			if s.Joins() != (fixed == 0) {
				t.Errorf("%s, %d rows: joins is %v", output, fixed, s.Joins())
			}
			in := rows(7, 8)
			got, err := s.Rows(in, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].Name != output || !cmp.Equal(got[0].Shape, []int64{7, 3}) {
				t.Fatalf("%s, %d rows: got %+v", output, fixed, got)
			}
			data := got[0].Data.([]float32)
			for r := range 7 {
				for c, want := range net.Answer(in[r*8 : r*8+8]) {
					if d := math.Abs(float64(data[r*3+c]) - want); d > 1e-5 {
						t.Errorf("%s, %d rows: row %d, column %d is %v, want %v", output, fixed, r, c, data[r*3+c], want)
					}
				}
			}
		}
	}
}

func TestRowsRefuses(t *testing.T) {
	net := infertest.Random(1, 8, 3)
	net.Rows = 2
	s := open(t, net.Bytes(), "")
	if _, err := s.Rows(rows(3, 8), 1); err == nil || !strings.Contains(err.Error(), "takes 2 rows at a time, of which 3 are no multiple") {
		t.Errorf("3 rows for a model of 2: %v", err)
	}
	if _, err := s.Rows(rows(1, 7), 1); err == nil || !strings.Contains(err.Error(), "7 numbers are no rows of 8") {
		t.Errorf("7 numbers for a model of 8: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := infertest.Random(1, 8, 3).Bytes()
	half := infertest.Graph{
		Inputs:  []infertest.Value{{Name: "x", Type: 10, Shape: []int64{-1, 2}}},
		Outputs: []infertest.Value{{Name: "y", Type: 10, Shape: []int64{-1, 2}}},
		Nodes:   []infertest.Node{{Op: "Identity", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}.Bytes()
	for _, c := range []struct {
		name        string
		model       []byte
		description string
		want        string
	}{
		{"nothing", nil, "", "has no model.onnx"},
		{"empty", []byte{}, "", "is empty"},
		{"garbage", []byte("this is no model"), "", "is no model that onnxruntime"},
		{"cut", good[:len(good)/2], "", "is it whole"},
		{"float16", half, "", "is of a datatype that is not served"},
		{"labels", good, `{"serving":{"task":"classification","labels":["a","b"]}}`, "has 2 names, but output probabilities has 3 classes"},
		{"features", good, `{"serving":{"task":"classification","features":["a","b"]}}`, "has 2 names, but input x takes 8 numbers a row"},
		{"task", good, `{"serving":{"task":"magic"}}`, `serving.task is "magic"`},
	} {
		s, err := Open(dir(t, c.model, c.description), Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	s := open(t, infertest.Random(1, 8, 3).Bytes(), `{"serving":{"task":"classification","labels":["a","b","c"]}}`)
	want := infer.ModelMetadata{
		Serving: &infer.Serving{Task: infer.TaskClassification, Labels: []string{"a", "b", "c"}},
		Name:    "m", Platform: "onnxruntime_onnx",
		Inputs:  []infer.TensorMetadata{{Name: "x", Datatype: infer.FP32, Shape: []int64{-1, 8}}},
		Outputs: []infer.TensorMetadata{{Name: "probabilities", Datatype: infer.FP32, Shape: []int64{-1, 3}}},
	}
	if diff := cmp.Diff(want, s.Metadata("m")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if s.Serving().Label(2) != "c" {
		t.Errorf("serving is %+v", s.Serving())
	}
}

// mixed has inputs and outputs of several datatypes: y = x + cast(n), s = s.
func mixed() []byte {
	return infertest.Graph{
		Inputs: []infertest.Value{
			{Name: "x", Type: infertest.Float, Shape: []int64{-1, 2}},
			{Name: "n", Type: infertest.Int64, Shape: []int64{-1, 1}},
			{Name: "s", Type: infertest.String, Shape: []int64{-1, 1}},
		},
		Outputs: []infertest.Value{
			{Name: "y", Type: infertest.Float, Shape: []int64{-1, 2}},
			{Name: "t", Type: infertest.String, Shape: []int64{-1, 1}},
		},
		Nodes: []infertest.Node{
			{Op: "Cast", Inputs: []string{"n"}, Outputs: []string{"f"}, Ints: map[string]int64{"to": infertest.Float}},
			{Op: "Add", Inputs: []string{"x", "f"}, Outputs: []string{"y"}},
			{Op: "Identity", Inputs: []string{"s"}, Outputs: []string{"t"}},
		},
	}.Bytes()
}

// The first dimension of a model may be something else than rows; then requests are not put
// together.
func TestJoins(t *testing.T) {
	value := func(name string, shape ...int64) infertest.Value {
		return infertest.Value{Name: name, Type: infertest.Float, Shape: shape}
	}
	for _, c := range []struct {
		name  string
		graph infertest.Graph
		want  bool
	}{
		{"each row by itself", infertest.Graph{
			Inputs: []infertest.Value{value("x", -1, 3)}, Outputs: []infertest.Value{value("y", -1, 3)},
			Nodes: []infertest.Node{{Op: "Softmax", Inputs: []string{"x"}, Outputs: []string{"y"}, Ints: map[string]int64{"axis": 1}}},
		}, true},
		{"rows depend on one another", infertest.Graph{
			Inputs: []infertest.Value{value("x", -1, 3)}, Outputs: []infertest.Value{value("y", -1, 3)},
			Nodes: []infertest.Node{{Op: "Softmax", Inputs: []string{"x"}, Outputs: []string{"y"}, Ints: map[string]int64{"axis": 0}}},
		}, false},
		{"an output without rows", infertest.Graph{
			Inputs: []infertest.Value{value("x", -1, 3)}, Outputs: []infertest.Value{value("y", -1, 3)},
			Nodes: []infertest.Node{{Op: "ReduceMax", Inputs: []string{"x"}, Outputs: []string{"y"}, Ints: map[string]int64{"keepdims": 1}}},
		}, false},
	} {
		if got := open(t, c.graph.Bytes(), "").Joins(); got != c.want {
			t.Errorf("%s: joins is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRunMixed(t *testing.T) {
	s := open(t, mixed(), "")
	if !s.Joins() {
		t.Error("rows of this model can be joined")
	}
	given := func(x float64, n int64, text string) []infer.Tensor {
		return []infer.Tensor{
			{Name: "s", Datatype: infer.Bytes, Shape: []int64{1, 1}, Data: [][]byte{[]byte(text)}},
			{Name: "x", Datatype: infer.FP64, Shape: []int64{1, 2}, Data: []float64{x, x}},
			{Name: "n", Datatype: infer.Int64, Shape: []int64{1, 1}, Data: []int64{n}},
		}
	}
	var parts [][]infer.Tensor
	for _, g := range [][]infer.Tensor{given(1, 2, "a"), given(10, 20, "bc")} {
		in, rows, err := s.Match(g)
		if err != nil || rows != 1 {
			t.Fatalf("match: %d rows, %v", rows, err)
		}
		parts = append(parts, in)
	}
	if !Fellow(parts[0], parts[1]) {
		t.Error("they are fellows")
	}
	out, err := s.Run(Join(parts))
	if err != nil {
		t.Fatal(err)
	}
	want := []infer.Tensor{
		{Name: "y", Datatype: infer.FP32, Shape: []int64{1, 2}, Data: []float32{30, 30}},
		{Name: "t", Datatype: infer.Bytes, Shape: []int64{1, 1}, Data: [][]byte{[]byte("bc")}},
	}
	if diff := cmp.Diff(want, Slice(out, 1, 2)); diff != "" {
		t.Errorf("second row (-want +got):\n%s", diff)
	}
}

func TestMatchRefuses(t *testing.T) {
	s := open(t, mixed(), "")
	x := infer.New("x", []float32{1, 2}, 1, 2)
	n := infer.Tensor{Name: "n", Datatype: infer.Int64, Shape: []int64{1, 1}, Data: []int64{1}}
	text := infer.Tensor{Name: "s", Datatype: infer.Bytes, Shape: []int64{1, 1}, Data: [][]byte{{}}}
	two := infer.Tensor{Name: "n", Datatype: infer.Int64, Shape: []int64{2, 1}, Data: []int64{1, 2}}
	float := infer.Tensor{Name: "n", Datatype: infer.FP32, Shape: []int64{1, 1}, Data: []float32{1}}
	words := infer.Tensor{Name: "x", Datatype: infer.Bytes, Shape: []int64{1, 2}, Data: [][]byte{{}, {}}}
	for _, c := range []struct {
		given []infer.Tensor
		want  string
	}{
		{nil, `inputs lacks "x"; this model takes "x" of datatype FP32 and shape [-1 2], "n"`},
		{[]infer.Tensor{infer.New("z", []float32{1}, 1)}, `inputs[0].name is "z"; this model takes "x"`},
		{[]infer.Tensor{x, x}, `inputs[1].name is "x", which is given twice`},
		{[]infer.Tensor{infer.New("x", []float32{1, 2, 3}, 1, 3)}, "input x has shape [1 3]; expected [-1 2]"},
		{[]infer.Tensor{x, two, text}, "input n has 2 rows, but x has 1"},
		{[]infer.Tensor{x, float, text}, "input n has datatype FP32; expected INT64"},
		{[]infer.Tensor{words, n, text}, "holds no numbers"},
	} {
		_, _, err := s.Match(c.given)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error with %q", c.given, err, c.want)
		}
	}
}

func TestNaN(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		in   infer.Tensor
		want int
	}{
		{infer.New("y", []float32{1, 2, 3, nan}, 2, 2), 1},
		{infer.New("y", []float32{nan, 2, 3, 4}, 2, 2), 0},
		{infer.New("y", []float32{1, 2}, 1, 2), -1},
		{infer.Tensor{Datatype: infer.Int64, Shape: []int64{1}, Data: []int64{1}}, -1},
	} {
		if got := NaN(&c.in); got != c.want {
			t.Errorf("NaN of %v is %d, want %d", c.in.Data, got, c.want)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	d := b.TempDir()
	if err := os.WriteFile(filepath.Join(d, infer.ModelFile), infertest.Random(1, 64, 32, 10).Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	s, err := Open(d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	in := []infer.Tensor{infer.New("x", rows(1, 64), 1, 64)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Run(in); err != nil {
			b.Fatal(err)
		}
	}
}
