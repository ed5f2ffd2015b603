package term

import (
	"fmt"
	"math"
	"strings"
)

// Curve draws values, one per step counted from 1, as a line of dots in a box of
// width by height characters, with the values' range on the left. Each character
// is a braille cell of 2 by 4 dots. Values that are no numbers are left out.
func Curve(values []float64, width, height int) string {
	return CurveOver(values, width, height, "1", fmt.Sprint(len(values)))
}

// CurveOver draws values that are spread evenly over a range, whose ends it names.
func CurveOver(values []float64, width, height int, first, last string) string {
	return curve(values, width, height, fmt.Sprintf("%s%*s", first, width-len(first), last))
}

// curve draws values over a line of text.
func curve(values []float64, width, height int, under string) string {
	lo, hi := bounds(values)
	if lo > hi || width < 1 || height < 1 {
		return ""
	}
	cells := make([][]rune, height)
	for i := range cells {
		cells[i] = make([]rune, width)
	}
	dots, rows := 2*width, 4*height
	last := -1
	for x := range dots {
		v := values[nearest(x, dots, len(values))]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			last = -1
			continue
		}
		y := rows - 1
		if hi > lo {
			y = int(math.Round(below(v, lo, hi) * float64(rows-1)))
		}
		from, to := y, y
		if last >= 0 { // join with the dot before
			from, to = min(y, last), max(y, last)
		}
		for at := from; at <= to; at++ {
			cells[at/4][x/2] |= dot[at%4][x%2]
		}
		last = y
	}
	var b strings.Builder
	for i, row := range cells {
		label := ""
		switch i {
		case 0:
			label = fmt.Sprintf("%.4g", hi)
		case height - 1:
			label = fmt.Sprintf("%.4g", lo)
		}
		fmt.Fprintf(&b, "%8s │", label)
		for _, c := range row {
			b.WriteRune(0x2800 + c) // the Unicode block of braille patterns
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%8s └%s\n%8s  %s\n", "", strings.Repeat("─", width), "", under)
	return b.String()
}

// below is how far v lies below hi, as a share of the range.
func below(v, lo, hi float64) float64 {
	if math.IsInf(hi-lo, 0) { // the range is wider than a number can say
		v, lo, hi = v/2, lo/2, hi/2
	}
	return (hi - v) / (hi - lo)
}

// dot is the bit of a braille cell's dot by row and column.
var dot = [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

func nearest(x, dots, n int) int {
	if dots < 2 {
		return 0
	}
	return int(math.Round(float64(x) / float64(dots-1) * float64(n-1)))
}

func bounds(values []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo, hi
}
