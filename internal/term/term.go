// Package term draws for people: tables, a progress bar and a curve, in a
// terminal. Everybody may import it. What is no terminal gets no control
// characters.
package term

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width of the terminal w in columns; 80 when it does not say.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 20 {
			return n
		}
	}
	return 80
}

// Table writes rows in columns, parted by two spaces.
func Table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// Bar is a bar of width columns, the share done of it filled.
func Bar(done float64, width int) string {
	done = min(max(done, 0), 1)
	n := int(math.Round(done * float64(width)))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

// Line is a line of a terminal that is drawn over and over.
type Line struct {
	w    io.Writer
	last string
}

// NewLine returns a line on w.
func NewLine(w io.Writer) *Line { return &Line{w: w} }

// Set draws text in place of what the line said, cut to the terminal's width.
func (l *Line) Set(text string) {
	if r := []rune(text); len(r) >= Width(l.w) {
		text = string(r[:Width(l.w)-1])
	}
	if text != l.last {
		l.last = text
		fmt.Fprintf(l.w, "\r\033[K%s", text)
	}
}

// Clear removes the line.
func (l *Line) Clear() {
	if l.last != "" {
		l.last = ""
		fmt.Fprint(l.w, "\r\033[K")
	}
}

// Bytes is n in binary units.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f, i = f/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// Age is the time since t in the largest unit that is at least 1, as kubectl has
// it.
func Age(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(max(d, 0).Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
