package kernlog

import (
	"bytes"
	"strconv"
	"strings"
)

// parse takes apart one record: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];MESSAGE",
// and lines of properties, which begin with a space. ok is false if it is not of that
// format, not of the kernel, or only a fragment.
func parse(record []byte) (message string, ok bool) {
	head, text, found := bytes.Cut(record, []byte{';'})
	if !found {
		return "", false
	}
	fields := bytes.SplitN(head, []byte{','}, 5)
	if len(fields) < 4 || string(fields[3]) != "-" {
		return "", false
	}
	// The lower three bits are the level, the others the facility: 0 is the kernel, and
	// the kernel lets no program write that one.
	priority, err := strconv.ParseUint(string(fields[0]), 10, 32)
	if err != nil || priority>>3 != 0 {
		return "", false
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	return unescape(string(line)), true
}

// unescape undoes what the kernel does to a backslash and to bytes that do not print,
// ends of lines within a message among them: "\x0a".
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && len(s) >= i+4 {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
