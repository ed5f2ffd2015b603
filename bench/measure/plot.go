package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
)

// series is how one number grows with another.
type series struct {
	name string
	x, y []float64 // above 0
}

// growth is a picture of series on logarithmic axes.
type growth struct {
	title, x, y string // what the axes are, with their units
	of          []series
}

// The picture, in points.
const (
	plotWidth, plotHeight   = 760, 400
	plotLeft, plotTop       = 70, 40
	plotRight, plotDown     = 200, 50
	innerWidth, innerHeight = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotDown
)

// ink tells curves apart, for who sees no red or no green as well (Okabe and Ito).
var ink = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// draw writes the picture, if a folder for pictures was named.
func (b *bench) draw(file string, g growth) error {
	if b.pictures == "" {
		return nil
	}
	if err := os.MkdirAll(b.pictures, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.pictures, file), g.svg(), 0o644)
}

func (g growth) svg() []byte {
	var out bytes.Buffer
	left, right := ends(g.of, func(s series) []float64 { return s.x })
	low, high := ends(g.of, func(s series) []float64 { return s.y })
	at := func(x, y float64) (float64, float64) {
		return plotLeft + innerWidth*(math.Log10(x)-left)/(right-left), plotTop + innerHeight*(1-(math.Log10(y)-low)/(high-low))
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n"+`<text x="%d" y="20" font-size="14">%s</text>`+"\n", plotWidth, plotHeight, plotLeft, html.EscapeString(g.title))
	for e := low; e <= high; e++ {
		x, y := at(math.Pow10(int(left)), math.Pow10(int(e)))
		fmt.Fprintf(&out, `<path d="M%.1f %.1fh%d" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%g</text>`+"\n", x, y, innerWidth, x-6, y+4, math.Pow10(int(e)))
	}
	for e := left; e <= right; e++ {
		x, y := at(math.Pow10(int(e)), math.Pow10(int(low)))
		fmt.Fprintf(&out, `<path d="M%.1f %.1fv-%d" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="middle">%.0f</text>`+"\n", x, y, innerHeight, x, y+16, math.Pow10(int(e)))
	}
	fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", plotLeft+innerWidth/2, plotHeight-12, html.EscapeString(g.x))
	fmt.Fprintf(&out, `<text x="%d" y="%d">%s</text>`+"\n", plotLeft, plotTop-6, html.EscapeString(g.y))
	for i, s := range g.of {
		colour := ink[i%len(ink)]
		fmt.Fprintf(&out, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, colour)
		for k := range s.x {
			x, y := at(s.x[k], s.y[k])
			fmt.Fprintf(&out, "%c%.1f %.1f", "ML"[min(k, 1)], x, y)
		}
		fmt.Fprintln(&out, `"/>`)
		for k := range s.x {
			x, y := at(s.x[k], s.y[k])
			fmt.Fprintf(&out, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%.4g, %.4g</title></circle>`+"\n", x, y, colour, s.x[k], s.y[k])
		}
		y := plotTop + 12 + 18*i
		fmt.Fprintf(&out, `<path d="M%d %dh20" stroke="%s" stroke-width="3"/><text x="%d" y="%d">%s</text>`+"\n", plotWidth-plotRight+12, y, colour, plotWidth-plotRight+38, y+4, html.EscapeString(s.name))
	}
	fmt.Fprintln(&out, "</svg>")
	return out.Bytes()
}

// ends are the powers of ten around all values.
func ends(all []series, of func(series) []float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range all {
		for _, v := range of(s) {
			low, high = min(low, math.Floor(math.Log10(v))), max(high, math.Ceil(math.Log10(v)))
		}
	}
	return low, max(high, low+1)
}
