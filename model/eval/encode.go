package eval

import (
	"encoding/json"
	"fmt"
)

// Bits are booleans that are written as a string of 0 and 1.
type Bits []bool

// MarshalText writes them.
func (b Bits) MarshalText() ([]byte, error) {
	out := make([]byte, len(b))
	for i, v := range b {
		out[i] = '0'
		if v {
			out[i] = '1'
		}
	}
	return out, nil
}

// UnmarshalText reads them.
func (b *Bits) UnmarshalText(text []byte) error {
	out := make(Bits, len(text))
	for i, c := range text {
		switch c {
		case '1':
			out[i] = true
		case '0':
		default:
			return fmt.Errorf("%q is neither 0 nor 1", c)
		}
	}
	*b = out
	return nil
}

// Encode writes a report as one line of JSON. It refuses one that Decode would.
func Encode(r *Report) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("writing report: %w", err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing report: %w", err)
	}
	if len(b) > BytesMax {
		return nil, fmt.Errorf("writing report: it has %d bytes, the limit is %d", len(b), BytesMax)
	}
	return b, nil
}

// Decode reads a report and checks its form, so that whoever uses it need not. Fields that
// it does not know are left out: a later minor form may have more.
func Decode(b []byte) (*Report, error) {
	if len(b) > BytesMax {
		return nil, fmt.Errorf("reading report: it has %d bytes, the limit is %d", len(b), BytesMax)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("reading report: %w", err)
	}
	return &r, nil
}
