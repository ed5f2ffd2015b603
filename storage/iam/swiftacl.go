package iam

import "strings"

// SwiftACL is what X-Container-Read or X-Container-Write says: names of accounts and
// users, and rules for referrers.
type SwiftACL struct {
	names []string
}

// ParseSwiftACL reads a list, separated by commas; "" is nil, which gives nothing.
func ParseSwiftACL(s string) (*SwiftACL, error) {
	if s == "" {
		return nil, nil
	}
	a := &SwiftACL{}
	for n := range strings.SplitSeq(s, ",") {
		a.names = append(a.names, strings.TrimSpace(n))
	}
	return a, nil
}

// names compares account, account:user and groups.
func (a *SwiftACL) named(who Identity) bool {
	if a == nil || who.Anonymous() {
		return false
	}
	for _, n := range a.names {
		if n == who.Account || n == who.Name() || who.In(n) {
			return true
		}
	}
	return false
}

func (a *SwiftACL) reads(q *Request) bool  { return a.named(q.Who) }
func (a *SwiftACL) lists(q *Request) bool  { return a.named(q.Who) }
func (a *SwiftACL) writes(q *Request) bool { return a.named(q.Who) }
