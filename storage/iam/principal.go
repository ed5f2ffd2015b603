package iam

import (
	"encoding/json"
	"fmt"
	"strings"
)

// principal is somebody whom a statement names.
type principal struct {
	everybody bool
	account   string // with user "" the account as a whole
	user      string
	service   string // that a Request names
	// name is an account, or account:user, of a user without an account in its ARN.
	name string
}

// parsePrincipals reads "*" or an object with the kinds AWS, CanonicalUser and Service.
// Federated users are allowed and match nobody, since none asks here.
func parsePrincipals(raw json.RawMessage) ([]principal, error) {
	var all string
	if json.Unmarshal(raw, &all) == nil {
		if all != "*" {
			return nil, fmt.Errorf("%q is neither * nor an object", all)
		}
		return []principal{{everybody: true}}, nil
	}
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(raw, &kinds); err != nil || len(kinds) == 0 {
		return nil, fmt.Errorf("must be * or an object such as {\"AWS\": \"arn:aws:iam::ACCOUNT:root\"}")
	}
	out := []principal{}
	for kind, raw := range kinds {
		list, err := oneOrMany(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		for _, s := range list {
			p, err := parsePrincipal(kind, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			out = append(out, p...)
		}
	}
	return out, nil
}

func parsePrincipal(kind, s string) ([]principal, error) {
	switch kind {
	case "Service":
		if s == "" {
			return nil, nil
		}
		return []principal{{service: s}}, nil
	case "Federated":
		return nil, nil
	case "CanonicalUser":
		if s == "" || strings.ContainsAny(s, "*?") {
			return nil, fmt.Errorf("%q is no canonical id", s)
		}
		return []principal{{account: s}}, nil
	case "AWS":
		p, err := parseARN(s)
		return []principal{p}, err
	}
	return nil, fmt.Errorf("is no kind of principal")
}

// parseARN reads *, an account's id, or arn:aws:iam::ACCOUNT:root or :user/PATH/NAME.
func parseARN(s string) (principal, error) {
	if s == "*" {
		return principal{everybody: true}, nil
	}
	if s == "" || strings.ContainsAny(s, "*?") {
		return principal{}, fmt.Errorf("%q: a wildcard must stand alone", s)
	}
	if !strings.HasPrefix(s, "arn:") {
		if strings.ContainsAny(s, ":/") {
			return principal{}, fmt.Errorf("%q is no account and no ARN", s)
		}
		return principal{account: s}, nil
	}
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || !strings.HasPrefix(f[1], "aws") || f[2] != "iam" || f[3] != "" {
		return principal{}, fmt.Errorf("%q is no ARN of an account or user", s)
	}
	if f[5] == "root" && f[4] != "" {
		return principal{account: f[4]}, nil
	}
	path, ok := strings.CutPrefix(f[5], "user/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	if !ok || name == "" {
		return principal{}, fmt.Errorf("%q is neither root nor user/NAME", s)
	}
	if f[4] == "" {
		return principal{name: name}, nil
	}
	return principal{account: f[4], user: name}, nil
}

// asks says whether whoever asks is meant.
func (p principal) asks(q *Request, deny bool) bool {
	if p.service != "" {
		return p.service == q.Service
	}
	return p.is(q.Who, deny)
}

// is says whether an identity is meant. An account as a whole is its admins, who may
// pass on what they have; where it is denied something, it is all of its users.
func (p principal) is(who Identity, deny bool) bool {
	switch {
	case p.everybody:
		return true
	case who.Anonymous():
		return false
	case p.name != "":
		return p.name == who.Name() || p.name == who.Account && (who.Admin || deny)
	case p.user != "":
		return p.account == who.Account && p.user == who.User
	}
	return p.account == who.Account && (who.Admin || deny)
}
