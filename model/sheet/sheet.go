// Package sheet prepares a person's CSV for learning: it tells apart what is learned from
// and what is judged by, makes numbers of what are none, and windows of a series. It is
// pure. What a model is given later must be prepared alike, so an Encoder can be kept.
//
// It refuses what it would have to guess at: rows of other lengths, text that is not UTF-8,
// columns of endless or equal names, labels that are missing.
package sheet

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"polder.dev/polder/model/eval/table"
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

// Read reads a CSV file, whose cells are parted by commas, tabs or semicolons. Its first line
// has names if nothing in it is a number.
func Read(r io.Reader) (*Sheet, error) {
	limited := &io.LimitedReader{R: r, N: BytesMax + 1}
	buf := bufio.NewReaderSize(limited, 64<<10)
	if b, _ := buf.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		_, _ = buf.Discard(3)
	}
	c := csv.NewReader(buf)
	c.Comma = table.Comma(buf)
	s := &Sheet{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d has %d cells, and the first line has %d; give all as many", line, len(row), c.FieldsPerRecord)
		}
		if err != nil {
			return nil, fmt.Errorf("reading table: %w", err)
		}
		if len(row) > ColumnsMax || len(s.Rows) == RowsMax || limited.N <= 0 {
			return nil, fmt.Errorf("the table is too large: at most %d rows of %d columns and %d bytes are read", RowsMax, ColumnsMax, int64(BytesMax))
		}
		for i := range row {
			if row[i] = strings.TrimSpace(row[i]); !utf8.ValidString(row[i]) {
				line, _ := c.FieldPos(i)
				return nil, fmt.Errorf("line %d is not in UTF-8; write the file in it, as `iconv -f LATIN1 -t UTF-8` does", line)
			}
		}
		if len(s.Rows) == 0 && s.Names == nil && !slices.ContainsFunc(row, isNumber) {
			if err := distinct(row); err != nil {
				return nil, err
			}
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

// distinct says which name is there twice: nobody could tell such columns apart later.
func distinct(names []string) error {
	seen := map[string]bool{}
	for i, n := range names {
		if seen[n] || n == "" {
			return fmt.Errorf("the name of column %d is empty or there twice: %.40q; give it one of its own", i+1, n)
		}
		seen[n] = true
	}
	return nil
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
		if !(p > 0 && p < 1) { // NaN is no part, either
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
			return nil, fmt.Errorf("%d rows are too few to leave some in each part; add rows, or choose other parts", len(s.Rows))
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

// Gaps is how many cells of a column have no value.
func (s *Sheet) Gaps(column int) int {
	n := 0
	for _, r := range s.Rows {
		if slices.Contains(missing, r[column]) {
			n++
		}
	}
	return n
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
