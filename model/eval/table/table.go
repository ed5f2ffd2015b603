// Package table reads the tables that models are judged on and learn from: CSV with or
// without a line of names, and JSON lines.
//
// The evaluator and whoever else is given data of that form import it. Tables come from
// people: whatever is in them, a reader ends with rows or with one sentence that names
// line and column, and keeps no more in memory than its bounds allow. A row's features
// are numbers, in the order of the columns, without the label and the slice columns.
//
// It refuses to guess: a cell that is empty or no number is an error, not a zero, and so
// is a row with other columns than the first.
package table

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a table.
const (
	BytesMax    = 4 << 30  // of a file
	RowBytesMax = 16 << 20 // of one row
	ColumnsMax  = 65536    // features of a row, and columns
	CellsMax    = 64 << 20 // features of all rows that are kept
	labelMax    = 64 << 10 // bytes of a label, a slice's value or a text
)

// Format of a file.
type Format int

// The formats.
const (
	CSV Format = iota + 1
	JSONLines
)

// FormatOf tells a file's format by its name.
func FormatOf(name string) (Format, error) {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv", ".data":
		return CSV, nil
	case ".jsonl", ".ndjson":
		return JSONLines, nil
	}
	return 0, fmt.Errorf("file %s is no table that can be read: it must be .csv or .jsonl", path.Base(name))
}

// Options say what is read of a table.
type Options struct {
	Format Format
	// Label is the column of right answers: its name, or its number from 1 where there are
	// no names; empty: the last column.
	Label string
	// Slices are columns that are kept as words and given to no model.
	Slices []string
	// From this row, from 0, up to but without To; 0: to the end.
	From, To int64
	// Many labels: the label is the column and all after it, or a list of numbers; of a
	// forecast.
	Many bool
	// Text: the one column that is neither label nor slice is text; of a generation.
	Text bool
}

// Row is one row of a table. What it holds is valid until the next.
type Row struct {
	// Number of the row in the table, from 0.
	Number   int64
	Features []float32
	// Label as it is written, but numbers in their shortest form: 3.0 is 3.
	Label string
	// Labels of a forecast.
	Labels []float64
	Text   string
	Slices []string
}

// Head is what is known of a table's columns.
type Head struct {
	// Features by name; empty where the table has no names.
	Features []string
	// Width is how many features a row has.
	Width int
	// Label is the label's column, as it was found.
	Label string
}

// Table is what was read.
type Table struct {
	Head
	// Digest of the file: sha256:HEX.
	Digest string
	Rows   []int64
	// Data are the features, [rows × Width].
	Data   []float32
	Labels []string
	// Values of labels of a forecast, [rows × Horizon].
	Values  []float64
	Horizon int
	Text    []string
	// Slices: each column's values.
	Slices [][]string
}

