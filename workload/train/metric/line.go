package metric

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// wire is one line of the file; unknown keys are ignored.
type wire struct {
	Time        string                     `json:"time"`
	Event       string                     `json:"event"`
	Epoch       json.RawMessage            `json:"epoch"`
	Epochs      json.RawMessage            `json:"epochs"`
	Step        json.RawMessage            `json:"step"`
	Loss        json.RawMessage            `json:"loss"`
	Metrics     map[string]json.RawMessage `json:"metrics"`
	ResumedFrom json.RawMessage            `json:"resumed_from"`
	WorldSize   json.RawMessage            `json:"world_size"`
	File        string                     `json:"file"`
	Bytes       json.RawMessage            `json:"bytes"`
	BytesAll    json.RawMessage            `json:"bytes_all"`
}

// take reads one whole line into s.
func (s *Summary) take(line []byte) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return
	}
	var w wire
	if line[0] != '{' || Unmarshal(line, &w) != nil {
		s.Refused++
		return
	}
	s.Lines++
	if t, err := time.Parse(time.RFC3339, w.Time); err == nil {
		s.Time = t
	}
	switch w.Event {
	case "start":
		s.start(w)
	case "epoch", "step":
		count(w.Epoch, &s.Epoch)
		count(w.Epochs, &s.Epochs)
		count(w.Step, &s.Step)
		s.values(w)
	case "end":
		s.Ended = true
		s.values(w)
	case "data":
		count(w.Bytes, &s.DataBytes)
		count(w.BytesAll, &s.DataBytesAll)
	case "checkpoint_corrupt":
		s.Corrupt++
		s.CorruptFile = clip(w.File, FileBytesMax)
	}
}

// start begins another run: what it resumed from is what has been done.
func (s *Summary) start(w wire) {
	s.Starts++
	s.Ended = false
	s.ResumedFrom, s.Epoch, s.Step = 0, 0, 0
	count(w.ResumedFrom, &s.ResumedFrom)
	count(w.ResumedFrom, &s.Epoch)
	count(w.Epochs, &s.Epochs)
	count(w.WorldSize, &s.WorldSize)
}

// values takes the loss and the metrics of a line. Names go in by alphabet, so
// that the same lines always fill a Summary with the same names.
func (s *Summary) values(w wire) {
	if v, ok := decimal(w.Loss); ok {
		s.Loss = v
	}
	for _, name := range slices.Sorted(maps.Keys(w.Metrics)) {
		v, ok := decimal(w.Metrics[name])
		if !ok || name == "" || len(name) > NameBytesMax || !utf8.ValidString(name) {
			continue
		}
		if _, known := s.Metrics[name]; !known && len(s.Metrics) >= NamesMax {
			continue
		}
		if s.Metrics == nil {
			s.Metrics = make(map[string]string)
		}
		s.Metrics[name] = v
	}
}

// count sets *to when raw is a whole number from 0 to 2^53.
func count(raw json.RawMessage, to *int64) {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err == nil && f >= 0 && f <= 1<<53 && f == math.Trunc(f) {
		*to = int64(f)
	}
}

// decimal returns raw, a number or a string that spells one, in the shortest
// notation that means the same 64-bit float.
func decimal(raw json.RawMessage) (string, bool) {
	text := strings.Trim(string(raw), `"`)
	if len(text) == 0 || len(text) > NameBytesMax {
		return "", false
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case math.IsInf(f, 1): // out of range too: as large as no float is
		return "Infinity", true
	case math.IsInf(f, -1):
		return "-Infinity", true
	case err != nil:
		return "", false
	case math.IsNaN(f):
		return "NaN", true
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
}

// Unmarshal is json.Unmarshal for what Python's json module writes: the bare
// words NaN, Infinity and -Infinity are read as strings.
func Unmarshal(text []byte, v any) error { return json.Unmarshal(quoteNonFinite(text), v) }

// quoteNonFinite puts quotes around the bare words NaN, Infinity and -Infinity,
// which Python's json module writes and JSON does not know.
func quoteNonFinite(line []byte) []byte {
	if !bytes.Contains(line, []byte("NaN")) && !bytes.Contains(line, []byte("Infinity")) {
		return line
	}
	out := make([]byte, 0, len(line)+16)
	quoted := false
	for i := 0; i < len(line); {
		if !quoted {
			if word := nonFinite(line[i:]); word != "" {
				out = append(append(append(out, '"'), word...), '"')
				i += len(word)
				continue
			}
		}
		switch {
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '\\' && quoted && i+1 < len(line):
			out = append(out, line[i])
			i++
		}
		out = append(out, line[i])
		i++
	}
	return out
}

// nonFinite returns the word that b begins with, if it is one of the three.
func nonFinite(b []byte) string {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(b, []byte(word)) {
			return word
		}
	}
	return ""
}

// clip shortens s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// Values returns metrics as a Summary holds them: bounded in number and length
// of names, in decimal notation, without what is no number.
func Values(metrics map[string]json.RawMessage) map[string]string {
	var s Summary
	s.values(wire{Metrics: metrics})
	return s.Metrics
}
