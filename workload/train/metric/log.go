package metric

import (
	"bytes"
	"maps"
	"time"
)

// Limits of what is passed on.
const (
	// LineBytesMax is the longest line that is read; longer ones are refused.
	LineBytesMax = 64 << 10
	// NamesMax is how many different metrics a Summary holds.
	NamesMax = 32
	// NameBytesMax is the longest name of a metric.
	NameBytesMax = 64
	// FileBytesMax is how much of a checkpoint's file name is kept.
	FileBytesMax = 128
)

// Summary is what a metrics file says so far. The zero Summary says nothing.
type Summary struct {
	// Epoch that ended last, counted from 1; after a resume, the epoch of the
	// checkpoint until another one ends.
	Epoch int64
	// Epochs in all; 0 when the program did not say.
	Epochs int64
	// Step that ended last.
	Step int64
	// Loss as last reported, in decimal notation; "NaN", "Infinity" or
	// "-Infinity" where it is no number; empty when never reported.
	Loss string
	// Metrics by name, like Loss, the last value of each.
	Metrics map[string]string
	// ResumedFrom is the epoch of the checkpoint that the present run began at.
	ResumedFrom int64
	// WorldSize is the number of workers, as the program sees it.
	WorldSize int64
	// Time of the last line that said anything; zero when no line had one.
	Time time.Time
	// DataBytes of DataBytesAll have been copied to the worker before it started.
	DataBytes, DataBytesAll int64
	// Starts counts the start events: the runs that appended to this file.
	Starts int64
	// Ended tells that the present run reported its end.
	Ended bool
	// Corrupt counts checkpoints found corrupt, CorruptFile names the last one.
	Corrupt     int64
	CorruptFile string
	// Lines counts the lines understood, Refused those that were too long or no
	// JSON object.
	Lines, Refused int64
}

// Log takes the bytes of a metrics file, in order and in pieces of any size,
// and keeps their Summary. A last line without its newline waits for the rest.
// The zero Log is ready to use. It is not safe for concurrent use.
type Log struct {
	line     []byte // the piece of a line seen so far
	skipping bool   // in a line already refused
	sum      Summary
}

// Write takes the next bytes. It never fails: what cannot be understood is
// counted in the Summary and left out.
func (l *Log) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece, rest, ended := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !l.skipping && len(l.line)+len(piece) > LineBytesMax {
			l.skipping, l.line = true, l.line[:0]
			l.sum.Refused++
		}
		if !l.skipping {
			l.line = append(l.line, piece...)
		}
		if !ended {
			break
		}
		if !l.skipping {
			l.sum.take(l.line)
		}
		l.skipping, l.line = false, l.line[:0]
	}
	return n, nil
}

// Summary returns what the lines so far say. The caller owns the result.
func (l *Log) Summary() Summary {
	s := l.sum
	s.Metrics = maps.Clone(s.Metrics)
	return s
}
