package nvidia

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Words that nvidia-smi prints in place of a value. Those of broken cards are NVML's
// texts for errors.
const (
	saysLost     = "GPU is lost"
	saysReset    = "GPU requires reset"
	saysUnknown  = "Unknown Error"
	saysErr      = "ERR!"
	saysNothing  = "N/A"
	saysNotFound = "Not Found"
)

var noValue = []string{
	"", saysNothing, "[N/A]", "Not Supported", "[Not Supported]", "Not Available", saysNotFound, "Function Not Found",
	"Insufficient Permissions", "Requested functionality has been deprecated", "Timeout", "None",
	saysLost, saysReset, saysUnknown, "[" + saysLost + "]", "[" + saysUnknown + "]", saysErr,
}

// word is a value of text, "" if there is none.
func word(s string) string {
	s = strings.TrimSpace(s)
	if slices.Contains(noValue, s) || len(s) > 200 {
		return ""
	}
	return s
}

// code is a value that has no spaces: a number of a part, a version.
func code(s string) string {
	if s = word(s); strings.ContainsAny(s, " \t\n") {
		return ""
	}
	return s
}

// number reads "165.93 W" where unit is "W". ok is false if it is no number, or one
// of something else.
func number(s, unit string) (n float64, ok bool) {
	value, found := strings.CutSuffix(strings.TrimSpace(s), unit)
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return n, found && err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
}

// amount reads "81559 MiB" as bytes. ok is false if it is none.
func amount(s string) (n int64, ok bool) {
	value, found := strings.CutSuffix(strings.TrimSpace(s), "MiB")
	mib, err := strconv.ParseUint(strings.TrimSpace(value), 10, 40)
	return int64(mib) << 20, found && err == nil
}

// count reads a counter. ok is false if it is none.
func count(s string) (n int64, ok bool) {
	u, err := strconv.ParseUint(strings.TrimSpace(s), 10, 50) // so that sums of some are no overflow
	return int64(u), err == nil
}

// index reads a small number such as that of an instance, -1 if it is none.
func index(s string) int {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