// Scan reads a table row by row. Each row from o.From on, and before o.To, is given to f.
// It returns the columns, which it knows from the first row on, and the file's digest.
func Scan(r io.Reader, o Options, f func(*Row) error) (Head, string, error) {
	for i, s := range o.Slices {
		if s == "" || slices.Contains(o.Slices[:i], s) || s == o.Label {
			return Head{}, "", fmt.Errorf("slice column %q is empty, there twice, or the label", s)
		}
	}
	if o.To != 0 && o.To <= o.From {
		return Head{}, "", fmt.Errorf("rows from %d up to %d are none", o.From, o.To)
	}
	h := sha256.New()
	in := &bounded{r: io.TeeReader(r, h), file: BytesMax}
	var head Head
	var err error
	switch o.Format {
	case CSV:
		head, err = scanCSV(in, o, f)
	case JSONLines:
		head, err = scanLines(in, o, f)
	default:
		err = fmt.Errorf("format %d of a table is not known", o.Format)
	}
	if err != nil {
		return Head{}, "", err
	}
	in.row = BytesMax // what is not wanted is only hashed
	if _, err := io.Copy(io.Discard, in); err != nil {
		return Head{}, "", fmt.Errorf("reading the table: %w", err)
	}
	return head, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// Read reads a table into memory.
func Read(r io.Reader, o Options) (*Table, error) {
	t := &Table{Slices: make([][]string, len(o.Slices))}
	known := map[string]string{} // one string for equal words
	intern := func(s string) string {
		if k, ok := known[s]; ok {
			return k
		}
		s = strings.Clone(s)
		if len(known) < 1<<16 {
			known[s] = s
		}
		return s
	}
	head, digest, err := Scan(r, o, func(row *Row) error {
		if len(t.Data)+len(row.Features) > CellsMax || len(t.Values)+len(row.Labels) > CellsMax || len(t.Rows) >= CellsMax/4 {
			return fmt.Errorf("the table is too large: at most %d cells are judged; choose some rows with data.rows", CellsMax)
		}
		if len(t.Rows) == 0 {
			t.Horizon = len(row.Labels)
		}
		if len(row.Labels) != t.Horizon {
			return fmt.Errorf("row %d has %d labels, row %d has %d", row.Number, len(row.Labels), t.Rows[0], t.Horizon)
		}
		t.Rows = append(t.Rows, row.Number)
		t.Data = append(t.Data, row.Features...)
		t.Values = append(t.Values, row.Labels...)
		if !o.Many {
			t.Labels = append(t.Labels, intern(row.Label))
		}
		if o.Text {
			t.Text = append(t.Text, strings.Clone(row.Text))
		}
		for i, s := range row.Slices {
			t.Slices[i] = append(t.Slices[i], intern(s))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(t.Rows) == 0 {
		if o.From > 0 {
			return nil, fmt.Errorf("the table ends before row %d", o.From)
		}
		return nil, fmt.Errorf("the table has no rows")
	}
	t.Head, t.Digest = head, digest
	return t, nil
}

// Order says which of the table's features a model takes, and in which order: by the
// names that the model has for them, if both have names, else as they are.
func (t *Head) Order(want []string) ([]int, error) {
	if len(want) == 0 || len(t.Features) == 0 {
		if len(want) != 0 && len(want) != t.Width {
			return nil, fmt.Errorf("it takes %d features, the table has %d without names", len(want), t.Width)
		}
		out := make([]int, t.Width)
		for i := range out {
			out[i] = i
		}
		return out, nil
	}
	at := make(map[string]int, len(t.Features))
	for i, name := range t.Features {
		at[name] = i
	}
	out := make([]int, len(want))
	for i, name := range want {
		j, ok := at[name]
		if !ok {
			return nil, fmt.Errorf("it takes the feature %q, which the table has not", cut(name))
		}
		out[i] = j
	}
	return out, nil
}

// plain is a label or slice value in the form in which equal ones are equal.
func plain(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || s[0] > '9' { // most words
		return s
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil && v == v && v < 1e15 && v > -1e15 {
		if v == 0 {
			return "0" // of either sign
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return s
}

// label is a label in the form in which equal ones are equal, or as it is where it is text.
func (o *Options) label(s string) string {
	if o.Text {
		return strings.TrimSpace(s)
	}
	return plain(s)
}

// Class is the name by which a model's label and a table's are the same.
func Class(label string) string { return plain(label) }

// cut keeps a foreign word short enough for a sentence, and on one line.
func cut(s string) string {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
}

// bounded reads up to file bytes in all, and row bytes until it is set again.
type bounded struct {
	r    io.Reader
	file int64
	row  int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.row <= 0 {
		return 0, fmt.Errorf("a row is longer than %d bytes; is a quote not closed?", RowBytesMax)
	}
	n, err := b.r.Read(p)
	b.row -= int64(n)
	b.file -= int64(n)
	if b.file < 0 {
		return 0, fmt.Errorf("the file is larger than %d bytes", int64(BytesMax))
	}
	return n, err
}
