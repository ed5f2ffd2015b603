// Package outline reads the texts that vendors' smi programs print: lines of
// "Key : value" and headings, each below the last line before it that is indented
// less. The rooms of vendors below device import it.
//
// Any text gives an outline, if only an empty one; what a program means by it, its
// room knows. It reads no more than linesMax lines.
package outline

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// linesMax is more than any program prints of any machine we know.
const linesMax = 100_000

// Line is a line of a text and what is below it. All of its methods may be called of
// nil, which is a line that is not there.
type Line struct {
	// Key is what stands before the colon, or the whole line if it has none.
	Key string
	// Value is what stands behind the colon.
	Value string
	// Lines below it, in their order.
	Lines []*Line
}

// Read returns a line without a key that the whole text is below.
func Read(text []byte) *Line {
	root := &Line{}
	type open struct {
		line   *Line
		indent int
	}
	stack := []open{{root, -1}}
	n := 0
	for s := range strings.Lines(strings.ToValidUTF8(string(text), "")) {
		body := strings.TrimSpace(s)
		if body == "" {
			continue
		}
		if n++; n > linesMax {
			break
		}
		indent := len(s) - len(strings.TrimLeft(s, " \t"))
		for stack[len(stack)-1].indent >= indent {
			stack = stack[:len(stack)-1]
		}
		l := &Line{}
		l.Key, l.Value = split(body)
		above := stack[len(stack)-1].line
		above.Lines = append(above.Lines, l)
		stack = append(stack, open{l, indent})
	}
	return root
}

// split cuts a line at its first colon with a space or nothing behind it: other
// colons are those of PCI addresses.
func split(s string) (key, value string) {
	for i := range len(s) {
		if s[i] == ':' && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\t') {
			return strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:])
		}
	}
	return s, ""
}

// Below returns the lines below l whose keys begin so.
func (l *Line) Below(prefix string) []*Line {
	if l == nil {
		return nil
	}
	var out []*Line
	for _, x := range l.Lines {
		if strings.HasPrefix(x.Key, prefix) {
			out = append(out, x)
		}
	}
	return out
}

// Find goes down by keys, at each to the first line that has it; nil if there is none.
func (l *Line) Find(keys ...string) *Line {
	for _, k := range keys {
		if l == nil {
			return nil
		}
		i := slices.IndexFunc(l.Lines, func(x *Line) bool { return x.Key == k })
		if i < 0 {
			return nil
		}
		l = l.Lines[i]
	}
	return l
}

// Text is the value of the line that Find returns; "" if there is none, and for the
// words that programs write for what they do not know.
func (l *Line) Text(keys ...string) string {
	x := l.Find(keys...)
	if x == nil || slices.Contains([]string{"N/A", "[N/A]", "Unknown", "-"}, x.Value) {
		return ""
	}
	return x.Value
}

// Number is the value of the line that Find returns, which must be a number of one of
// these units ("MiB", "%", or "" for a bare number); nil if it is none.
func (l *Line) Number(units []string, keys ...string) *float64 {
	number, unit, _ := strings.Cut(l.Text(keys...), " ")
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || !slices.Contains(units, strings.TrimSpace(unit)) {
		return nil
	}
	return &v
}

// Bytes is the value of the line that Find returns, which must be a number of MiB, in
// bytes; nil if it is none or not below a PiB.
func (l *Line) Bytes(keys ...string) *int64 {
	v := l.Number([]string{"MiB"}, keys...)
	if v == nil || *v < 0 || *v >= 1<<30 {
		return nil
	}
	return new(int64(*v * (1 << 20)))
}

// Count is the value of the line that Find returns, which must be a whole number; nil if
// it is none or too large to have been counted.
func (l *Line) Count(keys ...string) *int64 {
	v := l.Number([]string{""}, keys...)
	if v == nil || *v < 0 || *v >= 1<<40 || *v != math.Trunc(*v) {
		return nil
	}
	return new(int64(*v))
}

// Share is the value of the line that Find returns, which must be a number of percent,
// from 0 to 1; nil if it is none or beyond.
func (l *Line) Share(keys ...string) *float64 {
	v := l.Number([]string{"%"}, keys...)
	if v == nil || *v < 0 || *v > 100 {
		return nil
	}
	return new(*v / 100)
}
