package iam

import (
	"context"
	"errors"
	"testing"
)

type brokenDirectory struct{ Directory }

func (brokenDirectory) Token(context.Context, string) (Identity, error) {
	return Identity{}, errors.New("broken")
}

type tokenDirectory struct{ Directory }

func (tokenDirectory) Token(context.Context, string) (Identity, error) {
	return Identity{Account: "t"}, nil
}

func TestChain(t *testing.T) {
	one, err := ParseUsers([]byte(people))
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewUsers([]User{{Account: "other", Name: "x", Password: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	c := Chain{one, two}
	if who, secret, err := c.Key(t.Context(), "other:x"); err != nil || who.Account != "other" || secret != "p" {
		t.Errorf("the second knows it: %+v, %v", who, err)
	}
	if _, err := c.Password(t.Context(), "test:tester", "wrong"); !errors.Is(err, ErrSecret) {
		t.Errorf("a wrong password of the first: %v", err)
	}
	if _, err := c.Account(t.Context(), "nobody"); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("nobody: %v", err)
	}
	if who, err := (Chain{one, tokenDirectory{}}).Token(t.Context(), "x"); err != nil || who.Account != "t" {
		t.Errorf("a token of the second: %+v, %v", who, err)
	}
	if _, err := (Chain{brokenDirectory{}, tokenDirectory{}}).Token(t.Context(), "x"); err == nil || errors.Is(err, ErrNoIdentity) {
		t.Errorf("the first cannot be asked: %v", err)
	}
}
