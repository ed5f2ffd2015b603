package page

import "math"

// width of a plot.
const width = 760

// A color is a role; a page has one for light and one for dark.
type color string

const (
	ink   color = "ink"
	muted color = "muted"
	grid  color = "grid"
	good  color = "good"
	bad   color = "bad"
)

// series is the color of a model, by its place in the report.
func series(i int) color { return color("s" + string(rune('0'+i%8))) }

// anchor of a text: where its point is.
type anchor string

const (
	start  anchor = "start"
	middle anchor = "middle"
	end    anchor = "end"
)

// A canvas is drawn on. Lengths are in points, from the upper left corner.
type canvas interface {
	line(x1, y1, x2, y2, thick float64, c color)
	// path is a line through points, x and y in turns.
	path(points []float64, thick float64, c color)
	rect(x, y, w, h float64, c color, opacity float64)
	// dot is filled, or a ring.
	dot(x, y, r float64, c color, filled bool)
	// text stands on its base line.
	text(x, y, size float64, a anchor, c color, bold bool, s string)
}

// moved draws elsewhere on a canvas.
type moved struct {
	to     canvas
	dx, dy float64
}

func (m moved) line(x1, y1, x2, y2, thick float64, c color) {
	m.to.line(x1+m.dx, y1+m.dy, x2+m.dx, y2+m.dy, thick, c)
}

func (m moved) path(points []float64, thick float64, c color) {
	out := make([]float64, len(points))
	for i, v := range points {
		out[i] = v + [2]float64{m.dx, m.dy}[i%2]
	}
	m.to.path(out, thick, c)
}

func (m moved) rect(x, y, w, h float64, c color, opacity float64) {
	m.to.rect(x+m.dx, y+m.dy, w, h, c, opacity)
}

func (m moved) dot(x, y, r float64, c color, filled bool) { m.to.dot(x+m.dx, y+m.dy, r, c, filled) }

func (m moved) text(x, y, size float64, a anchor, c color, bold bool, s string) {
	m.to.text(x+m.dx, y+m.dy, size, a, c, bold, s)
}

// scale maps values from low to high to places from and to.
type scale struct{ low, high, from, to float64 }

func (s scale) at(v float64) float64 {
	if s.high == s.low {
		return (s.from + s.to) / 2
	}
	return s.from + (min(max(v, s.low), s.high)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// ticks are round values within low and high, about n of them.
func ticks(low, high float64, n int) []float64 {
	span := high - low
	if !(span > 0) || math.IsInf(span, 0) || n < 1 {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10(span/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if span/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	var out []float64
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9 && len(out) < 50; i++ {
		out = append(out, i*step+0) // zero has one sign
	}
	return out
}
