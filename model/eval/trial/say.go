package trial

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"polder.dev/polder/model/eval"
)

// What the lines for the controller begin with.
const (
	progressMark = "polder-progress "
	reportMark   = "polder-report "
)

// LogBytesMax is the most of a trial's output that is read.
const LogBytesMax = eval.BytesMax + 2<<20

// Teller returns what prints progress on w: at most every two seconds, less often the
// longer it takes, so that there are never many lines.
func Teller(w io.Writer, now func() time.Time) func(done, total int64) {
	const least, share = 2 * time.Second, 200
	start := now()
	last := start
	return func(done, total int64) {
		t := now()
		if done != total && t.Sub(last) < max(least, t.Sub(start)/share) {
			return
		}
		last = t
		_, _ = fmt.Fprintf(w, "%s%d %d\n", progressMark, done, total) // it only informs
	}
}

// Say prints a report.
func Say(w io.Writer, r *eval.Report) error {
	b, err := eval.Encode(r)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", reportMark, b); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

// Progress is the last one that a part of the output tells; ok is false when it tells none.
func Progress(text []byte) (done, total int64, ok bool) {
	for line := range bytes.Lines(text) {
		var d, t int64
		rest, is := strings.CutPrefix(strings.TrimSpace(string(line[:min(len(line), 128)])), strings.TrimSpace(progressMark))
		if n, err := fmt.Sscanf(rest, "%d %d", &d, &t); is && err == nil && n == 2 && d >= 0 && d <= t {
			done, total, ok = d, t, true
		}
	}
	return done, total, ok
}

// ErrNoReport tells that the output has no report.
var ErrNoReport = errors.New("the evaluation's output has no report")

// ReadReport finds the report in a trial's output. The last one counts. An error of the
// reader is Trouble.
func ReadReport(r io.Reader) (*eval.Report, []byte, error) {
	in := bufio.NewReaderSize(io.LimitReader(r, LogBytesMax+1), 64<<10)
	var found []byte
	read := int64(0)
	for {
		line, err := in.ReadBytes('\n')
		read += int64(len(line))
		if read > LogBytesMax {
			return nil, nil, fmt.Errorf("the evaluation's output is longer than %d bytes", LogBytesMax)
		}
		if rest, ok := bytes.CutPrefix(line, []byte(reportMark)); ok && err == nil {
			found = bytes.TrimSpace(rest)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, &Trouble{fmt.Errorf("reading the evaluation's output: %w", err)}
		}
	}
	if found == nil {
		return nil, nil, ErrNoReport
	}
	report, err := eval.Decode(found)
	if err != nil {
		return nil, nil, err
	}
	return report, found, nil
}
