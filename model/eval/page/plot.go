package page

import (
	"fmt"
	"math"
	"slices"

	"polder.dev/polder/model/eval"
)

// block is a plot with what is said of it.
type block struct {
	title, about string
	height       float64
	draw         func(canvas)
}

// Sizes of plots.
const (
	left      = 170 // of what has names at its left
	right     = 175 // of what has numbers at its right
	rowHeight = 26
	label     = 12 // size of letters
	small     = 11
)

// plots of a report, in their order.
func plots(r *eval.Report, t *words) []block {
	var out []block
	for _, b := range []*block{intervals(r, t), latencies(r, t), sliced(r, t), confidence(r, t), confusion(r, t)} {
		if b != nil {
			out = append(out, *b)
		}
	}
	return out
}

// intervals is a panel for each metric of quality.
func intervals(r *eval.Report, t *words) *block {
	var names []string
	for _, name := range eval.Metrics(r.Task, r.Metric == eval.Score) {
		if _, ok := r.Models[0].Metrics[name]; ok && (share(name) || name == eval.MAE || name == eval.RMSE || name == eval.Score) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	panel := float64(len(r.Models))*rowHeight + 56
	return &block{t.intervals, t.intervalsAbout, panel * float64(len(names)), func(c canvas) {
		for i, name := range names {
			interval(moved{c, 0, float64(i) * panel}, r, t, name)
		}
	}}
}

func interval(c canvas, r *eval.Report, t *words, metric string) {
	low, high := math.Inf(1), math.Inf(-1)
	for i := range r.Models {
		if m, ok := r.Models[i].Metrics[metric]; ok {
			low, high = reach(m, low, high)
		}
	}
	low, high = padded(low, high)
	s := scale{low, high, left, width - right}
	c.text(0, 14, label+1, start, ink, true, t.metricName(metric))
	bottom := 26 + float64(len(r.Models))*rowHeight
	axis(c, s, 24, bottom, func(v float64) string { return shown(metric, v) })
	for i := range r.Models {
		y := 26 + (float64(i)+0.5)*rowHeight
		c.text(0, y+4, label, start, ink, i == 0, fit(r.Models[i].Name, label, left-14))
		m, ok := r.Models[i].Metrics[metric]
		if !ok {
			c.text(width-right+12, y+4, small, start, muted, false, "–")
			continue
		}
		whisker(c, s, y, m, series(i), true)
		words := shown(metric, m.Value)
		if m.Low != nil {
			words += "  (" + fmt.Sprintf(t.interval, shown(metric, *m.Low), shown(metric, *m.High)) + ")"
		}
		c.text(width-right+12, y+4, small, start, ink, false, words)
	}
}

func reach(m eval.Metric, low, high float64) (float64, float64) {
	low, high = min(low, m.Value), max(high, m.Value)
	if m.Low != nil {
		low, high = min(low, *m.Low), max(high, *m.High)
	}
	return low, high
}

// padded leaves room beside a range, and is one where there is none.
func padded(low, high float64) (float64, float64) {
	if !(low <= high) {
		return 0, 1
	}
	pad := (high - low) * 0.08
	if pad == 0 {
		pad = max(math.Abs(low)*0.05, 0.01)
	}
	return low - pad, high + pad
}

// whisker is a value with its interval.
func whisker(c canvas, s scale, y float64, m eval.Metric, of color, filled bool) {
	if m.Low != nil {
		c.line(s.at(*m.Low), y, s.at(*m.High), y, 2.5, of)
		c.line(s.at(*m.Low), y-4, s.at(*m.Low), y+4, 1.5, of)
		c.line(s.at(*m.High), y-4, s.at(*m.High), y+4, 1.5, of)
	}
	c.dot(s.at(m.Value), y, 5, of, filled)
}

// axis draws a grid from top to bottom, with numbers below.
func axis(c canvas, s scale, top, bottom float64, words func(float64) string) {
	for _, v := range ticks(s.low, s.high, 5) {
		c.line(s.at(v), top, s.at(v), bottom, 1, grid)
		c.text(s.at(v), bottom+15, small, middle, muted, false, words(v))
	}
}

// latencies are histograms, one below the other.
func latencies(r *eval.Report, t *words) *block {
	low, high := math.Inf(1), math.Inf(-1)
	for i := range r.Models {
		if l := r.Models[i].Latency; l != nil && len(l.Bounds) > 0 {
			low, high = min(low, l.Bounds[0]), max(high, l.Bounds[len(l.Bounds)-1])
		}
	}
	if !(low > 0) || !(low <= high) {
		return nil
	}
	const each = 54
	s := scale{math.Floor(math.Log10(low) - 0.1), math.Ceil(math.Log10(high)), left, width - right}
	if s.high-s.low > 1 { // no need of whole powers
		s.low, s.high = math.Log10(low)-0.15, math.Log10(high)+0.05
	}
	bottom := float64(len(r.Models)) * each
	return &block{t.latency, t.latencyAbout, bottom + 26, func(c canvas) {
		for e := math.Floor(s.low); e <= s.high; e++ {
			for _, m := range []float64{1, 2, 5} {
				if x := e + math.Log10(m); x >= s.low && x <= s.high {
					c.line(s.at(x), 0, s.at(x), bottom, 1, grid)
					if m == 1 || s.high-s.low < 2 {
						c.text(s.at(x), bottom+16, small, middle, muted, false, seconds(m*math.Pow(10, e)))
					}
				}
			}
		}
		for i := range r.Models {
			latency(moved{c, 0, float64(i) * each}, &r.Models[i], s, each, series(i), i == 0)
		}
	}}
}

func latency(c canvas, m *eval.Model, s scale, height float64, of color, first bool) {
	base := height - 8
	c.line(left, base, width-right, base, 1, muted)
	c.text(0, base-4, label, start, ink, first, fit(m.Name, label, left-14))
	if m.Latency == nil || len(m.Latency.Bounds) == 0 {
		return
	}
	most := float64(max(slices.Max(m.Latency.Counts), 1))
	for i, n := range m.Latency.Counts[:len(m.Latency.Bounds)] {
		to := s.at(math.Log10(m.Latency.Bounds[i]))
		from := s.at(math.Log10(m.Latency.Bounds[i]) - 0.1)
		if h := float64(n) / most * (base - 8); n > 0 {
			c.rect(from+0.5, base-h, to-from-1, h, of, 0.75)
		}
	}
	p50, p99 := m.Metrics[eval.LatencyP50], m.Metrics[eval.LatencyP99]
	for _, v := range []eval.Metric{p50, p99} {
		if v.Value > 0 {
			x := s.at(math.Log10(v.Value))
			c.line(x, 4, x, base+4, 1.5, ink)
		}
	}
	c.text(width-right+12, base-18, small, start, ink, false, "50 %: "+seconds(p50.Value))
	c.text(width-right+12, base-3, small, start, ink, false, "99 %: "+seconds(p99.Value))
}

const slicesShown = 30

// sliced is the quality of the candidate, and of what it is compared with first.
func sliced(r *eval.Report, t *words) *block {
	all := r.Models[0].Slices
	if len(all) == 0 {
		return nil
	}
	n := min(len(all), slicesShown)
	models := min(len(r.Models), 2)
	low, high := math.Inf(1), math.Inf(-1)
	for k := range models {
		for i := range min(n, len(r.Models[k].Slices)) {
			if m, ok := r.Models[k].Slices[i].Metrics[r.Metric]; ok {
				low, high = reach(m, low, high)
			}
		}
	}
	low, high = padded(low, high)
	s := scale{low, high, left + 40, width - 90}
	height := 24 + float64(n)*rowHeight + 26
	if len(all) > n {
		height += 18
	}
	return &block{t.slices, t.slicesAbout, height, func(c canvas) {
		legend(c, 0, 12, r, models)
		bottom := 24 + float64(n)*rowHeight
		axis(c, s, 24, bottom, func(v float64) string { return shown(r.Metric, v) })
		for i, p := range all[:n] {
			y := 24 + (float64(i)+0.5)*rowHeight
			c.text(0, y+4, label, start, ink, false, fit(p.Column+" = "+p.Value, label, left+26))
			for k := range models {
				if k < models && i < len(r.Models[k].Slices) {
					if m, ok := r.Models[k].Slices[i].Metrics[r.Metric]; ok {
						whisker(c, s, y+float64(2*k-models+1)*4, m, series(k), !p.Few)
					}
				}
			}
			words := fmt.Sprintf("n = %d", p.Rows)
			c.text(width, y+4, small, end, muted, false, words)
		}
		if len(all) > n {
			c.text(0, bottom+34, small, start, muted, false, fmt.Sprintf(t.more, len(all)-n))
		}
	}}
}

// legend names models, from x on.
func legend(c canvas, x, y float64, r *eval.Report, models int) {
	for i := range min(models, len(r.Models)) {
		name := fit(r.Models[i].Name, label, 160)
		c.dot(x+5, y-4, 5, series(i), true)
		c.text(x+15, y, label, start, ink, false, name)
		x += 15 + measure(name, label) + 18
	}
}

// confidence has calibration at its left, and how right the surest answers are at its right.
func confidence(r *eval.Report, t *words) *block {
	some := false
	for i := range r.Models {
		some = some || len(r.Models[i].Calibration) > 0
	}
	if !some {
		return nil
	}
	const side, top = 300, 46
	return &block{t.calibration, t.calibrationAbout, side + top + 50, func(c canvas) {
		legend(c, 0, 12, r, len(r.Models))
		x, y := scale{0, 1, 50, 50 + side}, scale{0, 1, top + side, top}
		frame(c, x, y, t.confidence, t.right)
		c.line(x.at(0), y.at(0), x.at(1), y.at(1), 1, muted)
		for i := range r.Models {
			var points []float64
			for _, b := range r.Models[i].Calibration {
				points = append(points, x.at(b.Confidence), y.at(b.Accuracy))
				c.dot(x.at(b.Confidence), y.at(b.Accuracy), 3, series(i), true)
			}
			c.path(points, 2, series(i))
		}
		surest(c, r, t, scale{0, 1, width - 20 - side, width - 20}, top, side)
	}}
}

// surest draws the share of right answers among the surest ones.
func surest(c canvas, r *eval.Report, t *words, x scale, top, side float64) {
	curves := make([][]float64, len(r.Models))
	low := 1.0
	for i := range r.Models {
		curves[i] = coverage(r.Models[i].Answers)
		for j := 1; j < len(curves[i]); j += 2 {
			low = min(low, curves[i][j])
		}
	}
	y := scale{max(low-0.05, 0), 1, top + side, top}
	frame(c, x, y, t.answered, t.right)
	for i, points := range curves {
		out := make([]float64, len(points))
		for j, v := range points {
			if j%2 == 0 {
				out[j] = x.at(v)
			} else {
				out[j] = y.at(v)
			}
		}
		c.path(out, 2, series(i))
	}
}

// coverage is, for shares of the answers, the surest first, what share of these is right:
// x and y in turns.
func coverage(a *eval.Answers) []float64 {
	if a == nil || len(a.Margin) == 0 || len(a.Margin) != len(a.Correct) {
		return nil
	}
	by := make([]int, len(a.Margin))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(i, j int) int {
		switch {
		case a.Margin[i] > a.Margin[j]:
			return -1
		case a.Margin[i] < a.Margin[j]:
			return 1
		}
		return 0
	})
	const steps = 60
	var out []float64
	right, step := 0, max(len(by)/steps, 1)
	for k, i := range by {
		if a.Correct[i] {
			right++
		}
		if n := k + 1; n >= len(by)/20 && (n%step == 0 || n == len(by)) { // of a few nothing can be said
			out = append(out, float64(n)/float64(len(by)), float64(right)/float64(n))
		}
	}
	return out
}

