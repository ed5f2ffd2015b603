// Package infertest writes small ONNX models, so that tests and benchmarks have some
// without a framework that trains them. Tests, bench and the tests of tools/onnx import
// it. It checks nothing: a graph that makes no sense is written as it was given.
package infertest

import (
	"encoding/binary"
	"math"
)

// The types of elements, of ONNX's enumeration.
const (
	Float  = 1
	Int64  = 7
	String = 8
	Double = 11
)

// Graph is a model.
type Graph struct {
	Inputs, Outputs []Value
	Weights         []Weight
	Nodes           []Node
}

// Value is an input or output. A dimension below 0 is any number, the same one wherever
// it is the first, as of rows.
type Value struct {
	Name  string
	Type  int
	Shape []int64
}

// Weight is a tensor that the model holds.
type Weight struct {
	Name  string
	Shape []int64
	Data  []float32
}

// Node is an operation.
type Node struct {
	Op      string
	Inputs  []string
	Outputs []string
	Ints    map[string]int64 // attributes that are integers
}

// opset and irVersion are old enough for every runtime, and new enough for the operations
// that tests use.
const (
	opset     = 13
	irVersion = 7
)

// Bytes is the model as a file, model.onnx.
func (g Graph) Bytes() []byte {
	var graph message
	for _, n := range g.Nodes {
		graph.message(1, n.message())
	}
	graph.bytes(2, []byte("infertest"))
	for _, w := range g.Weights {
		graph.message(5, w.message())
	}
	for _, v := range g.Inputs {
		graph.message(11, v.message())
	}
	for _, v := range g.Outputs {
		graph.message(12, v.message())
	}
	var model, operators message
	model.number(1, irVersion)
	model.message(7, graph)
	operators.number(2, opset)
	model.message(8, operators)
	return model
}

func (n Node) message() message {
	var m message
	for _, s := range n.Inputs {
		m.bytes(1, []byte(s))
	}
	for _, s := range n.Outputs {
		m.bytes(2, []byte(s))
	}
	m.bytes(4, []byte(n.Op))
	for name, v := range n.Ints {
		const isInt = 2
		var a message
		a.bytes(1, []byte(name))
		a.number(3, uint64(v))
		a.number(20, isInt)
		m.message(5, a)
	}
	return m
}

func (w Weight) message() message {
	var m message
	for _, d := range w.Shape {
		m.number(1, uint64(d))
	}
	m.number(2, Float)
	m.bytes(8, []byte(w.Name))
	var raw []byte
	for _, v := range w.Data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	m.bytes(9, raw)
	return m
}

func (v Value) message() message {
	var shape, tensor, kind, m message
	for i, d := range v.Shape {
		var dim message
		switch {
		case d >= 0:
			dim.number(1, uint64(d))
		case i == 0:
			dim.bytes(2, []byte("rows"))
		}
		shape.message(1, dim)
	}
	tensor.number(1, uint64(v.Type))
	tensor.message(2, shape)
	kind.message(1, tensor)
	m.bytes(1, []byte(v.Name))
	m.message(2, kind)
	return m
}

// message is one of Protocol Buffers, in the making.
type message []byte

func (m *message) number(field int, v uint64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, v)
}

func (m *message) bytes(field int, b []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(b)))
	*m = append(*m, b...)
}

func (m *message) message(field int, inner message) { m.bytes(field, inner) }
