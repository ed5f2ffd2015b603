package component

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"polder.dev/polder/internal/logs"
)

// triesMax is how often a part may end before it was ever ready.
const triesMax = 6

// Entry is one row of a Runner's table.
type Entry struct {
	Component Component
	// After names the components that must be ready before this one starts.
	After []string
}

// Runner starts and stops a table of components.
type Runner struct {
	log     *slog.Logger
	entries []Entry
	limit   time.Duration
}

// NewRunner checks the table: names are unique, and a row comes after only rows
// above it, so that there can be no circle. Each component has limit to become
// ready.
func NewRunner(log *slog.Logger, limit time.Duration, entries []Entry) (*Runner, error) {
	seen := map[string]bool{}
	for _, e := range entries {
		for _, a := range e.After {
			if !seen[a] {
				return nil, fmt.Errorf("component %s comes after %s, which is not above it in the table", e.Component.Name(), a)
			}
		}
		if seen[e.Component.Name()] {
			return nil, fmt.Errorf("component %s is in the table twice", e.Component.Name())
		}
		seen[e.Component.Name()] = true
	}
	return &Runner{log: log, entries: entries, limit: limit}, nil
}

// Start starts everything and returns when all are ready, or when one cannot
// be; then ctx's error, or that one's, says why, and Stop must still be called.
func (r *Runner) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := map[string]chan struct{}{}
	for _, e := range r.entries {
		ready[e.Component.Name()] = make(chan struct{})
	}
	errs := make([]error, len(r.entries))
	var wg sync.WaitGroup
	for i, e := range r.entries {
		wg.Go(func() {
			for _, a := range e.After {
				select {
				case <-ready[a]:
				case <-ctx.Done():
					return
				}
			}
			if errs[i] = r.startOne(ctx, e.Component); errs[i] != nil {
				cancel()
				return
			}
			close(ready[e.Component.Name()])
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) startOne(ctx context.Context, c Component) error {
	if err := c.Init(ctx); err != nil {
		return fmt.Errorf("preparing %s: %w", c.Name(), err)
	}
	began := time.Now()
	if err := c.Start(ctx); err != nil {
		return fmt.Errorf("starting %s: %w", c.Name(), err)
	}
	limit := time.NewTimer(r.limit)
	defer limit.Stop()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	var why error
	for {
		s := c.Status()
		if s.State == Ready || s.State == Done {
			r.log.Info("ready", logs.Component, c.Name(), logs.Duration, time.Since(began).Round(time.Millisecond))
			return nil
		}
		if s.Restarts >= triesMax {
			return fmt.Errorf("%s ended %d times before it was ready: %s; `polder logs --component %s` shows its log", c.Name(), s.Restarts, s.Message, s.Name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			why = c.Ready(ctx)
			return fmt.Errorf("%s was not ready after %v: %v; `polder logs --component %s` shows its log", c.Name(), r.limit, why, s.Name)
		case <-tick.C:
		}
	}
}

// Stop stops everything, each before those it comes after.
func (r *Runner) Stop(ctx context.Context) error {
	gone := map[string]chan struct{}{}
	for _, e := range r.entries {
		gone[e.Component.Name()] = make(chan struct{})
	}
	errs := make([]error, len(r.entries))
	var wg sync.WaitGroup
	for i, e := range r.entries {
		wg.Go(func() {
			defer close(gone[e.Component.Name()])
			for _, later := range r.entries[i+1:] {
				if slices.Contains(later.After, e.Component.Name()) {
					<-gone[later.Component.Name()]
				}
			}
			if err := e.Component.Stop(ctx); err != nil {
				errs[i] = fmt.Errorf("stopping %s: %w", e.Component.Name(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Status lists what every component is doing, in the table's order.
func (r *Runner) Status() []Status {
	out := make([]Status, 0, len(r.entries))
	for _, e := range r.entries {
		out = append(out, e.Component.Status())
	}
	return out
}
