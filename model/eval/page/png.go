package page

import (
	"fmt"
	"image"
	imagecolor "image/color"
	"image/png"
	"io"
	"math"
	"strings"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"polder.dev/polder/model/eval"
)

// zoom is how many pixels a point has.
const zoom = 2

// palette of pictures, which are light.
var palette = map[color]imagecolor.NRGBA{
	ink: {0x1f, 0x24, 0x30, 0xff}, muted: {0x6b, 0x72, 0x80, 0xff}, grid: {0xe3, 0xe6, 0xeb, 0xff}, good: {0x15, 0x7f, 0x4b, 0xff}, bad: {0xc0, 0x36, 0x2c, 0xff},
	"s0": {0x25, 0x63, 0xc9, 0xff}, "s1": {0xd9, 0x5f, 0x1e, 0xff}, "s2": {0x12, 0x8c, 0x6e, 0xff}, "s3": {0x7a, 0x4f, 0xc4, 0xff},
	"s4": {0xb0, 0x86, 0x00, 0xff}, "s5": {0xc2, 0x3b, 0x7d, 0xff}, "s6": {0x1b, 0x8f, 0xb5, 0xff}, "s7": {0x6b, 0x72, 0x80, 0xff},
}

// fonts are the letters that are built in.
var fonts = sync.OnceValue(func() (out [2]*opentype.Font) {
	for i, b := range [][]byte{goregular.TTF, gobold.TTF} {
		f, err := opentype.Parse(b)
		if err != nil {
			panic("page: the fonts that are built in cannot be read: " + err.Error())
		}
		out[i] = f
	}
	return out
})

func face(size float64, bold bool) font.Face {
	i := 0
	if bold {
		i = 1
	}
	f, err := opentype.NewFace(fonts()[i], &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic("page: a font has no size " + n(size))
	}
	return f
}

// advances are how wide the built-in letters are, in thousandths of their size.
var advances = sync.OnceValue(func() map[rune]float64 {
	const size = 1000
	f := face(size, false)
	defer f.Close()
	out := map[rune]float64{}
	for c := rune(' '); c < 0x2600; c++ {
		if a, ok := f.GlyphAdvance(c); ok {
			out[c] = float64(a) / 64 / size
		}
	}
	return out
})

// measure is how wide words are, about: other letters than the built-in ones are as wide
// as they are high.
func measure(s string, size float64) float64 {
	out, known := 0.0, advances()
	for _, c := range s {
		if a, ok := known[c]; ok {
			out += a * size
		} else {
			out += size
		}
	}
	return out
}

