package recipes

import (
	"strings"
	"testing"
)

// TestAll: each recipe says what it is, and is short enough to be read.
func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
		if len(r.What) < 20 {
			t.Errorf("%s says of itself %q; its first line is \"\"\"%s: what it does", r.Name, r.What, r.Name)
		}
		if n := strings.Count(r.Text, "\n"); n > 250 {
			t.Errorf("%s has %d lines", r.Name, n)
		}
	}
	if got, want := strings.Join(names, " "), "answer ask finetune logits lora reinforce sequence teacher"; got != want {
		t.Errorf("recipes are %s, want %s", got, want)
	}
	a, err := Digest()
	if b, _ := Digest(); err != nil || a != b || len(a) != 64 {
		t.Errorf("digests are %q and %q, %v", a, b, err)
	}
}
