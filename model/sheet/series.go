package sheet

import (
	"fmt"
	"math"
	"slices"
)

// Shape of the windows that a series is cut into.
type Shape struct {
	// Lags is how many values, the present one among them, a row sees.
	Lags int
	// Horizon is how many steps ahead the value is that is asked for.
	Horizon int
	// Season is after how many steps the series is expected to repeat; 0: it has none.
	Season int
	// Held is the share of the steps, the last ones, that is judged by.
	Held float64
}

// Names of the columns that are forecasts by themselves.
const (
	ColumnLast       = "lag_0"
	ColumnSeasonAgo  = "season_ago"
	ColumnSeasonMean = "season_mean"
)

// Windows are rows of a series: to learn from, and to judge by.
type Windows struct {
	Train, Held *Sheet
	// Recipe is how a row is made of later values alike.
	Recipe Recipe
	// Controls are columns that are forecasts by themselves, with how wrong each is on the
	// rows to judge by, on average.
	Controls map[string]float64
}

// Cut makes rows of the series in a column: the latest values, what was a season before the
// step that is asked for, and what the step's place in the season has on average, taken
// from the steps to learn from; at the end, as label, the value itself. Other columns of
// numbers are seen as they are at the present step. No row to learn from sees, or asks
// for, a step that is judged by.
func (s *Sheet) Cut(column int, shape Shape) (*Windows, error) {
	series, others, names, err := s.series(column)
	if err != nil {
		return nil, err
	}
	if err := shape.check(); err != nil {
		return nil, err
	}
	first := max(shape.Lags-1, shape.Season-shape.Horizon)
	begin := int(math.Round(float64(len(series)) * (1 - shape.Held))) // of the steps to judge by
	if begin-shape.Horizon-first < 20 || len(series)-begin-shape.Horizon < 10 {
		return nil, fmt.Errorf("%d steps are too few: windows of %d values, %d ahead, with a season of %d, leave less than 20 of the earlier %d to learn from, or less than 10 of the rest to judge by",
			len(series), shape.Lags, shape.Horizon, shape.Season, begin)
	}
	means := seasonMeans(series[:begin], shape.Season)
	w := &Windows{Train: &Sheet{}, Held: &Sheet{}, Controls: map[string]float64{}}
	w.Train.Names = header(shape, names)
	w.Held.Names = w.Train.Names
	w.Recipe = Recipe{Column: s.Name(column), Lags: shape.Lags, Horizon: shape.Horizon, Season: shape.Season, Means: means, Others: names}
	count := 0
	for t := first; t+shape.Horizon < len(series); t++ {
		row, asked := window(series, others, means, t, shape), series[t+shape.Horizon]
		text := make([]string, 0, len(row)+1)
		for _, v := range append(row, asked) {
			text = append(text, format(v))
		}
		switch {
		case t+shape.Horizon < begin:
			w.Train.Rows = append(w.Train.Rows, text)
		case t >= begin:
			w.Held.Rows = append(w.Held.Rows, text)
			count++
			w.Controls[ColumnLast] += math.Abs(series[t] - asked)
			if shape.Season > 0 {
				w.Controls[ColumnSeasonAgo] += math.Abs(series[t+shape.Horizon-shape.Season] - asked)
				w.Controls[ColumnSeasonMean] += math.Abs(means[(t+shape.Horizon)%shape.Season] - asked)
			}
		}
	}
	for k := range w.Controls {
		w.Controls[k] /= float64(count)
	}
	return w, nil
}

// Recipe is how a row was made of a series, written down, so that the latest values can be
// made a row of alike.
type Recipe struct {
	// Column of the series, by name.
	Column  string `json:"column"`
	Lags    int    `json:"lags"`
	Horizon int    `json:"horizon"`
	Season  int    `json:"season,omitempty"`
	// Means of each place in the season; the first is that of the series' first step.
	Means []float64 `json:"means,omitempty"`
	// Others are columns that are seen as they are at the present step.
	Others []string `json:"others,omitempty"`
}

