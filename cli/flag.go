package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"polder.dev/polder/internal/usage"
)

// What cobra says of flags, in words that are those of its sources.
var (
	flagTogether = regexp.MustCompile(`^if any flags in the group \[(.*)\] are set they must all be set; missing \[(.*)\]$`)
	flagApart    = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)
)

// flagFault says what is wrong with flags in words that name them as they are typed.
func flagFault(err error) error {
	if err == nil {
		return nil
	}
	if m := flagTogether.FindStringSubmatch(err.Error()); m != nil {
		return usage.Errorf("%s belong together: give %s, too", dashed(strings.Fields(m[1]), " and "), dashed(strings.Fields(m[2]), " and "))
	}
	if m := flagApart.FindStringSubmatch(err.Error()); m != nil {
		return usage.Errorf("%s exclude each other: give one of them", dashed(strings.Fields(m[1]), " and "))
	}
	var invalid *pflag.InvalidValueError
	var number *strconv.NumError
	switch {
	case !errors.As(err, &invalid):
		return usage.Error(err)
	case errors.As(err, &number):
		return usage.Errorf("--%s %q is no %s that it can be", invalid.GetFlag().Name, invalid.GetValue(), kindOf(invalid.GetFlag()))
	case invalid.GetFlag().Value.Type() == "duration":
		return usage.Errorf("--%s %q is no duration, such as 90s, 5m or 24h", invalid.GetFlag().Name, invalid.GetValue())
	}
	return usage.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), errors.Unwrap(err))
}

// kindOf is what a flag takes, in words.
func kindOf(f *pflag.Flag) string {
	switch t := f.Value.Type(); {
	case strings.HasPrefix(t, "float"):
		return "number"
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"):
		return "whole number"
	case t == "bool":
		return "true or false"
	default:
		return t
	}
}

// dashed are names as they are typed.
func dashed(names []string, between string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprint("--", n)
	}
	return strings.Join(out, between)
}

// missing names the flags that c needs and was not given, and what to give them.
func missing(c *cobra.Command) error {
	var flags []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if needed := f.Annotations[cobra.BashCompOneRequiredFlag]; len(needed) > 0 && needed[0] == "true" && !f.Changed {
			_, what := pflag.UnquoteUsage(f)
			flags = append(flags, fmt.Sprintf("--%s (%s)", f.Name, what))
		}
	})
	if len(flags) == 0 {
		return nil
	}
	return usage.Errorf("%s needs %s; `%[1]s --help` tells more", c.CommandPath(), strings.Join(flags, " and "))
}
