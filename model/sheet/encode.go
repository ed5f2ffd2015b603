package sheet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
)

// valuesMax is how many different words a column may have to be told apart by them.
const valuesMax = 32

// missing are words that say that a cell has no value.
var missing = []string{"", "na", "n/a", "nan", "null", "none", "?", "NA", "N/A", "NaN", "NULL", "None"}

// Encoder makes numbers of rows. It is learned from the rows that a model learns from, and
// written down, so that later rows can be made numbers of alike.
type Encoder struct {
	// Label is the column of right answers, by name.
	Label string `json:"label"`
	// Columns of features, in order.
	Columns []Encoding `json:"columns"`
	// Dropped are columns that tell nothing, and why.
	Dropped map[string]string `json:"dropped,omitempty"`
}

// Encoding is what becomes of one column: a number stays one, and of words each becomes a
// column that is 1 where the cell is that word. An empty cell becomes the median, and has
// a column that says so where there were empty cells to learn from.
type Encoding struct {
	Column string   `json:"column"`
	Median float64  `json:"median,omitempty"`
	Words  []string `json:"words,omitempty"`
	Gaps   bool     `json:"gaps,omitempty"`
}

// LearnEncoder learns how to make numbers of the rows of s.
func LearnEncoder(s *Sheet, label int) (*Encoder, error) {
	e := &Encoder{Label: s.Name(label), Dropped: map[string]string{}}
	for i := range s.Width() {
		if i == label {
			continue
		}
		c, why, err := learn(s, i)
		if err != nil {
			return nil, err
		}
		if why != "" {
			e.Dropped[s.Name(i)] = why
			continue
		}
		e.Columns = append(e.Columns, c)
	}
	if len(e.Columns) == 0 {
		return nil, errors.New("no column tells rows apart: all are empty, or the same in every row")
	}
	return e, nil
}

// learn learns one column; why says that it is of no use.
func learn(s *Sheet, i int) (c Encoding, why string, err error) {
	c.Column = s.Name(i)
	var numbers []float64
	words := map[string]int{}
	for _, r := range s.Rows {
		if slices.Contains(missing, r[i]) {
			c.Gaps = true
			continue
		}
		words[r[i]]++
		if v, ok := number(r[i]); ok {
			numbers = append(numbers, v)
		}
	}
	full := 0
	for _, n := range words {
		full += n
	}
	switch {
	case full == 0:
		return c, "it is empty", nil
	case len(words) == 1 && !c.Gaps:
		return c, "it is the same in every row", nil
	case len(numbers) == full:
		sort.Float64s(numbers)
		c.Median = numbers[len(numbers)/2]
		return c, "", nil
	case len(words) <= valuesMax:
		c.Words = slices.Sorted(maps.Keys(words))
		return c, "", nil
	case len(words)*10 >= full*9:
		return c, "almost every row has a word of its own there, as names and numbers of files do", nil
	}
	return c, "", fmt.Errorf("column %s has %d different words; at most %d can be told apart: group them, or take the column out", c.Column, len(words), valuesMax)
}

// Names of the columns that Apply makes, without the label.
func (e *Encoder) Names() []string {
	var out []string
	for _, c := range e.Columns {
		if c.Words == nil {
			out = append(out, c.Column)
		}
		for _, w := range c.Words {
			out = append(out, c.Column+"="+w)
		}
		if c.Gaps {
			out = append(out, c.Column+" missing")
		}
	}
	return out
}

// Apply makes numbers of s. A word that was not there to learn from is none of the words.
func (e *Encoder) Apply(s *Sheet) (*Sheet, error) {
	label, err := s.Column(e.Label)
	if err != nil && s.Names == nil {
		label, err = s.Width()-1, nil
	}
	if err != nil {
		return nil, err
	}
	at := make([]int, len(e.Columns))
	for i, c := range e.Columns {
		at[i] = slices.IndexFunc(slices.Collect(columns(s)), func(n string) bool { return n == c.Column })
		if at[i] < 0 {
			return nil, fmt.Errorf("there is no column %q", c.Column)
		}
	}
	out := &Sheet{Names: append(e.Names(), "label")}
	for n, r := range s.Rows {
		row := make([]string, 0, len(out.Names))
		for i, c := range e.Columns {
			if row, err = c.apply(row, r[at[i]]); err != nil {
				return nil, fmt.Errorf("row %d: %w", n+1, err)
			}
		}
		if slices.Contains(missing, r[label]) {
			return nil, fmt.Errorf("row %d has no label in column %s; take such rows out, or fill them in", n+1, e.Label)
		}
		out.Rows = append(out.Rows, append(row, r[label]))
	}
	return out, nil
}

func (c *Encoding) apply(row []string, cell string) ([]string, error) {
	gap := slices.Contains(missing, cell)
	if c.Words == nil {
		v, ok := number(cell)
		if gap {
			v = c.Median
		} else if !ok {
			return nil, fmt.Errorf("column %s: %.40q is not a number", c.Column, cell)
		}
		row = append(row, format(v))
	}
	for _, w := range c.Words {
		row = append(row, flag(cell == w))
	}
	if c.Gaps {
		row = append(row, flag(gap))
	}
	return row, nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func columns(s *Sheet) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range s.Width() {
			if !yield(s.Name(i)) {
				return
			}
		}
	}
}
