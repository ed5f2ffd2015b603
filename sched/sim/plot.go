package sim

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
)

// Curve is a run to draw, and what to call it.
type Curve struct {
	Name   string
	Result Result
}

// The picture, in points. The colours are told apart by who sees no red or no green
// as well (Okabe and Ito's), and repeat after the last.
const (
	plotWidth, panelHeight            = 860, 280
	marginLeft, marginTop, marginDown = 60, 34, 42
	marginRight                       = 230
)

func colours() []string {
	return []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}
}

// panel is one of the two diagrams.
type panel struct {
	title string
	top   int
	of    func(Bucket) float64
	x, y  float64 // the most of each
}

// Plot draws allocation and fragmentation over what had arrived, as SVG.
func Plot(w io.Writer, title string, curves []Curve) error {
	out := bufio.NewWriter(w)
	height := 2*panelHeight + 30
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(out, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	fmt.Fprintf(out, `<text x="%d" y="20" font-size="14">%s</text>`+"\n", marginLeft, html.EscapeString(title))
	for _, p := range []panel{
		{title: "allocated, % of devices", top: 30, of: func(b Bucket) float64 { return b.Allocation }},
		{title: "fragmented, % of devices", top: 30 + panelHeight, of: func(b Bucket) float64 { return b.Fragmentation }},
	} {
		p.fit(curves)
		p.axes(out)
		for i, c := range curves {
			p.curve(out, c, i)
		}
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

// fit chooses the ends of the axes.
func (p *panel) fit(curves []Curve) {
	p.x, p.y = 10, 5
	for _, c := range curves {
		for _, b := range c.Result.Buckets {
			p.x, p.y = max(p.x, float64(b.Arrived)), max(p.y, p.of(b))
		}
	}
	p.x, p.y = step(p.x)*math.Ceil(p.x/step(p.x)), step(p.y)*math.Ceil(p.y/step(p.y))
}

// step is a round distance for at most ten marks up to most.
func step(most float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(most/10)))
	for _, f := range []float64{1, 2, 5} {
		if most/(unit*f) <= 10 {
			return unit * f
		}
	}
	return unit * 10
}

func (p *panel) at(x, y float64) (float64, float64) {
	width, height := float64(plotWidth-marginLeft-marginRight), float64(panelHeight-marginTop-marginDown)
	return marginLeft + x/p.x*width, float64(p.top+marginTop) + (1-y/p.y)*height
}

func (p *panel) axes(out io.Writer) {
	fmt.Fprintf(out, `<text x="%d" y="%d">%s</text>`+"\n", marginLeft, p.top+marginTop-8, p.title)
	for y := 0.0; y <= p.y; y += step(p.y) {
		x0, at := p.at(0, y)
		x1, _ := p.at(p.x, y)
		fmt.Fprintf(out, `<path d="M%.1f %.1fH%.1f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%g</text>`+"\n", x0, at, x1, x0-6, at+4, y)
	}
	for x := 0.0; x <= p.x; x += step(p.x) {
		at, y := p.at(x, 0)
		fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle">%g</text>`+"\n", at, y+16, x)
	}
	at, y := p.at(p.x/2, 0)
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle">arrived, %% of devices</text>`+"\n", at, y+32)
}

func (p *panel) curve(out io.Writer, c Curve, i int) {
	colour := colours()[i%len(colours())]
	fmt.Fprintf(out, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, colour)
	for k, b := range c.Result.Buckets {
		x, y := p.at(float64(b.Arrived), p.of(b))
		fmt.Fprintf(out, "%c%.1f %.1f", "ML"[min(k, 1)], x, y)
	}
	fmt.Fprintln(out, `"/>`)
	y := p.top + marginTop + 8 + 18*i
	fmt.Fprintf(out, `<path d="M%d %dh20" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n",
		plotWidth-marginRight+12, y, colour, plotWidth-marginRight+38, y+4, html.EscapeString(c.Name))
}
