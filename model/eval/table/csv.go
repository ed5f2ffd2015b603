package table

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// columns says what each column of a CSV is.
type columns struct {
	names    []string // empty: the first line is a row
	label    int
	labels   int // how many from label on
	slices   []int
	features []int
}

func scanCSV(in *bounded, o Options, f func(*Row) error) (Head, error) {
	in.row = RowBytesMax
	buf := bufio.NewReaderSize(in, 64<<10)
	if b, _ := buf.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		_, _ = buf.Discard(3)
	}
	r := csv.NewReader(buf)
	r.ReuseRecord, r.TrimLeadingSpace, r.Comma = true, true, Comma(buf)
	var c *columns
	var head Head
	var row Row
	for number := int64(0); o.To == 0 || number < o.To; {
		in.row = RowBytesMax
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Head{}, fmt.Errorf("reading the table: %w", err)
		}
		if c == nil {
			if c, err = layout(record, o); err != nil {
				return Head{}, err
			}
			head = c.head(o.Text)
			if len(c.names) > 0 {
				continue
			}
		}
		row.Number = number
		number++
		if row.Number < o.From {
			continue
		}
		if err := c.read(r, record, o, &row); err != nil {
			return Head{}, err
		}
		if err := f(&row); err != nil {
			return Head{}, err
		}
	}
	return head, nil
}

// Comma is what parts the columns of the first line: a comma, a tab or a semicolon.
func Comma(buf *bufio.Reader) rune {
	b, _ := buf.Peek(4096)
	line, _, _ := bytes.Cut(b, []byte("\n"))
	switch {
	case bytes.ContainsRune(line, ','):
		return ','
	case bytes.ContainsRune(line, '\t'):
		return '\t'
	case bytes.ContainsRune(line, ';'):
		return ';'
	}
	return ','
}

// layout finds the columns by the first line. It is one of names when none of its cells is
// a number.
func layout(first []string, o Options) (*columns, error) {
	if len(first) > ColumnsMax {
		return nil, fmt.Errorf("the table has %d columns, the limit is %d", len(first), ColumnsMax)
	}
	c := &columns{label: len(first) - 1, labels: 1}
	named := !slices.ContainsFunc(first, func(s string) bool { _, err := strconv.ParseFloat(strings.TrimSpace(s), 64); return err == nil })
	seen := map[string]bool{"": true}
	for i := 0; named && i < len(first); i++ {
		s := strings.Clone(strings.TrimSpace(first[i]))
		if seen[s] {
			return nil, fmt.Errorf("line 1: the name of column %d is empty or there twice: %q", i+1, cut(s))
		}
		seen[s] = true
		c.names = append(c.names, s)
	}
	var err error
	if o.Label != "" {
		if c.label, err = c.find(o.Label, len(first)); err != nil {
			return nil, fmt.Errorf("label: %w", err)
		}
	}
	if o.Many {
		c.labels = len(first) - c.label
	}
	for _, s := range o.Slices {
		i, err := c.find(s, len(first))
		if err == nil && i >= c.label && i < c.label+c.labels {
			err = fmt.Errorf("column %s is a label", cut(s))
		}
		if err != nil {
			return nil, fmt.Errorf("slices: %w", err)
		}
		c.slices = append(c.slices, i)
	}
	for i := range first {
		if (i < c.label || i >= c.label+c.labels) && !slices.Contains(c.slices, i) {
			c.features = append(c.features, i)
		}
	}
	if len(c.features) == 0 {
		return nil, errors.New("the table has no column beside the label and the slices")
	}
	if o.Text && len(c.features) > 1 {
		return nil, fmt.Errorf("the table has %d columns beside the label and the slices; text needs one: name the others in data.slices", len(c.features))
	}
	return c, nil
}

// find a column by name, or by number where there are no names.
func (c *columns) find(s string, n int) (int, error) {
	if len(c.names) > 0 {
		if i := slices.Index(c.names, s); i >= 0 {
			return i, nil
		}
		return 0, fmt.Errorf("there is no column %q; there are %s", cut(s), listed(c.names))
	}
	i, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("the table has no line of names, so %q must be a column's number from 1 to %d", cut(s), n)
	}
	if i < 1 || i > n {
		return 0, fmt.Errorf("there is no column %d; there are 1 to %d", i, n)
	}
	return i - 1, nil
}

// listed names what there is, but not all of much.
func listed(names []string) string {
	const most = 12
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, cut(n))
	}
	s := strings.Join(out, ", ")
	if len(names) > most {
		s += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return s
}

func (c *columns) name(i int) string {
	if len(c.names) > 0 {
		return c.names[i]
	}
	return strconv.Itoa(i + 1)
}

func (c *columns) head(text bool) Head {
	if text {
		return Head{Label: c.name(c.label)}
	}
	h := Head{Width: len(c.features), Label: c.name(c.label)}
	if len(c.names) > 0 {
		for _, i := range c.features {
			h.Features = append(h.Features, c.names[i])
		}
	}
	return h
}

// read takes a record apart.
func (c *columns) read(r *csv.Reader, record []string, o Options, row *Row) error {
	bad := func(i int, what string) error {
		line, _ := r.FieldPos(i)
		return fmt.Errorf("line %d: column %s %s", line, cut(c.name(i)), what)
	}
	row.Features, row.Labels, row.Slices = row.Features[:0], row.Labels[:0], row.Slices[:0]
	for _, i := range c.features {
		if o.Text {
			row.Text = record[i]
			break
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(record[i]), 32)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return bad(i, noNumber(record[i]))
		}
		row.Features = append(row.Features, float32(v))
	}
	for i := c.label; o.Many && i < c.label+c.labels; i++ {
		v, err := strconv.ParseFloat(strings.TrimSpace(record[i]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return bad(i, noNumber(record[i]))
		}
		row.Labels = append(row.Labels, v)
	}
	row.Label = o.label(record[c.label])
	if row.Label == "" || len(row.Label) > labelMax {
		return bad(c.label, "has no label, or one that is too long")
	}
	for _, i := range c.slices {
		if len(record[i]) > labelMax {
			return bad(i, "is too long")
		}
		row.Slices = append(row.Slices, plain(record[i]))
	}
	return nil
}

func noNumber(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty; models are given numbers, so fill it in or leave the row out"
	}
	return fmt.Sprintf("is %q, not a finite number; make it one, or name the column in data.slices (a first line of names has no numbers in it)", cut(s))
}
