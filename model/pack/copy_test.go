package pack

import (
	"errors"
	"testing"

	"polder.dev/polder/model/registry"
	"polder.dev/polder/model/registry/registrytest"
)

// TestCopy: under its other name a model has the same digest, and what refers to it came
// along, also what was attached after the first copy.
func TestCopy(t *testing.T) {
	s := registrytest.New(t)
	c := open(t, s)
	d, _ := push(t, c, some()...)
	if _, err := AttachTo(t.Context(), c, reference, d, TypeCard, nil, []byte("# a card")); err != nil {
		t.Fatal(err)
	}
	const other = "models/ns/renamed"
	for range 2 {
		at, err := Copy(t.Context(), c, reference+"@"+d.String(), other)
		if err != nil {
			t.Fatal(err)
		}
		if want := other + "@" + d.String(); at != want {
			t.Errorf("it lies at %s, want %s", at, want)
		}
	}
	if _, err := AttachTo(t.Context(), c, reference, d, TypeEvaluation, nil, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), c, reference+"@"+d.String(), other); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{TypeCard, TypeEvaluation} {
		if found, err := Referrers(t.Context(), c, other, d, kind); err != nil || len(found) != 1 {
			t.Errorf("%d of type %s refer to the copy: %v", len(found), kind, err)
		}
	}
	latest, err := c.Digest(t.Context(), other+":latest")
	if err != nil || latest.String() != d.String() {
		t.Errorf("latest is %s: %v", latest, err)
	}
	a, err := Find(t.Context(), c, other+"@"+d.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Pull(t.Context(), t.TempDir(), nil); err != nil {
		t.Errorf("the copy cannot be pulled: %v", err)
	}
	if _, err := Copy(t.Context(), c, "models/ns/none@"+d.String(), other); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("copying what is not there: %v", err)
	}
}
