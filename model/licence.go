package model

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// licenceShape is the name of one licence, or of an exception to one.
var licenceShape = regexp.MustCompile(`^[A-Za-z0-9][-.:A-Za-z0-9]*\+?$`)

// CheckLicence says what is wrong with the form of an SPDX expression. Whether SPDX lists
// the names in it is not looked at.
func CheckLicence(expression string) error {
	depth, name := 0, false // name: a licence has just been read
	for _, w := range strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression)) {
		operator := slices.Contains([]string{"AND", "OR", "WITH"}, strings.ToUpper(w))
		switch {
		case w == "(" && !name:
			depth++
		case w == ")" && name && depth > 0:
			depth--
		case operator && name:
			name = false
		case licenceShape.MatchString(w) && !operator && !name:
			name = true
		default:
			return fmt.Errorf("%q is no SPDX expression at %q; write one such as Apache-2.0, MIT OR Apache-2.0, or LicenseRef-NAME", expression, w)
		}
	}
	if !name || depth > 0 {
		return fmt.Errorf("%q is no whole SPDX expression; write one such as Apache-2.0, MIT OR Apache-2.0, or LicenseRef-NAME", expression)
	}
	return nil
}

// LicenceAllowed reports whether a model under the SPDX expression licence may be used
// where only those of the list may. Of "A OR B" one has to be there, of "A AND B" both;
// an expression with parentheses has to be there as it is. Letters' case does not matter.
func LicenceAllowed(licence string, list []string) bool {
	there := func(l string) bool {
		l = words(l)
		return l != "" && slices.ContainsFunc(list, func(a string) bool { return strings.EqualFold(words(a), l) })
	}
	if there(licence) {
		return true
	}
	if strings.ContainsAny(licence, "()") {
		return false
	}
	return slices.ContainsFunc(split(licence, "OR"), func(one string) bool {
		return !slices.ContainsFunc(split(one, "AND"), func(l string) bool { return !there(l) })
	})
}

// words is s with one space between its words.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// split parts an expression at an operator.
func split(expression, operator string) []string {
	out := []string{""}
	for _, w := range strings.Fields(expression) {
		if strings.EqualFold(w, operator) {
			out = append(out, "")
			continue
		}
		out[len(out)-1] += " " + w
	}
	return out
}
