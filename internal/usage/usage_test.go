package usage

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
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
