package transfer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mtimeKey is the user metadata in which a file's time is kept: seconds since 1970
// with a fraction, as rclone writes it.
const mtimeKey = "Mtime"

// timeSlack is how far two times of one file may be apart: file systems round.
const timeSlack = time.Millisecond

func formatTime(t time.Time) string {
	if t.Unix() < 0 { // rare, and others read no sign before a fraction
		return strconv.FormatInt(t.Unix(), 10)
	}
	return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond())
}

// parseTime reads what formatTime and others write; ok is false for what is no time.
func parseTime(s string) (t time.Time, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	const far = 1 << 38 // some 8,000 years, which file systems can still hold
	if err != nil || seconds > far || seconds < -far || len(fraction) > 18 {
		return time.Time{}, false
	}
	if len(fraction) > 9 {
		fraction, s = fraction[:9], fraction[9:]
		if strings.Trim(s, "0123456789") != "" {
			return time.Time{}, false
		}
	}
	var nanos uint64
	if fraction != "" {
		nanos, err = strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64)
		if err != nil {
			return time.Time{}, false
		}
	}
	return time.Unix(seconds, int64(nanos)), true
}

func sameTime(a, b time.Time) bool { return a.Sub(b).Abs() < timeSlack }
