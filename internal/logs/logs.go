// Package logs holds the keys of Polder's structured logs, so that one thing has
// one name in every line, and the handler every process starts with. Everybody
// may import it. Messages are lower-case facts; values go into attributes.
package logs

import (
	"io"
	"log/slog"
)

// Keys of attributes, in alphabetical order.
const (
	Addr      = "addr"
	Attempt   = "attempt"
	Component = "component"
	Digest    = "digest"
	Duration  = "duration"
	Err       = "err"
	Job       = "job"
	Name      = "name"
	Namespace = "namespace"
	Path      = "path"
	PID       = "pid"
	Repo      = "repo"
	Signal    = "signal"
)

// New returns a logger that writes one line of key=value per record to w.
func New(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
