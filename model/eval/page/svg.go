package page

import (
	"bytes"
	"fmt"
	"html"
	"strconv"
)

// svg is a canvas that becomes a part of a page. Colors are classes of the page.
type svg struct{ out bytes.Buffer }

func n(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// r rounds to a hundredth, which nobody sees.
func r(v float64) string { return n(float64(int64(v*100+0.5*sign(v))) / 100) }

func sign(v float64) float64 {
	if v < 0 {
		return -1
	}
	return 1
}

func (s *svg) line(x1, y1, x2, y2, thick float64, c color) {
	fmt.Fprintf(&s.out, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="l %s" stroke-width="%s"/>`, r(x1), r(y1), r(x2), r(y2), c, r(thick))
}

func (s *svg) path(points []float64, thick float64, c color) {
	if len(points) < 4 {
		return
	}
	fmt.Fprintf(&s.out, `<polyline class="l %s" stroke-width="%s" points="`, c, r(thick))
	for i, v := range points {
		if i > 0 {
			s.out.WriteByte(' ')
		}
		s.out.WriteString(r(v))
	}
	s.out.WriteString(`"/>`)
}

func (s *svg) rect(x, y, w, h float64, c color, opacity float64) {
	fmt.Fprintf(&s.out, `<rect x="%s" y="%s" width="%s" height="%s" class="f %s" fill-opacity="%s"/>`, r(x), r(y), r(max(w, 0)), r(max(h, 0)), c, r(opacity))
}

func (s *svg) dot(x, y, radius float64, c color, filled bool) {
	class := "f"
	if !filled {
		class = "h"
	}
	fmt.Fprintf(&s.out, `<circle cx="%s" cy="%s" r="%s" class="%s %s"/>`, r(x), r(y), r(radius), class, c)
}

func (s *svg) text(x, y, size float64, a anchor, c color, bold bool, words string) {
	weight := ""
	if bold {
		weight = ` font-weight="600"`
	}
	fmt.Fprintf(&s.out, `<text x="%s" y="%s" font-size="%s" text-anchor="%s" class="f %s"%s>%s</text>`, r(x), r(y), r(size), a, c, weight, html.EscapeString(words))
}

// page is the picture as an element of a page.
func (s *svg) page(w, h float64, title string) string {
	return fmt.Sprintf(`<svg viewBox="0 0 %s %s" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">%s</svg>`, n(w), n(h), html.EscapeString(title), s.out.String())
}
