package s3

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// formPolicy is what whoever signed a form allows ("POST Policy").
type formPolicy struct {
	expires    time.Time
	conditions []formCondition
	least, max int64 // of the file
}

type formCondition struct {
	field, value string
	prefix       bool
}

// parseFormPolicy reads a policy in base64. Names are as they are written; only those of
// fields and of operators are not looked at for their case.
func parseFormPolicy(encoded string) (*formPolicy, error) {
	bad := func(format string, args ...any) (*formPolicy, error) {
		return nil, fail("InvalidPolicyDocument", "Invalid Policy: "+format+".", args...)
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return bad("it is not base64")
	}
	var f map[string]json.RawMessage
	if err := json.Unmarshal(text, &f); err != nil {
		return bad("it is no JSON object: %v", err)
	}
	var expires string
	var list []json.RawMessage
	if json.Unmarshal(f["expiration"], &expires) != nil {
		return bad("expiration is missing or no string")
	}
	if json.Unmarshal(f["conditions"], &list) != nil || list == nil {
		return bad("conditions is missing or no list")
	}
	p := &formPolicy{max: objectBytesMax}
	if p.expires, err = parseDate(expires); err != nil {
		return bad("expiration %q is not of the form 2030-01-01T00:00:00Z", expires)
	}
	for i, raw := range list {
		if err := p.add(raw); err != nil {
			return bad("conditions[%d]: %v", i, err)
		}
	}
	return p, nil
}

// add reads {"FIELD": "VALUE"}, ["OPERATOR", "$FIELD", "VALUE"] or
// ["content-length-range", LEAST, MOST].
func (p *formPolicy) add(raw json.RawMessage) error {
	var equal map[string]string
	if json.Unmarshal(raw, &equal) == nil {
		if len(equal) == 0 {
			return fmt.Errorf("is empty")
		}
		for k, v := range equal {
			p.conditions = append(p.conditions, formCondition{field: strings.ToLower(k), value: v})
		}
		return nil
	}
	var list []any
	if json.Unmarshal(raw, &list) != nil || len(list) != 3 {
		return fmt.Errorf("is neither an object of texts nor a list of three")
	}
	op, ok := list[0].(string)
	if !ok {
		return fmt.Errorf("does not begin with an operator")
	}
	op = strings.ToLower(op)
	if op == "content-length-range" {
		return p.size(list[1], list[2])
	}
	field, ok := list[1].(string)
	value, ok2 := list[2].(string)
	name, dollar := strings.CutPrefix(field, "$")
	if !ok || !ok2 || !dollar || name == "" {
		return fmt.Errorf("needs $FIELD and a text")
	}
	if op != "eq" && op != "starts-with" {
		return fmt.Errorf("has the unknown operator %q", op)
	}
	p.conditions = append(p.conditions, formCondition{field: strings.ToLower(name), value: value, prefix: op == "starts-with"})
	return nil
}

func (p *formPolicy) size(least, most any) error {
	a, ok := wholeNumber(least)
	b, ok2 := wholeNumber(most)
	if !ok || !ok2 || a > b {
		return fmt.Errorf("content-length-range needs two numbers, the smaller first")
	}
	p.least, p.max = max(p.least, a), min(p.max, b)
	return nil
}

// wholeNumber takes numbers, and texts that are some.
func wholeNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case float64:
		n := int64(v)
		return n, float64(n) == v && n >= 0
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil && n >= 0
	}
	return 0, false
}

// uncovered are fields that a policy need not speak of.
var uncovered = map[string]bool{"awsaccesskeyid": true, "signature": true, "x-amz-signature": true, "policy": true, "file": true}

// judge refuses a form that is not as the policy says. bucket is the one it is sent to.
func (p *formPolicy) judge(f *form, bucket string, now time.Time) error {
	deny := func(format string, args ...any) error {
		return fail("AccessDenied", "Invalid according to Policy: "+format+".", args...)
	}
	if !now.Before(p.expires) {
		return deny("it expired at %s", p.expires.UTC().Format(time.RFC3339))
	}
	covered := map[string]bool{}
	for _, c := range p.conditions {
		value, there := f.fields[c.field]
		if c.field == "bucket" {
			value, there = bucket, true
		}
		covered[c.field] = true
		if !c.holds(value, there) {
			op := "eq"
			if c.prefix {
				op = "starts-with"
			}
			return deny("policy condition failed: [%q, %q, %q]", op, "$"+c.field, c.value)
		}
	}
	if !covered["bucket"] {
		return deny("it does not speak of bucket")
	}
	for name := range f.fields {
		if !covered[name] && !uncovered[name] && !strings.HasPrefix(name, "x-ignore-") {
			return deny("extra input fields: %s", name)
		}
	}
	return nil
}

// holds judges a value. A Content-Type may be a list, of which each must fit.
func (c *formCondition) holds(value string, there bool) bool {
	if !c.prefix {
		return there && value == c.value
	}
	if c.value == "" {
		return true
	}
	if c.field == "content-type" {
		for v := range strings.SplitSeq(value, ",") {
			if !strings.HasPrefix(strings.TrimSpace(v), c.value) {
				return false
			}
		}
		return there
	}
	return there && strings.HasPrefix(value, c.value)
}
