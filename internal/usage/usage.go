// Package usage marks errors that a person can put right by typing or writing
// something else: the program then exits with code 2, and 1 for all others.
// Everybody may import it.
package usage

import (
	"errors"
	"fmt"
	"strings"
)

type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// Error marks err; nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return fault{err}
}

// Errorf is fmt.Errorf, marked.
func Errorf(format string, args ...any) error { return fault{fmt.Errorf(format, args...)} }

// Line is err in one line: what reads YAML speaks in several.
func Line(err error) error { return errors.New(strings.Join(strings.Fields(err.Error()), " ")) }

// Is reports whether err is marked.
func Is(err error) bool {
	var f fault
	return errors.As(err, &f)
}
