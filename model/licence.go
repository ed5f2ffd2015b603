package model

import (
	"slices"
	"strings"
)

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