// Latest makes the row of the last step of s, whose first step has the same place in the
// season as that of the series that was learned from. It has no label: that is yet to come.
func (k *Recipe) Latest(s *Sheet) (*Sheet, error) {
	shape := Shape{Lags: k.Lags, Horizon: k.Horizon, Season: k.Season, Held: 0.5}
	if err := shape.check(); err != nil {
		return nil, err
	}
	if len(k.Means) != k.Season {
		return nil, fmt.Errorf("means: there are %d of a season of %d steps", len(k.Means), k.Season)
	}
	names := slices.Collect(columns(s))
	column := slices.Index(names, k.Column)
	if column < 0 {
		return nil, fmt.Errorf("there is no column %q; give the series that the model learned from, with its latest values", k.Column)
	}
	last, least := len(s.Rows)-1, max(k.Lags, k.Season-k.Horizon+1)
	if len(s.Rows) < least {
		return nil, fmt.Errorf("%d steps are too few; a row is made of the latest %d", len(s.Rows), least)
	}
	series := make([]float64, len(s.Rows))
	for t := len(s.Rows) - least; t <= last; t++ {
		v, ok := number(s.Rows[t][column])
		if !ok {
			return nil, fmt.Errorf("row %d, column %s: %.40q is not a number; a series has one at every step", t+1, k.Column, s.Rows[t][column])
		}
		series[t] = v
	}
	others := make([][]float64, len(k.Others))
	for i, n := range k.Others {
		c := slices.Index(names, n)
		if c < 0 {
			return nil, fmt.Errorf("there is no column %q, which the model takes", n)
		}
		v, ok := number(s.Rows[last][c])
		if !ok {
			return nil, fmt.Errorf("row %d, column %s: %.40q is not a number", last+1, n, s.Rows[last][c])
		}
		others[i] = make([]float64, len(s.Rows))
		others[i][last] = v
	}
	var row []string
	for _, v := range window(series, others, k.Means, last, shape) {
		row = append(row, format(v))
	}
	head := header(shape, k.Others)
	return &Sheet{Names: head[:len(head)-1], Rows: [][]string{row}}, nil
}

// check says which number of a shape cannot be.
func (s Shape) check() error {
	switch {
	case s.Lags < 1:
		return fmt.Errorf("%d lags: a forecast sees at least 1 value", s.Lags)
	case s.Horizon < 1:
		return fmt.Errorf("a horizon of %d: a forecast is at least 1 step ahead", s.Horizon)
	case s.Season < 0:
		return fmt.Errorf("a season of %d: give the steps after which the series repeats, or 0", s.Season)
	case !(s.Held > 0 && s.Held < 1):
		return fmt.Errorf("a part of %g to judge by is not between 0 and 1", s.Held)
	case s.Season > 0 && s.Horizon > s.Season:
		return fmt.Errorf("a horizon of %d is beyond the season of %d; give a horizon within it, or the season 0", s.Horizon, s.Season)
	}
	return nil
}

// series takes the column that is asked about, and all others that hold numbers alone.
func (s *Sheet) series(column int) (series []float64, others [][]float64, names []string, err error) {
	series = make([]float64, len(s.Rows))
	for i, r := range s.Rows {
		v, ok := number(r[column])
		if !ok {
			return nil, nil, nil, fmt.Errorf("row %d, column %s: %.40q is not a number; a series has one at every step", i+1, s.Name(column), r[column])
		}
		series[i] = v
	}
other:
	for c := range s.Width() {
		if c == column {
			continue
		}
		values := make([]float64, len(s.Rows))
		for i, r := range s.Rows {
			v, ok := number(r[c])
			if !ok {
				continue other // a time, or a name
			}
			values[i] = v
		}
		others, names = append(others, values), append(names, s.Name(c))
	}
	return series, others, names, nil
}

func header(shape Shape, others []string) []string {
	var out []string
	for i := range shape.Lags {
		out = append(out, fmt.Sprintf("lag_%d", i))
	}
	if shape.Season > 0 {
		out = append(out, ColumnSeasonAgo, ColumnSeasonMean)
	}
	for _, n := range others {
		out = append(out, "now_"+n)
	}
	return append(out, labelName)
}

// window is what is seen at step t.
func window(series []float64, others [][]float64, means []float64, t int, shape Shape) []float64 {
	var out []float64
	for i := range shape.Lags {
		out = append(out, series[t-i])
	}
	if shape.Season > 0 {
		out = append(out, series[t+shape.Horizon-shape.Season], means[(t+shape.Horizon)%shape.Season])
	}
	for _, o := range others {
		out = append(out, o[t])
	}
	return out
}

// seasonMeans is what each place in the season has on average.
func seasonMeans(series []float64, season int) []float64 {
	out, n := make([]float64, season), make([]float64, season)
	if season == 0 {
		return out
	}
	for i, v := range series {
		out[i%season] += v
		n[i%season]++
	}
	for i := range out {
		out[i] /= max(n[i], 1)
	}
	return out
}
