package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/system/layout"
)

// Log says what ShowLog shows.
type Log struct {
	Component string
	Follow    bool
	Tail      int // lines; negative for all
}

// LogNames lists the components whose log ShowLog knows.
func LogNames(dataDir string) []string {
	c, err := Open(dataDir, "")
	if err != nil {
		return nil
	}
	return logNames(c)
}

// logNames lists the components that have a log.
func logNames(c layout.Cloud) []string {
	found, _ := filepath.Glob(c.Path("logs", "*.log"))
	var names []string
	for _, f := range found {
		name := strings.TrimSuffix(filepath.Base(f), ".log")
		if !strings.Contains(name, "-20") { // a rotated one: NAME-2026-...
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ShowLog writes the log of a component of the cloud to w.
func ShowLog(ctx context.Context, dataDir string, l Log, w io.Writer) error {
	c, err := Open(dataDir, "")
	if err != nil {
		return usage.Error(err)
	}
	names := logNames(c)
	known := strings.Join(names, ", ")
	if len(names) == 0 {
		known = "none: there is no cloud in " + c.Dir
	}
	if l.Component == "" {
		return usage.Errorf("--component must be given; known are %s", known)
	}
	if !slices.Contains(names, l.Component) {
		return usage.Errorf("--component %s has no log; known are %s", l.Component, known)
	}
	f, err := os.Open(c.Log(l.Component))
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	defer func() { f.Close() }()
	if l.Tail >= 0 {
		if err := seekTail(f, l.Tail); err != nil {
			return fmt.Errorf("reading log: %w", err)
		}
	}
	for {
		if _, err := io.Copy(w, f); err != nil {
			return fmt.Errorf("reading log: %w", err)
		}
		if !l.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
		next, err := rotated(f)
		if err != nil {
			return err
		}
		if next != nil { // what came last into the old one, then the new one
			_, err := io.Copy(w, f)
			f.Close()
			f = next
			if err != nil {
				return fmt.Errorf("reading log: %w", err)
			}
		}
	}
}

// rotated opens the file that took f's name, if one did.
func rotated(f *os.File) (*os.File, error) {
	now, err := os.Stat(f.Name())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // between the two
	}
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	then, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading log: %w", err)
	}
	if os.SameFile(now, then) {
		return nil, nil
	}
	return os.Open(f.Name())
}

// seekTail moves f to before its last n lines.
func seekTail(f *os.File, n int) error {
	const block = 64 << 10
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, block)
	seen := 0
	for at := end; at > 0; {
		size := min(at, block)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil && err != io.EOF {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || at+i == end-1 {
				continue
			}
			if seen++; seen == n {
				_, err := f.Seek(at+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
