package residency_test

import (
	"errors"
	"strings"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

func rule(home string, allowed ...string) storage.Residency {
	return storage.Residency{Home: home, Allowed: allowed}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name  string
		rule  storage.Residency
		place string
		ok    bool
	}{
		{"no rule", rule(""), "us", true},
		{"no rule, unknown place", rule(""), "", true},
		{"the home", rule("eu"), "eu", true},
		{"within the home", rule("eu"), "eu/de/fra1", true},
		{"above what is allowed", rule("eu/de"), "eu", false},
		{"a name that only begins alike", rule("eu"), "europe", false},
		{"another", rule("eu"), "us", false},
		{"a further one", rule("eu", "ch"), "ch/zrh", true},
		{"unknown place", rule("eu"), "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := residency.Admit("b", c.rule, residency.Place{Name: "tier cold", Jurisdiction: c.place})
			if c.ok != (err == nil) || err != nil && !errors.Is(err, storage.ErrForbiddenPlace) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAdmitSaysWhy(t *testing.T) {
	err := residency.Admit("patients", rule("eu/de", "ch"), residency.Place{Name: "tier hot", Jurisdiction: "ch"}, residency.Place{Name: "remote r2", Jurisdiction: "us/va"})
	for _, text := range []string{"remote r2", "us/va", "patients", "eu/de, ch"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}

func TestFlow(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to storage.Residency
		ok       bool
	}{
		{"from anywhere to anywhere", rule(""), rule(""), true},
		{"from anywhere", rule(""), rule("eu"), true},
		{"to anywhere", rule("eu"), rule(""), false},
		{"alike", rule("eu"), rule("eu"), true},
		{"to the stricter", rule("eu"), rule("eu/de"), true},
		{"to the laxer", rule("eu/de"), rule("eu"), false},
		{"to one with a further place", rule("eu"), rule("eu", "us"), false},
		{"to one with a further place that is allowed", rule("eu", "us"), rule("eu/fr", "us/va"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := residency.Flow(residency.Bucket{Name: "a", Residency: c.from}, residency.Bucket{Name: "b", Residency: c.to})
			if c.ok != (err == nil) || err != nil && !errors.Is(err, storage.ErrForbiddenPlace) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, r := range []storage.Residency{rule(""), rule("eu"), rule("eu/de-1/x", "ch")} {
		if err := residency.Check(r); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []storage.Residency{rule("", "eu"), rule("EU"), rule("eu/"), rule("/eu"), rule("eu", ""), rule("eu", "u s"), rule(strings.Repeat("a", 200))} {
		if err := residency.Check(r); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%+v: got %v", r, err)
		}
	}
}