// fit cuts words to a width.
func fit(s string, size, most float64) string {
	s = short(s, 200)
	if measure(s, size) <= most {
		return s
	}
	r := []rune(s)
	wide := measure(s, size) + measure("…", size)
	for len(r) > 1 && wide > most {
		wide -= measure(string(r[len(r)-1]), size)
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// wrap breaks words into lines of a width.
func wrap(s string, size, most float64) []string {
	var out []string
	line := ""
	for _, w := range strings.Fields(s) {
		w = fit(w, size, most)
		if line != "" && measure(line+" "+w, size) > most {
			out, line = append(out, line), ""
		}
		line = strings.TrimSpace(line + " " + w)
	}
	return append(out, line)
}

// raster is a canvas of pixels.
type raster struct{ to *image.NRGBA }

// fill paints what draw outlines, which lies within x to x+w and y to y+h. The outline is
// in pixels from that corner.
func (p *raster) fill(x, y, w, h float64, c color, opacity float64, draw func(z *outline)) {
	box := image.Rect(int(math.Floor(x*zoom))-1, int(math.Floor(y*zoom))-1, int(math.Ceil((x+w)*zoom))+1, int(math.Ceil((y+h)*zoom))+1)
	z := &outline{vector.NewRasterizer(box.Dx(), box.Dy()), float64(box.Min.X), float64(box.Min.Y)}
	draw(z)
	of := palette[c]
	of.A = uint8(255 * min(max(opacity, 0), 1))
	z.r.Draw(p.to, box, image.NewUniform(of), image.Point{})
}

// outline takes points of a canvas.
type outline struct {
	r    *vector.Rasterizer
	x, y float64
}

func (o *outline) at(x, y float64) (float32, float32) {
	return float32(x*zoom - o.x), float32(y*zoom - o.y)
}

func (o *outline) polygon(points ...float64) {
	for i := 0; i+1 < len(points); i += 2 {
		x, y := o.at(points[i], points[i+1])
		if i == 0 {
			o.r.MoveTo(x, y)
		} else {
			o.r.LineTo(x, y)
		}
	}
	o.r.ClosePath()
}

// circle of four curves; a hole goes round the other way.
func (o *outline) circle(x, y, r float64, hole bool) {
	const k = 0.5522847498
	turn := 1.0
	if hole {
		turn = -1
	}
	curve := func(ax, ay, bx, by, cx, cy float64) {
		px, py := o.at(x+ax*r, y+turn*ay*r)
		qx, qy := o.at(x+bx*r, y+turn*by*r)
		ex, ey := o.at(x+cx*r, y+turn*cy*r)
		o.r.CubeTo(px, py, qx, qy, ex, ey)
	}
	o.r.MoveTo(o.at(x+r, y))
	curve(1, k, k, 1, 0, 1)
	curve(-k, 1, -1, k, -1, 0)
	curve(-1, -k, -k, -1, 0, -1)
	curve(k, -1, 1, -k, 1, 0)
	o.r.ClosePath()
}

func (p *raster) line(x1, y1, x2, y2, thick float64, c color) {
	length := math.Hypot(x2-x1, y2-y1)
	if length == 0 {
		return
	}
	dx, dy := (y2-y1)/length*thick/2, (x1-x2)/length*thick/2
	p.fill(min(x1, x2)-thick, min(y1, y2)-thick, math.Abs(x2-x1)+2*thick, math.Abs(y2-y1)+2*thick, c, 1, func(z *outline) {
		z.polygon(x1+dx, y1+dy, x2+dx, y2+dy, x2-dx, y2-dy, x1-dx, y1-dy)
	})
}

func (p *raster) path(points []float64, thick float64, c color) {
	for i := 0; i+3 < len(points); i += 2 {
		p.line(points[i], points[i+1], points[i+2], points[i+3], thick, c)
		p.dot(points[i+2], points[i+3], thick/2, c, true) // round corners
	}
}

func (p *raster) rect(x, y, w, h float64, c color, opacity float64) {
	if w > 0 && h > 0 {
		p.fill(x, y, w, h, c, opacity, func(z *outline) { z.polygon(x, y, x+w, y, x+w, y+h, x, y+h) })
	}
}

func (p *raster) dot(x, y, r float64, c color, filled bool) {
	p.fill(x-r, y-r, 2*r, 2*r, c, 1, func(z *outline) {
		z.circle(x, y, r, false)
		if !filled {
			z.circle(x, y, r-1.5, true)
		}
	})
}

func (p *raster) text(x, y, size float64, a anchor, c color, bold bool, s string) {
	f := face(size*zoom, bold)
	defer f.Close()
	d := font.Drawer{Dst: p.to, Src: image.NewUniform(palette[c]), Face: f}
	at := x * zoom
	switch w := float64(d.MeasureString(s)) / 64; a {
	case middle:
		at -= w / 2
	case end:
		at -= w
	}
	d.Dot = fixed.Point26_6{X: fixed.Int26_6(at * 64), Y: fixed.Int26_6(y * zoom * 64)}
	d.DrawString(s)
}

// PNG writes r as a picture.
func PNG(w io.Writer, r *eval.Report) error {
	t := wordsOf(English)
	blocks := append([]block{heading(pageOf(r, t))}, plots(r, t)...)
	const margin, gap, head = 36, 30, 46
	height := 2.0 * margin
	for i, b := range blocks {
		height += b.height
		if i > 0 {
			height += gap + head
		}
	}
	img := image.NewNRGBA(image.Rect(0, 0, (width+2*margin)*zoom, int(height)*zoom))
	for i := range img.Pix {
		img.Pix[i] = 0xff
	}
	c := &raster{img}
	y := float64(margin)
	for i, b := range blocks {
		if i > 0 {
			y += gap
			c.text(margin, y+14, 16, start, ink, true, b.title)
			c.text(margin, y+32, small, start, muted, false, fit(b.about, small, width))
			y += head
		}
		b.draw(moved{c, margin, y})
		y += b.height
	}
	if err := png.Encode(w, img); err != nil {
		return fmt.Errorf("writing picture: %w", err)
	}
	return nil
}

// heading is the verdict and the table, which a page has in HTML.
func heading(p *sheet) block {
	type line struct {
		size  float64
		of    color
		bold  bool
		words string
	}
	lines := []line{{24, ink, true, fit(p.Title, 24, width)}}
	if p.Judged != "" {
		of := bad
		if p.Good {
			of = good
		}
		lines = append(lines, line{16, of, true, p.Judged})
	}
	for _, v := range p.Verdict {
		of := map[string]color{eval.Better: good, eval.Worse: bad}[v.Kind]
		if of == "" {
			of = ink
		}
		for _, l := range wrap(v.Text, 14, width) {
			lines = append(lines, line{14, of, false, l})
		}
	}
	for _, q := range p.Requirements {
		mark, of := "not met: ", bad
		if q.Met {
			mark, of = "met: ", muted
		}
		lines = append(lines, line{label, of, false, fit(mark+q.Text, label, width)})
	}
	top := 0.0
	for _, l := range lines {
		top += l.size * 1.6
	}
	const rowOf = 38
	height := top + 20 + 24 + float64(len(p.Rows))*rowOf
	return block{height: height, draw: func(c canvas) {
		y := 0.0
		for _, l := range lines {
			y += l.size * 1.6
			c.text(0, y-l.size*0.4, l.size, start, l.of, l.bold, l.words)
		}
		y += 20
		n := max(len(p.Head)-1, 1)
		column := (width - left) / float64(n)
		for i, h := range p.Head {
			if i == 0 {
				c.text(0, y+14, label, start, muted, true, h)
			} else {
				c.text(left+float64(i)*column, y+14, label, end, ink, true, fit(h, label, column-12))
			}
		}
		y += 24
		for _, row := range p.Rows {
			c.line(0, y, width, y, 1, grid)
			c.text(0, y+17, label, start, ink, false, fit(row.Name, label, left-8))
			for i, v := range row.Cells {
				x := left + float64(i+1)*column
				c.text(x, y+17, label+1, end, ink, true, v.Value)
				c.text(x, y+31, small-1, end, muted, false, fit(v.Interval, small-1, column-12))
			}
			y += rowOf
		}
	}}
}
