// Package serve is the server of one model in ONNX: the Open Inference Protocol, version
// 2, over HTTP in clear text, for the gateway that stands before it. Only the program
// imports it. docs/formats/serving.md is normative.
//
// It trusts neither requests nor clients: what a body may hold and how long anything may
// take is bounded, and what does not fit the model is refused before the library sees it.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/tools/onnx/session"
)

// gcPercent lets garbage grow to about 20 MiB before it is collected.
const gcPercent = 400

// Run serves until ctx ends and whoever asked before has been answered. get reads the
// environment.
func Run(ctx context.Context, log *slog.Logger, get func(string) string) error {
	c, err := read(get)
	if err != nil {
		return err
	}
	if get("GOGC") == "" {
		// What lives is a few megabytes, and the memory that matters is the model's.
		debug.SetGCPercent(gcPercent)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(c.port)))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	return serve(ctx, log, c, l)
}

// serve answers at l while the model is loaded, and then with it.
func serve(ctx context.Context, log *slog.Logger, c config, l net.Listener) error {
	s := newServer(log, c)
	h := &http.Server{
		Handler:        s.handler(),
		ReadTimeout:    readLimit,
		IdleTimeout:    idleLimit,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	opened := make(chan error, 1)
	go func() { opened <- s.load() }()
	var err error
	select {
	case err = <-opened:
	case <-ctx.Done():
		// The library cannot be told to stop; it ends with the process.
		_ = h.Close() // nobody was promised an answer
		<-ended
		return nil
	}
	if err == nil {
		select {
		case err = <-ended:
			return fmt.Errorf("serving: %w", err)
		case <-ctx.Done():
			err = s.drain(h)
		}
	} else {
		_ = h.Close() // the model's error is the one that counts
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if m := s.loaded.Load(); m != nil && s.inFlight.Load() == 0 {
		m.session.Close()
	}
	return err
}

// One run of a model that takes longer than this is worth dividing among threads. Of one
// that takes less, several run at the same time, each in a thread.
const divideFrom = 5 * time.Millisecond

// load opens the model and warms it up.
func (s *server) load() error {
	if err := session.Start(); err != nil {
		return err
	}
	began := time.Now()
	m, err := session.Open(s.c.dir, session.Options{Threads: 1})
	if err != nil {
		return fmt.Errorf("loading model: %w", err)
	}
	runs, threads := s.c.threads, 1
	took := warm(m)
	if took > divideFrom && s.c.threads > 1 {
		m.Close()
		runs, threads = 1, s.c.threads
		if m, err = session.Open(s.c.dir, session.Options{Threads: threads}); err != nil {
			return fmt.Errorf("loading model: %w", err)
		}
		took = warm(m)
	}
	if err := s.use(m, runs, took); err != nil {
		return err
	}
	s.log.Info("model is ready", logs.Name, s.c.name, logs.Path, s.c.dir, logs.Duration, time.Since(began).Round(time.Millisecond),
		"run", took, "runs", runs, "threads", threads, "joins", m.Joins(), "onnxruntime", session.Version())
	return nil
}

const (
	warmRuns = 16
	warmMost = time.Second
)

// warm runs the model on zeros, so that the first request does not pay for what the
// library does once, and returns the median time of a run. A model that fails on zeros
// is not warmed.
func warm(m *session.Session) time.Duration {
	var took []time.Duration
	for began := time.Now(); len(took) < warmRuns && time.Since(began) < warmMost; {
		from := time.Now()
		if _, err := m.Run(m.Zeros(1)); err != nil {
			return 0
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

const (
	// quiet is how long no request may have begun before the server stops listening:
	// whoever sends it some has to see first that it is not ready any more.
	quiet     = time.Second
	drainLook = 20 * time.Millisecond
)

// drain tells that the server is not ready, and ends when all requests are answered and
// no more come.
func (s *server) drain(h *http.Server) error {
	s.log.Info("server is stopping")
	s.last.Store(time.Now().UnixNano())
	s.leaving.Store(true)
	end := time.Now().Add(s.c.drainMax)
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for now := range tick.C {
		if s.inFlight.Load() == 0 && now.Sub(time.Unix(0, s.last.Load())) > quiet || now.After(end) {
			break
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), end.Add(quiet))
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return fmt.Errorf("stopping: %d requests were not answered within %s: %w", s.inFlight.Load(), s.c.drainMax, err)
	}
	return nil
}
