// Package usage marks errors that a person can put right by typing or writing
// something else: the program then exits with code 2, and 1 for all others.
// Everybody may import it.
package usage

import (
	"errors"
	"fmt"
	"regexp"
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

// wrongType is how encoding/json speaks of Go's types, which are not the user's.
var wrongType = regexp.MustCompile(`(?:error unmarshaling JSON: while decoding JSON: )?json: cannot unmarshal (\w+(?: \S+)?) into Go (?:struct field \w*\.(\S+)|value) of type \S+`)

// Line is what a reader of YAML says, in one line and in the user's terms.
func Line(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return errors.New(wrongType.ReplaceAllStringFunc(text, func(said string) string {
		m := wrongType.FindStringSubmatch(said)
		kind := map[string]string{"object": "a mapping", "array": "a list", "bool": "true or false"}[m[1]]
		if n, ok := strings.CutPrefix(m[1], "number "); ok {
			kind = n
		} else if kind == "" {
			kind = "a " + m[1]
		}
		if m[2] == "" {
			return "it is " + kind + " where fields and their values are expected"
		}
		return "field " + m[2] + " cannot be " + kind
	}))
}

// Is reports whether err is marked.
func Is(err error) bool {
	var f fault
	return errors.As(err, &f)
}
