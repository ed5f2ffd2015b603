package iam

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one operator on one key, with the values that it compares.
type condition struct {
	key      string
	op       *operator
	ifExists bool
	quant    quantifier
	values   []value
	null     bool // for Null: the key must be missing
}

type quantifier uint8

const (
	noQuantifier quantifier = iota
	forAny
	forAll
)

// operator compares a request's text with a policy's value.
type operator struct {
	// not turns the answer round: it holds where no value matches.
	not bool
	// read checks a policy's value and makes it ready to compare.
	read  func(s string, vars bool) (value, error)
	match func(v *value, s string, q *Request) bool
}

// value is a policy's value, read as its operator needs it.
type value struct {
	text   pattern
	number float64
	time   time.Time
	prefix netip.Prefix
	truth  bool
}

func parseConditions(raw json.RawMessage, vars bool) ([]condition, error) {
	var ops map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &ops); err != nil {
		return nil, fmt.Errorf("must be an object of operators, each with an object of keys")
	}
	var out []condition
	for name, keys := range ops {
		c, err := parseOperator(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for key, raw := range keys {
			c.key = contextKey(key)
			if !knownKey(c.key) {
				return nil, fmt.Errorf("%s.%s: is no condition key", name, key)
			}
			if err := c.parseValues(raw, vars); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", name, key, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func parseOperator(name string) (c condition, err error) {
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		name, c.quant = rest, forAny
	} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		name, c.quant = rest, forAll
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok && rest != "Null" {
		name, c.ifExists = rest, true
	}
	op, ok := operators[name]
	if !ok {
		return c, fmt.Errorf("is no condition operator")
	}
	c.op = op
	return c, nil
}

func (c *condition) parseValues(raw json.RawMessage, vars bool) error {
	list, err := oneOrMany(raw)
	if err != nil {
		return err
	}
	c.values = nil
	for _, s := range list {
		v, err := c.op.read(s, vars)
		if err != nil {
			return err
		}
		c.values = append(c.values, v)
	}
	if c.op == null {
		if len(c.values) != 1 {
			return fmt.Errorf("takes one of true and false")
		}
		c.null = c.values[0].truth
	}
	return nil
}

// holds judges a condition. A key that a request does not have fails it, unless the
// operator is negative or ends in IfExists, or all values of none are asked for.
func (c *condition) holds(q *Request) bool {
	have := q.values(c.key)
	if c.op == null {
		return c.null == (len(have) == 0)
	}
	if len(have) == 0 {
		return c.ifExists || c.quant == forAll || c.op.not && c.quant != forAny
	}
	one := func(s string) bool {
		return c.op.not != slices.ContainsFunc(c.values, func(v value) bool { return c.op.match(&v, s, q) })
	}
	if c.quant == forAll || c.quant == noQuantifier && c.op.not {
		return !slices.ContainsFunc(have, func(s string) bool { return !one(s) })
	}
	return slices.ContainsFunc(have, one)
}

// null is the operator that asks whether a key is there.
var null = &operator{read: readBool, match: func(*value, string, *Request) bool { return false }}

// operators are those of IAM's reference, "IAM JSON policy elements: Condition operators".
var operators = func() map[string]*operator {
	out := map[string]*operator{"Null": null, "Bool": {read: readBool, match: matchBool}}
	both := func(yes, no string, read func(string, bool) (value, error), match func(*value, string, *Request) bool) {
		out[yes] = &operator{read: read, match: match}
		out[no] = &operator{not: true, read: read, match: match}
	}
	both("StringEquals", "StringNotEquals", readText(false, false), matchText)
	both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", readText(false, true), matchFolded)
	both("StringLike", "StringNotLike", readText(true, false), matchText)
	both("ArnEquals", "ArnNotEquals", readText(true, false), matchText)
	both("ArnLike", "ArnNotLike", readText(true, false), matchText)
	both("IpAddress", "NotIpAddress", readPrefix, matchPrefix)
	out["BinaryEquals"] = out["StringEquals"]
	for name, f := range map[string]func(int) bool{
		"LessThan":          func(c int) bool { return c < 0 },
		"LessThanEquals":    func(c int) bool { return c <= 0 },
		"GreaterThan":       func(c int) bool { return c > 0 },
		"GreaterThanEquals": func(c int) bool { return c >= 0 },
	} {
		out["Numeric"+name] = &operator{read: readNumber, match: matchNumber(f)}
		out["Date"+name] = &operator{read: readTime, match: matchTime(f)}
	}
	same := func(c int) bool { return c == 0 }
	both("NumericEquals", "NumericNotEquals", readNumber, matchNumber(same))
	both("DateEquals", "DateNotEquals", readTime, matchTime(same))
	return out
}()

func readText(wild, fold bool) func(string, bool) (value, error) {
	return func(s string, vars bool) (value, error) {
		if fold {
			vars, s = false, strings.ToLower(s)
		}
		return value{text: parsePattern(s, wild, vars)}, nil
	}
}

func matchText(v *value, s string, q *Request) bool { return v.text.match(s, q) }

func matchFolded(v *value, s string, q *Request) bool { return v.text.match(strings.ToLower(s), q) }

func readBool(s string, _ bool) (value, error) {
	switch strings.ToLower(s) {
	case "true":
		return value{truth: true}, nil
	case "false":
		return value{}, nil
	}
	return value{}, fmt.Errorf("%q is neither true nor false", s)
}

func matchBool(v *value, s string, _ *Request) bool {
	got, err := readBool(s, false)
	return err == nil && got.truth == v.truth
}

func readNumber(s string, _ bool) (value, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n != n {
		return value{}, fmt.Errorf("%q is no number", s)
	}
	return value{number: n}, nil
}

func matchNumber(f func(int) bool) func(*value, string, *Request) bool {
	return func(v *value, s string, _ *Request) bool {
		got, err := readNumber(s, false)
		if err != nil {
			return false
		}
		switch {
		case got.number < v.number:
			return f(-1)
		case got.number > v.number:
			return f(1)
		}
		return f(0)
	}
}

// readTime takes the forms of ISO 8601 that IAM names, and seconds since 1970.
func readTime(s string, _ bool) (value, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return value{time: t}, nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return value{time: time.Unix(n, 0)}, nil
	}
	return value{}, fmt.Errorf("%q is no date", s)
}

func matchTime(f func(int) bool) func(*value, string, *Request) bool {
	return func(v *value, s string, _ *Request) bool {
		got, err := readTime(s, false)
		return err == nil && f(got.time.Compare(v.time))
	}
}

func readPrefix(s string, _ bool) (value, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return value{prefix: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return value{}, fmt.Errorf("%q is no address and no range in CIDR", s)
	}
	return value{prefix: p.Masked()}, nil
}

func matchPrefix(v *value, s string, _ *Request) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && v.prefix.Contains(a.Unmap().WithZone(""))
}
