package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// PolicyBytesMax is S3's limit of a bucket policy.
const PolicyBytesMax = 20 << 10

// ParsePolicy reads a bucket policy in S3's JSON; "" is nil, which says nothing. An
// error is ErrPolicy and names the field.
func ParsePolicy(s string) (*Policy, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > PolicyBytesMax {
		return nil, fmt.Errorf("%w: has %d bytes, at most %d are allowed", ErrPolicy, len(s), PolicyBytesMax)
	}
	p, err := parsePolicy([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return p, nil
}

func parsePolicy(data []byte) (*Policy, error) {
	f, err := fields(data, "Version", "Id", "Statement")
	if err != nil {
		return nil, err
	}
	version := "2008-10-17"
	if raw, ok := f["Version"]; ok {
		if err := json.Unmarshal(raw, &version); err != nil || version != "2012-10-17" && version != "2008-10-17" {
			return nil, wrong("Version", errors.New("must be 2012-10-17 or 2008-10-17"))
		}
	}
	if err := text(f["Id"]); err != nil {
		return nil, wrong("Id", err)
	}
	list, err := statements(f["Statement"])
	if err != nil {
		return nil, wrong("Statement", err)
	}
	p := &Policy{keys: map[string]bool{}}
	for i, raw := range list {
		st, err := parseStatement(raw, version == "2012-10-17")
		if err != nil {
			return nil, fmt.Errorf("Statement[%d]%w", i, err)
		}
		p.statements = append(p.statements, *st)
		p.public = p.public || st.public()
		st.asks(p.keys)
	}
	return p, nil
}

func wrong(field string, err error) error { return fmt.Errorf("%s: %w", field, err) }

// statements takes a list, or one statement alone.
func statements(raw json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	if len(raw) == 0 || len(list) == 0 {
		return nil, fmt.Errorf("is missing or empty")
	}
	return list, nil
}

// parseStatement returns errors that begin with the field: ".Effect: ...".
func parseStatement(raw json.RawMessage, vars bool) (*statement, error) {
	f, err := fields(raw, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	if err := text(f["Sid"]); err != nil {
		return nil, fmt.Errorf(".Sid: %w", err)
	}
	s := &statement{}
	var effect string
	if json.Unmarshal(f["Effect"], &effect) != nil || effect != "Allow" && effect != "Deny" {
		return nil, fmt.Errorf(".Effect: must be Allow or Deny")
	}
	s.deny = effect == "Deny"
	for _, e := range []struct {
		field string
		not   *bool
		read  func(json.RawMessage) error
	}{
		{"Principal", &s.notPrincipals, func(raw json.RawMessage) (err error) { s.principals, err = parsePrincipals(raw); return err }},
		{"Action", &s.notActions, func(raw json.RawMessage) (err error) { s.actions, err = parseActions(raw); return err }},
		{"Resource", &s.notResources, func(raw json.RawMessage) (err error) { s.resources, err = parseResources(raw, vars); return err }},
	} {
		if err := either(f, e.field, e.not, e.read); err != nil {
			return nil, err
		}
	}
	if s.notPrincipals && !s.deny {
		return nil, fmt.Errorf(".NotPrincipal: goes with Deny only; with Allow it would let everybody else in")
	}
	if raw, ok := f["Condition"]; ok {
		if s.conditions, err = parseConditions(raw, vars); err != nil {
			return nil, fmt.Errorf(".Condition: %w", err)
		}
	}
	return s, nil
}

// either reads a field, or the field with Not before its name; there must be one.
func either(f map[string]json.RawMessage, field string, not *bool, read func(json.RawMessage) error) error {
	raw, plain := f[field]
	other, ok := f["Not"+field]
	switch {
	case plain && ok:
		return fmt.Errorf(".%s: stands beside Not%s", field, field)
	case ok:
		*not, raw, field = true, other, "Not"+field
	case !plain:
		return fmt.Errorf(".%s: is missing", field)
	}
	if err := read(raw); err != nil {
		return fmt.Errorf(".%s: %w", field, err)
	}
	return nil
}

func parseActions(raw json.RawMessage) ([]pattern, error) {
	list, err := oneOrMany(raw)
	if err != nil {
		return nil, err
	}
	out := make([]pattern, 0, len(list))
	for _, s := range list {
		p, ok := parseAction(s)
		if !ok {
			return nil, fmt.Errorf("%q is no action of S3", s)
		}
		out = append(out, p)
	}
	return out, nil
}

func parseResources(raw json.RawMessage, vars bool) ([]pattern, error) {
	list, err := oneOrMany(raw)
	if err != nil {
		return nil, err
	}
	out := make([]pattern, 0, len(list))
	for _, s := range list {
		f := strings.SplitN(s, ":", 6)
		if s == "*" {
			f = []string{"arn", "aws", "s3", "", "", "*"}
		}
		if len(f) != 6 || f[0] != "arn" || !strings.HasPrefix(f[1], "aws") || f[2] != "s3" || f[5] == "" {
			return nil, fmt.Errorf("%q is no ARN of a bucket or object", s)
		}
		out = append(out, parsePattern(f[5], true, vars))
	}
	return out, nil
}

// Within says, as ErrPolicy, which resource is not in a bucket: a policy speaks of the
// bucket that it is put on.
func (p *Policy) Within(bucket string) error {
	if p == nil {
		return nil
	}
	for i, s := range p.statements {
		for _, r := range s.resources {
			if !r.within(bucket) {
				return fmt.Errorf("%w: Statement[%d].Resource: is not in bucket %s", ErrPolicy, i, bucket)
			}
		}
	}
	return nil
}

// within says whether the pattern could be the bucket or an object in it.
func (p pattern) within(bucket string) bool {
	for i, e := range p.parts {
		if head, _, ok := strings.Cut(e.text, "/"); ok && e.kind == literal {
			return glob(append(p.parts[:i:i], piece{kind: literal, text: head}), bucket)
		}
		if e.kind == variable {
			return false
		}
	}
	return glob(p.parts, bucket)
}

// asks adds the keys that a statement needs to know of a request.
func (s *statement) asks(keys map[string]bool) {
	of := func(p pattern) {
		for _, e := range p.parts {
			if e.kind == variable {
				keys[e.text] = true
			}
		}
	}
	for _, r := range s.resources {
		of(r)
	}
	for _, c := range s.conditions {
		keys[c.key] = true
		for _, v := range c.values {
			of(v.text)
		}
	}
}

// fields reads an object whose names must be among those given, as they are written.
func fields(raw json.RawMessage, names ...string) (map[string]json.RawMessage, error) {
	var f map[string]json.RawMessage
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		return nil, fmt.Errorf("is no JSON object")
	}
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	for n := range f {
		if !known[n] {
			return nil, fmt.Errorf("unknown field %q", n)
		}
	}
	return f, nil
}

// text checks that a field, if it is there, is a string.
func text(raw json.RawMessage) error {
	var s string
	if raw != nil && json.Unmarshal(raw, &s) != nil {
		return fmt.Errorf("must be a string")
	}
	return nil
}

// oneOrMany reads a string or a list of strings; numbers and truths count as written.
func oneOrMany(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("is empty")
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		var v any
		if err := json.Unmarshal(e, &v); err != nil {
			return nil, fmt.Errorf("is no string and no list of strings")
		}
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case bool, float64:
			out = append(out, string(e))
		default:
			return nil, fmt.Errorf("is no string and no list of strings")
		}
	}
	return out, nil
}
