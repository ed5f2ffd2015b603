package main

import (
	"fmt"
	"testing"
	"time"
)

var ana = asker{user: "ana", groups: []string{"system:authenticated"}}

// clock is a time that stands still until it is moved.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func reviewerOf(t *testing.T, o options, now func() time.Time) *reviewer {
	t.Helper()
	_, client, err := transport(o)
	if err != nil {
		t.Fatal(err)
	}
	v := newReviewer(o.api, client, []string{"cluster", "registry"}, now)
	t.Cleanup(v.http.CloseIdleConnections)
	return v
}

func TestAsk(t *testing.T) {
	a := newAPI(t, rule{"ana", "edit", "team-a"}, rule{"friends", "view", "team-b"})
	v := reviewerOf(t, a.options, time.Now)
	friend := asker{user: "bob", groups: []string{"friends", "system:authenticated"}}
	for _, tc := range []struct {
		who                       asker
		verb, resource, namespace string
		want                      bool
	}{
		{ana, "get", "trainjobs", "team-a", true}, {ana, "create", "trainjobs", "team-a", true}, {ana, "delete", "models", "team-a", true},
		{ana, "create", "models", "team-a", true}, {ana, "get", "trainjobs", "team-b", false}, {ana, "get", "trainjobs", "", false},
		{friend, "get", "models", "team-b", true}, {friend, "create", "trainjobs", "team-b", false}, {friend, "get", "models", "team-a", false},
	} {
		got, err := v.ask(t.Context(), tc.who, tc.verb, tc.resource, tc.namespace)
		if err != nil || got != tc.want {
			t.Errorf("%s %s %s in %q: %v, %v; want %v", tc.who.user, tc.verb, tc.resource, tc.namespace, got, err, tc.want)
		}
	}
}

func TestAnAnswerHoldsForAMoment(t *testing.T) {
	a := newAPI(t, rule{"ana", "edit", "team-a"})
	c := &clock{time.Now()}
	v := reviewerOf(t, a.options, c.now)
	ask := func(verb, namespace string, want int64) {
		t.Helper()
		if _, err := v.ask(t.Context(), ana, verb, "trainjobs", namespace); err != nil {
			t.Fatal(err)
		}
		if n := a.questions.Load(); n != want {
			t.Errorf("the API server was asked %d times, want %d", n, want)
		}
	}
	ask("get", "team-a", 1)
	ask("get", "team-a", 1)
	ask("create", "team-a", 2) // another question
	ask("get", "team-b", 3)
	ask("get", "team-b", 3)
	c.at = c.at.Add(deniedLife)
	ask("get", "team-b", 4) // who was refused is soon let in
	ask("get", "team-a", 4)
	c.at = c.at.Add(allowedLife - deniedLife)
	ask("get", "team-a", 5)
	other := asker{user: "ana", groups: []string{"friends", "system:authenticated"}}
	if _, err := v.ask(t.Context(), other, "get", "trainjobs", "team-a"); err != nil || a.questions.Load() != 6 {
		t.Errorf("somebody with another group got the same answer: %v", err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	c := &clock{time.Now()}
	m := &memory[string]{now: c.now, answers: map[string]answer[string]{}}
	for i := range 2*answersMax + 1 {
		m.keep(fmt.Sprint(i), "", true)
		if len(m.answers) > answersMax {
			t.Fatalf("%d answers are kept", len(m.answers))
		}
	}
	c.at = c.at.Add(deniedLife)
	for i := range answersMax {
		m.keep(fmt.Sprint("old", i), "", false)
	}
	c.at = c.at.Add(deniedLife)
	m.keep("new", "", true)
	if _, ok := m.recall("new"); !ok || len(m.answers) > answersMax {
		t.Errorf("of %d answers the newest is there: %v", len(m.answers), ok)
	}
}

func TestNobodyKnows(t *testing.T) {
	a := newAPI(t, rule{"ana", "edit", "team-a"})
	ask := func(o options) error {
		_, err := reviewerOf(t, o, time.Now).ask(t.Context(), ana, "get", "trainjobs", "team-a")
		return err
	}
	if err := ask(a.options); err != nil {
		t.Fatal(err)
	}
	a.forbidden.Store(true)
	if ask(a.options) == nil {
		t.Error("a refusal to answer was taken for an answer")
	}
	a.forbidden.Store(false)
	stranger := a.options
	stranger.cert, stranger.key = newAuthority(t).issue(t, "polder:registry")
	if ask(stranger) == nil {
		t.Error("asked with the certificate of another authority")
	}
	other := newAPI(t, rule{"ana", "edit", "team-a"})
	liar := a.options
	liar.api = other.URL
	if ask(liar) == nil {
		t.Error("believed an API server of another authority")
	}
	a.Close()
	if ask(a.options) == nil {
		t.Error("got an answer from nobody")
	}
}
