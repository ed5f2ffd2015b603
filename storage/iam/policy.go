package iam

import (
	"errors"
	"slices"
	"strings"
)

// ErrPolicy says that a bucket policy is malformed. What wraps it names the field.
var ErrPolicy = errors.New("malformed policy")

// Policy is a bucket policy, compiled. It does not change.
type Policy struct {
	statements []statement
	public     bool
	keys       map[string]bool // that conditions and variables ask for
}

// statement allows or denies. Each list is turned round by the flag beside it.
type statement struct {
	deny          bool
	principals    []principal
	notPrincipals bool
	actions       []pattern
	notActions    bool
	resources     []pattern // bucket/key, without the ARN's head
	notResources  bool
	conditions    []condition
}

// verdict is Deny where any statement denies, else Allow where one allows.
func (p *Policy) verdict(r *Rules, q *Request) Verdict {
	if p == nil {
		return Silent
	}
	out := Silent
	action := strings.ToLower(string(q.Action))
	resource := q.Bucket
	if q.Key != "" {
		resource += "/" + q.Key
	}
	for i := range p.statements {
		s := &p.statements[i]
		if out == Allow && !s.deny || !s.covers(q, action, resource) {
			continue
		}
		if s.deny {
			return Deny
		}
		out = Allow
	}
	if out == Allow && r.Public.RestrictBuckets && p.public && q.Who.Account != r.Owner {
		return Silent
	}
	return out
}

func (s *statement) covers(q *Request, action, resource string) bool {
	matches := func(what string) func(pattern) bool { return func(p pattern) bool { return p.match(what, q) } }
	if slices.ContainsFunc(s.actions, matches(action)) == s.notActions {
		return false
	}
	if slices.ContainsFunc(s.resources, matches(resource)) == s.notResources {
		return false
	}
	who := func(p principal) bool { return p.asks(q, s.deny && !s.notPrincipals) }
	if slices.ContainsFunc(s.principals, who) == s.notPrincipals {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(q) {
			return false
		}
	}
	return true
}

// Public says that the policy gives something to everybody: a statement allows it to *,
// and no condition fixes where the request comes from (Amazon S3 User
// Guide, "The meaning of public").
func (p *Policy) Public() bool { return p != nil && p.public }

// Asks says whether a condition or variable needs a key of a request's context, so that
// a door looks up only what is asked for. A key that ends in "/" is any of that kind:
// "s3:existingobjecttag/".
func (p *Policy) Asks(key string) bool {
	if p == nil {
		return false
	}
	if !strings.HasSuffix(key, "/") {
		return p.keys[key]
	}
	for k := range p.keys {
		if strings.HasPrefix(k, key) {
			return true
		}
	}
	return false
}

func (s *statement) public() bool {
	if s.deny || !slices.ContainsFunc(s.principals, func(p principal) bool { return p.everybody }) {
		return false
	}
	return !slices.ContainsFunc(s.conditions, func(c condition) bool { return c.narrows() })
}

// narrowKeys are those whose fixed values make a statement not public.
var narrowKeys = strings.Fields(`aws:principalorgid aws:principalorgpaths aws:principalarn aws:principalaccount
aws:sourcearn aws:sourcevpc aws:sourcevpce aws:sourceowner aws:sourceaccount aws:sourceip aws:userid
s3:dataaccesspointarn s3:dataaccesspointaccount s3:x-amz-server-side-encryption-aws-kms-key-id`)

// Ranges of addresses with fewer bits than these are as good as everybody.
const (
	narrowBits4 = 8
	narrowBits6 = 32
)

func (c *condition) narrows() bool {
	if c.ifExists || c.quant == forAll || c.op.not || c.op == null || !slices.Contains(narrowKeys, c.key) {
		return false
	}
	for _, v := range c.values {
		switch {
		case c.op == operators["IpAddress"]:
			least := narrowBits6
			if v.prefix.Addr().Is4() {
				least = narrowBits4
			}
			if v.prefix.Bits() < least {
				return false
			}
		case !v.text.fixed() || v.text.literal() == "":
			return false
		}
	}
	return true
}

// values are what a request says of a condition's key. Who asks is known without a
// door's help.
func (q *Request) values(key string) []string {
	if q == nil {
		return nil
	}
	if v, ok := q.Context[key]; ok {
		return v
	}
	if q.Who.Anonymous() {
		return nil
	}
	switch key {
	case "aws:username":
		return []string{q.Who.User}
	case "aws:userid":
		return []string{q.Who.Name()}
	case "aws:principalaccount":
		return []string{q.Who.Account}
	case "aws:principaltype":
		return []string{"User"}
	case "aws:principalarn":
		return []string{"arn:aws:iam::" + q.Who.Account + ":user/" + q.Who.User}
	}
	return nil
}
