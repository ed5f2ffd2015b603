package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// A field of the first line of JSON lines, and how many numbers it has.
type field struct {
	name  string
	width int
}

func scanLines(in *bounded, o Options, f func(*Row) error) (Head, error) {
	in.row = math.MaxInt64 // the scanner has a bound of its own
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), RowBytesMax)
	p := &lineParser{o: o}
	number := int64(0)
	for line := 1; (o.To == 0 || number < o.To) && s.Scan(); line++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) == 0 {
			continue
		}
		wanted := number >= o.From || number == 0 // the first one tells the fields
		p.row.Number = number
		number++
		if !wanted {
			continue
		}
		if err := p.parse(text); err != nil {
			return Head{}, fmt.Errorf("line %d: %w", line, err)
		}
		if p.row.Number < o.From {
			continue
		}
		if err := f(&p.row); err != nil {
			return Head{}, err
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return Head{}, fmt.Errorf("line %d is longer than %d bytes", number+1, RowBytesMax)
	} else if err != nil {
		return Head{}, fmt.Errorf("reading the table: %w", err)
	}
	return p.head, nil
}

// lineParser reads lines that have the fields of the first one.
type lineParser struct {
	o      Options
	fields []field        // those of features, in the order of the first line
	at     map[string]int // where a field is in the first line
	label  string
	head   Head
	row    Row
}

// parse takes one line apart.
func (p *lineParser) parse(text []byte) error {
	names, values, err := object(text)
	if err != nil {
		return err
	}
	if p.fields == nil {
		if err := p.layout(names, values); err != nil {
			return err
		}
	}
	row := &p.row
	row.Features, row.Labels, row.Slices = row.Features[:0], row.Labels[:0], row.Slices[:0]
	if n := len(p.fields) + 1 + len(p.o.Slices); len(names) != n {
		return fmt.Errorf("there are %d fields, the first line has %d", len(names), n)
	}
	value := func(name string) (json.RawMessage, error) {
		if i := p.at[name]; names[i] == name { // in the order of the first line
			return values[i], nil
		}
		if i := slices.Index(names, name); i >= 0 {
			return values[i], nil
		}
		return nil, fmt.Errorf("there is no field %q, as there is in the first line", cut(name))
	}
	for _, f := range p.fields {
		v, err := value(f.name)
		if err != nil {
			return err
		}
		if p.o.Text {
			if row.Text, err = p.text(v); err != nil {
				return fmt.Errorf("field %s: %w", cut(f.name), err)
			}
			continue
		}
		before := len(row.Features)
		if err := numbers(v, func(x float64) { row.Features = append(row.Features, float32(x)) }); err != nil {
			return fmt.Errorf("field %s: %w", cut(f.name), err)
		}
		if n := len(row.Features) - before; n != f.width {
			return fmt.Errorf("field %s has %d numbers, in the first line it has %d", cut(f.name), n, f.width)
		}
	}
	v, err := value(p.label)
	if err != nil {
		return err
	}
	if p.o.Many {
		err = numbers(v, func(x float64) { row.Labels = append(row.Labels, x) })
	} else if row.Label, err = p.text(v); err == nil && row.Label == "" {
		err = errors.New("there is no label")
	}
	if err != nil {
		return fmt.Errorf("field %s: %w", cut(p.label), err)
	}
	for _, name := range p.o.Slices {
		v, err := value(name)
		if err != nil {
			return err
		}
		s, err := word(v)
		if err != nil {
			return fmt.Errorf("field %s: %w", cut(name), err)
		}
		row.Slices = append(row.Slices, s)
	}
	return nil
}

// layout says what each field of the first line is.
func (p *lineParser) layout(names []string, values []json.RawMessage) error {
	if len(names) == 0 {
		return errors.New("there are no fields")
	}
	p.at = make(map[string]int, len(names))
	for i, name := range names {
		if _, twice := p.at[name]; twice {
			return fmt.Errorf("field %q is there twice", cut(name))
		}
		p.at[name] = i
	}
	p.label = p.o.Label
	if p.label == "" {
		p.label = names[len(names)-1]
	}
	for _, name := range append([]string{p.label}, p.o.Slices...) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no field %q; there are %s", cut(name), listed(names))
		}
	}
	if slices.Contains(p.o.Slices, p.label) {
		return fmt.Errorf("field %s is the label and a slice", cut(p.label))
	}
	p.fields = []field{}
	for i, name := range names {
		if name == p.label || slices.Contains(p.o.Slices, name) {
			continue
		}
		f := field{name: name}
		if !p.o.Text {
			if err := numbers(values[i], func(float64) { f.width++ }); err != nil {
				return fmt.Errorf("field %s: %w", cut(name), err)
			}
		}
		p.fields = append(p.fields, f)
		p.head.Width += f.width
		for j := range f.width {
			if n := name; f.width == 1 {
				p.head.Features = append(p.head.Features, n)
			} else {
				p.head.Features = append(p.head.Features, n+"["+strconv.Itoa(j)+"]")
			}
		}
	}
	p.head.Label = p.label
	switch {
	case len(p.fields) == 0:
		return errors.New("there is no field beside the label and the slices")
	case p.o.Text && len(p.fields) > 1:
		return fmt.Errorf("there are %d fields beside the label and the slices; text needs one: name the others in data.slices", len(p.fields))
	case p.head.Width > ColumnsMax:
		return fmt.Errorf("there are %d features, the limit is %d", p.head.Width, ColumnsMax)
	}
	return nil
}

// object is the fields of a JSON object, in their order.
func object(text []byte) (names []string, values []json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errors.New("it is no JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("it is no JSON object: %w", err)
		}
		name, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, fmt.Errorf("it is no JSON object: %w", err)
		}
		if len(names) >= ColumnsMax {
			return nil, nil, fmt.Errorf("there are more than %d fields", ColumnsMax)
		}
		names, values = append(names, name), append(values, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("there is something after the object")
	}
	return names, values, nil
}

// numbers in a value: one, or those of nested lists in their order; true is 1.
func numbers(v json.RawMessage, f func(float64)) error {
	d := json.NewDecoder(bytes.NewReader(v))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case float64:
			if math.Abs(t) > math.MaxFloat32 {
				return fmt.Errorf("%g is too large", t)
			}
			f(t)
		case bool:
			if t {
				f(1)
			} else {
				f(0)
			}
		case json.Delim:
			if t == '{' {
				return errors.New("an object is no number")
			}
		default:
			return fmt.Errorf("%v is no number", cut(fmt.Sprint(t)))
		}
	}
}

// text is a word as it is where the table is of text.
func (p *lineParser) text(v json.RawMessage) (string, error) {
	var s string
	if p.o.Text && len(v) <= labelMax && json.Unmarshal(v, &s) == nil {
		return p.o.label(s), nil
	}
	return word(v)
}

// word is a value that is one: a string, a number or true or false.
func word(v json.RawMessage) (string, error) {
	if len(v) > labelMax {
		return "", errors.New("it is too long")
	}
	var x any
	if err := json.Unmarshal(v, &x); err != nil {
		return "", err
	}
	switch x := x.(type) {
	case string:
		return plain(x), nil
	case float64:
		return plain(strconv.FormatFloat(x, 'g', -1, 64)), nil
	case bool:
		return strconv.FormatBool(x), nil
	}
	return "", errors.New("it is neither text nor a number")
}
