package infertest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"polder.dev/polder/model/infer"
)

// Net is a network of dense layers with rectifiers between them: what a small specialist
// looks like. It takes rows of float32 called x.
type Net struct {
	Layers []Layer
	// Output is probabilities, logits or values.
	Output string
	// Rows that it takes at a time; 0: any number.
	Rows int64
}

// Layer has weights by input and output, and a bias by output.
type Layer struct {
	Weights [][]float32
	Bias    []float32
}

// Input is what the input of a Net is called.
const Input = "x"

// Random makes a Net of probabilities whose weights are drawn by seed. Sizes are the
// widths from the input to the output: 64, 32, 10 makes 2,410 parameters.
func Random(seed uint64, sizes ...int) Net {
	r := rand.New(rand.NewPCG(seed, 0))
	n := Net{Output: infer.OutputProbabilities}
	for i := 1; i < len(sizes); i++ {
		l := Layer{Bias: make([]float32, sizes[i])}
		for range sizes[i-1] {
			row := make([]float32, sizes[i])
			for k := range row {
				row[k] = float32(r.NormFloat64() / math.Sqrt(float64(sizes[i-1])))
			}
			l.Weights = append(l.Weights, row)
		}
		n.Layers = append(n.Layers, l)
	}
	return n
}

// Features is the width of a row.
func (n Net) Features() int { return len(n.Layers[0].Weights) }

// Bytes is the network as a file, model.onnx.
func (n Net) Bytes() []byte {
	rows := n.Rows
	if rows == 0 {
		rows = -1
	}
	width := func(l Layer) int64 { return int64(len(l.Bias)) }
	last := n.Layers[len(n.Layers)-1]
	g := Graph{
		Inputs:  []Value{{Input, Float, []int64{rows, int64(n.Features())}}},
		Outputs: []Value{{n.Output, Float, []int64{rows, width(last)}}},
	}
	at := Input
	for i, l := range n.Layers {
		w, b, y := fmt.Sprint("w", i), fmt.Sprint("b", i), fmt.Sprint("y", i)
		var flat []float32
		for _, row := range l.Weights {
			flat = append(flat, row...)
		}
		g.Weights = append(g.Weights, Weight{w, []int64{int64(len(l.Weights)), width(l)}, flat}, Weight{b, []int64{width(l)}, l.Bias})
		final := i == len(n.Layers)-1
		if final && n.Output != infer.OutputProbabilities {
			y = n.Output
		}
		g.Nodes = append(g.Nodes, Node{Op: "Gemm", Inputs: []string{at, w, b}, Outputs: []string{y}})
		at = y
		switch {
		case !final:
			at = fmt.Sprint("r", i)
			g.Nodes = append(g.Nodes, Node{Op: "Relu", Inputs: []string{y}, Outputs: []string{at}})
		case n.Output == infer.OutputProbabilities:
			g.Nodes = append(g.Nodes, Node{Op: "Softmax", Inputs: []string{y}, Outputs: []string{n.Output}, Ints: map[string]int64{"axis": 1}})
		}
	}
	return g.Bytes()
}

// Answer computes in Go what the network answers to one row.
func (n Net) Answer(row []float32) []float64 {
	at := make([]float64, len(row))
	for i, v := range row {
		at[i] = float64(v)
	}
	for i, l := range n.Layers {
		next := make([]float64, len(l.Bias))
		for k := range next {
			next[k] = float64(l.Bias[k])
			for j, v := range at {
				next[k] += v * float64(l.Weights[j][k])
			}
			if i < len(n.Layers)-1 {
				next[k] = max(next[k], 0)
			}
		}
		at = next
	}
	if n.Output == infer.OutputProbabilities {
		infer.Softmax(at)
	}
	return at
}
