package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// table is a file of comma-separated values under a header, read row by row. After the
// first error it gives nothing but that error.
type table struct {
	file   string
	csv    *csv.Reader
	column map[string]int
	row    []string
	words  map[string]string
	err    error
}

// nameMax is the longest name of a thing, in bytes.
const nameMax = 253

// open reads the header and looks for the columns that must be there.
func open(in io.Reader, file string, columns ...string) (*table, error) {
	t := &table{file: file, csv: csv.NewReader(&limited{in, bytesMax}), column: map[string]int{}, words: map[string]string{}}
	t.csv.ReuseRecord = true
	head, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty; its first line must name the columns %s", file, strings.Join(columns, ", "))
	}
	if err != nil {
		return nil, t.reading(err)
	}
	for i, h := range head {
		h = strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))
		if _, twice := t.column[h]; twice && slices.Contains(columns, h) {
			return nil, fmt.Errorf("%s: column %s is there twice; keep one", file, h)
		}
		t.column[h] = i
	}
	for _, c := range columns {
		if !t.has(c) {
			return nil, fmt.Errorf("%s: column %s is missing; its first line must name %s", file, c, strings.Join(columns, ", "))
		}
	}
	return t, nil
}

func (t *table) has(column string) bool {
	_, ok := t.column[column]
	return ok
}

// next reads a row, and tells whether there is one.
func (t *table) next() bool {
	if t.err != nil {
		return false
	}
	row, err := t.csv.Read()
	switch {
	case errors.Is(err, io.EOF):
		return false
	case err != nil:
		t.err = t.reading(err)
		return false
	}
	t.row = row
	return true
}

// reading is an error of the reader, which names the line itself.
func (t *table) reading(err error) error { return fmt.Errorf("reading %s: %w", t.file, err) }

// errorf is an error in the row's column.
func (t *table) errorf(column, format string, args ...any) error {
	line, _ := t.csv.FieldPos(t.column[column])
	return fmt.Errorf("%s:%d: column %s: %s", t.file, line, column, fmt.Sprintf(format, args...))
}

func (t *table) text(column string) string { return strings.TrimSpace(t.row[t.column[column]]) }

// intern keeps each word once, and not the row that it came in.
func (t *table) intern(s string) string {
	if w, ok := t.words[s]; ok {
		return w
	}
	s = strings.Clone(s)
	t.words[s] = s
	return s
}

// name reads a name that no row before had.
func (t *table) name(column string, seen map[string]bool) string {
	s := strings.Clone(t.text(column))
	if t.err != nil {
		return s
	}
	if s == "" || len(s) > nameMax || seen[s] {
		t.err = t.errorf(column, "name %.40q is empty, longer than %d bytes, or that of an earlier row; give each row its own", s, nameMax)
	}
	seen[s] = true
	return s
}

// number reads a whole number from 0 to most.
func (t *table) number(column string, most int64) int64 {
	if t.err != nil {
		return 0
	}
	text := t.text(column)
	v, err := strconv.ParseInt(strings.TrimSuffix(text, ".0"), 10, 64)
	if err != nil || v < 0 || v > most {
		t.err = t.errorf(column, "%.40q is no whole number from 0 to %d", text, most)
		return 0
	}
	return v
}

// limited refuses to read on for ever.
type limited struct {
	in   io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("it is longer than %d MiB", bytesMax>>20)
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
