// Package sheet prepares a person's CSV for learning: it tells apart what is learned from
// and what is judged by, makes numbers of what are none, and windows of a series. It is
// pure. What a model is given later must be prepared alike, so an Encoder can be kept.
//
// It refuses what it would have to guess at: rows of other lengths, columns of endless
// names, labels that are missing.
package sheet

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Limits of a sheet.
const (
	BytesMax   = 2 << 30
	RowsMax    = 5_000_000
	ColumnsMax = 16_384
)

// Sheet is a table of text.
type Sheet struct {
	// Names of the columns; nil where the first line is not one of names.
	Names []string
	Rows  [][]string
}

// Read reads a CSV file. Its first line has names if nothing in it is a number.
func Read(r io.Reader) (*Sheet, error) {
	limited := &io.LimitedReader{R: r, N: BytesMax + 1}
	c := csv.NewReader(limited)
	c.ReuseRecord = false
	s := &Sheet{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading table: %w", err)
		}
		if len(row) > ColumnsMax || len(s.Rows) == RowsMax || limited.N <= 0 {
			return nil, fmt.Errorf("the table is too large: at most %d rows of %d columns and %d bytes are read", RowsMax, ColumnsMax, int64(BytesMax))
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if len(s.Rows) == 0 && s.Names == nil && !slices.ContainsFunc(row, isNumber) {
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			s.Names = row
			continue
		}
		s.Rows = append(s.Rows, row)
	}
	if len(s.Rows) == 0 {
		return nil, errors.New("the table is empty: there must be at least one row")
	}
	return s, nil
}

// Write writes the sheet as CSV.
func (s *Sheet) Write(w io.Writer) error {
	c := csv.NewWriter(w)
	if s.Names != nil {
		if err := c.Write(s.Names); err != nil {
			return fmt.Errorf("writing table: %w", err)
		}
	}
	if err := c.WriteAll(s.Rows); err != nil {
		return fmt.Errorf("writing table: %w", err)
	}
	return nil
}

// Width is the number of columns.
func (s *Sheet) Width() int { return len(s.Rows[0]) }

// Column finds a column by its name or by its number from 1; "" is the last.
func (s *Sheet) Column(wanted string) (int, error) {
	if wanted == "" {
		return s.Width() - 1, nil
	}
	if i := slices.Index(s.Names, wanted); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(wanted); err == nil && n >= 1 && n <= s.Width() {
		return n - 1, nil
	}
	if s.Names == nil {
		return 0, fmt.Errorf("there is no column %q; the %d columns have no names, so give a number from 1", wanted, s.Width())
	}
	return 0, fmt.Errorf("there is no column %q; there are %s", wanted, strings.Join(s.Names, ", "))
}

// Name of a column, for people.
func (s *Sheet) Name(i int) string {
	if s.Names != nil {
		return s.Names[i]
	}
	return fmt.Sprintf("x%d", i+1)
}

// Split parts the rows into so many sheets as there are parts, of which each is a share of
// all, and the rest, which comes first. Labels are shared alike where they are few, rows
// are drawn by the seed, and the same seed draws the same.
func (s *Sheet) Split(label int, parts []float64, seed uint64) ([]*Sheet, error) {
	rest := 1.0
	for _, p := range parts {
		if p <= 0 || p >= 1 {
			return nil, fmt.Errorf("a part of %g is not between 0 and 1", p)
		}
		rest -= p
	}
	if rest <= 0 {
		return nil, errors.New("the parts leave nothing to learn from")
	}
	out := make([]*Sheet, len(parts)+1)
	for i := range out {
		out[i] = &Sheet{Names: s.Names}
	}
	chance := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	for _, g := range s.groups(label) {
		chance.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
		at := 0
		for i, p := range parts {
			n := int(math.Round(p * float64(len(g))))
			for _, r := range g[at:min(at+n, len(g))] {
				out[i+1].Rows = append(out[i+1].Rows, s.Rows[r])
			}
			at = min(at+n, len(g))
		}
		for _, r := range g[at:] {
			out[0].Rows = append(out[0].Rows, s.Rows[r])
		}
	}
	for _, o := range out {
		if len(o.Rows) == 0 {
			return nil, fmt.Errorf("%d rows are too few for so many parts", len(s.Rows))
		}
		chance.Shuffle(len(o.Rows), func(i, j int) { o.Rows[i], o.Rows[j] = o.Rows[j], o.Rows[i] })
	}
	return out, nil
}

// groups are the rows of each label, in the order in which labels are met; all together
// where labels are many.
func (s *Sheet) groups(label int) [][]int {
	const rowsMin = 10 // of each label, on average
	by := map[string]int{}
	var out [][]int
	for i, r := range s.Rows {
		g, ok := by[r[label]]
		if !ok {
			g = len(out)
			by[r[label]] = g
			out = append(out, nil)
		}
		out[g] = append(out[g], i)
	}
	if len(out)*rowsMin <= len(s.Rows) {
		return out
	}
	all := make([]int, len(s.Rows))
	for i := range all {
		all[i] = i
	}
	return [][]int{all}
}

// Counts of each value of a column.
func (s *Sheet) Counts(column int) map[string]int {
	out := map[string]int{}
	for _, r := range s.Rows {
		out[r[column]]++
	}
	return out
}

func isNumber(cell string) bool {
	_, ok := number(cell)
	return ok
}

func number(cell string) (float64, bool) {
	v, err := strconv.ParseFloat(cell, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func format(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }
