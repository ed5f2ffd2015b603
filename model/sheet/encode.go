package sheet

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
)

// valuesMax is how many different words a column may have to be told apart by them.
const valuesMax = 32

// labelName is what the column of labels is called that Apply makes.
const labelName = "label"

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
	if err := distinct(append(e.Names(), labelName)); err != nil {
		return nil, fmt.Errorf("once words have columns of their own, and the outcome is called %s: %w", labelName, err)
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
// Rows that are to be scored have no labels: without that column, or with nothing in it,
// the rows that are made have none.
func (e *Encoder) Apply(s *Sheet) (*Sheet, error) {
	at, names := make([]int, len(e.Columns)), slices.Collect(columns(s))
	for i, c := range e.Columns {
		if at[i] = slices.Index(names, c.Column); at[i] < 0 {
			return nil, fmt.Errorf("there is no column %q; give all that the model learned from", c.Column)
		}
	}
	label := e.labels(s)
	out := &Sheet{Names: e.Names()}
	if label >= 0 {
		out.Names = append(out.Names, labelName)
	}
	for n, r := range s.Rows {
		row := make([]string, 0, len(out.Names))
		var err error
		for i, c := range e.Columns {
			if row, err = c.apply(row, r[at[i]]); err != nil {
				return nil, fmt.Errorf("row %d: %w", n+1, err)
			}
		}
		if label >= 0 {
			if slices.Contains(missing, r[label]) {
				return nil, fmt.Errorf("row %d has no label in column %s, and others have; take such rows out, or fill them in", n+1, s.Name(label))
			}
			row = append(row, r[label])
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// labels finds the column of labels; -1 where there are none.
func (e *Encoder) labels(s *Sheet) int {
	label := slices.Index(slices.Collect(columns(s)), e.Label)
	if label >= 0 && s.Gaps(label) == len(s.Rows) {
		return -1
	}
	return label
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

// columns are the names of all columns, for people.
func columns(s *Sheet) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range s.Width() {
			if !yield(s.Name(i)) {
				return
			}
		}
	}
}
