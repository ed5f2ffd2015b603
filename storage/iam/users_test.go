package iam

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const people = `
users:
- {account: test, name: tester, password: testing, roles: [admin]}
- {account: test, name: tester3, password: testing3}
- {account: main, name: root, accessKey: AK, secretKey: SK, roles: [admin], displayName: M, email: m@example.org}
`

func TestUsers(t *testing.T) {
	u, err := ParseUsers([]byte(people))
	if err != nil {
		t.Fatal(err)
	}
	who, secret, err := u.Key(t.Context(), "test:tester")
	if err != nil || secret != "testing" {
		t.Errorf("key of a user with a password: %q, %v", secret, err)
	}
	if d := cmp.Diff(Identity{Account: "test", User: "tester", DisplayName: "test", Admin: true}, who); d != "" {
		t.Error(d)
	}
	if who, secret, err := u.Key(t.Context(), "AK"); err != nil || secret != "SK" || who.Account != "main" || who.DisplayName != "M" {
		t.Errorf("AK is %+v, %v", who, err)
	}
	if _, err := u.Password(t.Context(), "test:tester3", "testing"); !errors.Is(err, ErrSecret) {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := u.Password(t.Context(), "main:root", ""); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a user without a password: %v", err)
	}
	if who, err := u.Account(t.Context(), "m@example.org"); err != nil || who.Account != "main" {
		t.Errorf("by email: %+v, %v", who, err)
	}
}

func TestUsersRefused(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown field": {"users: [{account: a, name: b, password: c, role: x}]", "role"},
		"no secret":     {"users: [{account: a, name: b}]", "users[0]: password"},
		"half a key":    {"users: [{account: a, name: b, accessKey: k}]", "secretKey"},
		"colon":         {"users: [{account: 'a:b', name: b, password: c}]", "account"},
		"twice":         {"users: [{account: a, name: b, password: c}, {account: a, name: b, password: c}]", "users[1]: name"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseUsers([]byte(c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	owner := Identity{Account: "a", User: "u", Admin: true}
	clerk := Identity{Account: "a", User: "clerk"}
	other := Identity{Account: "b", User: "u", Admin: true}
	r := &Rules{Owner: "a", ACL: &ACL{Owner: "a", Grants: []Grant{{Account: "a", Permission: FullControl}, {Account: "b", Permission: Read}}}}
	for name, c := range map[string]struct {
		who    Identity
		action Action
		want   bool
	}{
		"the owner writes":          {owner, PutObject, true},
		"a user without a role":     {clerk, PutObject, false},
		"a grantee lists":           {other, ListBucket, true},
		"a grantee does not write":  {other, PutObject, false},
		"anybody does not list":     {Identity{}, ListBucket, false},
		"an operator may do it all": {Identity{Account: "x", Operator: true}, EditBucket, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.Allows(&Request{Who: c.who, Action: c.action}); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
