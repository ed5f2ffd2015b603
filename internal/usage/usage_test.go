package usage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestIs(t *testing.T) {
	plain := errors.New("x")
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":             {nil, false},
		"nothing is no fault": {Error(nil), false},
		"plain":               {plain, false},
		"marked":              {Error(plain), true},
		"made":                {Errorf("x %d", 1), true},
		"wrapped later":       {fmt.Errorf("reading: %w", Error(plain)), true},
		"joined":              {errors.Join(plain, Error(plain)), true},
	} {
		if got := Is(tc.err); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestAMarkHidesNothing(t *testing.T) {
	err := Errorf("reading %s: %w", "x", fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "reading x: file does not exist" {
		t.Errorf("%v", err)
	}
	if Error(fs.ErrNotExist).Error() != fs.ErrNotExist.Error() {
		t.Error("the mark changed the message")
	}
}

func TestLineSpeaksOfFields(t *testing.T) {
	type thing struct {
		Size  int                 `json:"size"`
		Inner struct{ Open bool } `json:"inner"`
	}
	for text, want := range map[string]string{
		"just words":           "it is a string where fields and their values are expected",
		"[1, 2]":               "it is a list where fields and their values are expected",
		"size: many":           "field size cannot be a string",
		"size: 1.5":            "field size cannot be 1.5",
		"inner: {open: [yes]}": "field inner.open cannot be a list",
		"size: {a: 1}":         "field size cannot be a mapping",
	} {
		err := yaml.UnmarshalStrict([]byte(text), new(thing))
		if err == nil {
			t.Fatalf("%s is read", text)
		}
		if got := Line(err).Error(); !strings.EqualFold(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