// frame is the grid of a square plot.
func frame(c canvas, x, y scale, below, beside string) {
	for _, v := range ticks(x.low, x.high, 5) {
		c.line(x.at(v), y.from, x.at(v), y.to, 1, grid)
		c.text(x.at(v), y.from+15, small, middle, muted, false, digits(v, 3))
	}
	for _, v := range ticks(y.low, y.high, 5) {
		c.line(x.from, y.at(v), x.to, y.at(v), 1, grid)
		c.text(x.from-6, y.at(v)+4, small, end, muted, false, digits(v, 3))
	}
	c.text((x.from+x.to)/2, y.from+32, small, middle, muted, false, below)
	c.text(x.from, y.to-8, small, middle, muted, false, beside)
}

const classesShown = 16

// confusion of the candidate.
func confusion(r *eval.Report, t *words) *block {
	m, k := r.Models[0].Confusion, len(r.Data.Classes)
	if len(m) == 0 || k > classesShown || k < 2 {
		return nil
	}
	cell := min(44.0, (width-220)/float64(k))
	title := fmt.Sprintf(t.confusion, short(r.Models[0].Name, 40))
	return &block{title, t.confusionAbout, float64(k)*cell + 54, func(c canvas) {
		c.text(left-10, 38, small, end, muted, false, t.expected)
		c.text(left+float64(k)*cell/2, 12, small, middle, muted, false, t.predicted)
		for i, line := range m {
			sum := int64(0)
			for _, n := range line {
				sum += n
			}
			y := 46 + float64(i)*cell
			c.text(left-10, y+cell/2+4, label, end, ink, false, fit(r.Data.Classes[i], label, left-24))
			c.text(left+(float64(i)+0.5)*cell, 36, label, middle, ink, false, fit(r.Data.Classes[i], label, cell-4))
			for j, n := range line {
				confused(c, left+float64(j)*cell, y, cell, n, sum, i == j)
			}
		}
	}}
}

func confused(c canvas, x, y, cell float64, n, sum int64, right bool) {
	c.rect(x+1, y+1, cell-2, cell-2, grid, 0.6)
	if n == 0 {
		return
	}
	part, of := float64(n)/float64(max(sum, 1)), series(0)
	if !right {
		part, of = min(part*3, 1), bad // errors are few, and are what one looks for
	}
	c.rect(x+1, y+1, cell-2, cell-2, of, 0.15+0.6*part)
	c.text(x+cell/2, y+cell/2+4, small, middle, ink, right, fmt.Sprint(n))
}
