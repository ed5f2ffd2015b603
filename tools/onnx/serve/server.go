package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/tools/onnx/batch"
	"polder.dev/polder/tools/onnx/session"
)

// jobsMax is how many requests may wait for the model.
const jobsMax = 4096

// server answers the Open Inference Protocol for one model.
type server struct {
	log     *slog.Logger
	c       config
	bodies  *bodies
	metrics *metrics
	answers sync.Pool // *[]byte

	loaded   atomic.Pointer[loaded] // nil until the model is ready
	leaving  atomic.Bool
	inFlight atomic.Int64
	last     atomic.Int64 // when a request began last, in nanoseconds since 1970
}

// loaded is a model that is ready.
type loaded struct {
	session  *session.Session
	batch    *batch.Batcher
	metadata []byte // JSON
	slow     bool   // an answer may take longer than a request may take to come
}

// slowFrom is how long a run takes of a model that is slow: were as many requests to wait
// as may, the last would not be answered within readLimit.
const slowFrom = readLimit / (2 * jobsMax)

func newServer(log *slog.Logger, c config) *server {
	s := &server{log: log, c: c, bodies: newBodies(c.bodyMax)}
	s.answers.New = func() any { b := make([]byte, 0, 4096); return &b }
	s.metrics = newMetrics(func() float64 {
		if l := s.loaded.Load(); l != nil {
			return float64(l.batch.Waiting())
		}
		return 0
	}, func() float64 { return float64(s.bodies.held.Load()) })
	return s
}

// use makes m the model that is served, in runs at most at a time, each of which takes
// about as long as took.
func (s *server) use(m *session.Session, runs int, took time.Duration) error {
	about := m.Metadata(s.c.name)
	if s.c.version != "" {
		about.Versions = []string{s.c.version}
	}
	metadata, err := json.Marshal(about)
	if err != nil {
		return fmt.Errorf("writing the model's metadata: %w", err)
	}
	s.loaded.Store(&loaded{session: m, metadata: metadata, slow: took == 0 || took > slowFrom, batch: batch.New(m, batch.Options{
		RowsMax: s.c.rowsMax, Delay: s.c.delay, RunsMax: runs, JobsMax: jobsMax, Ran: s.metrics.ran,
	})})
	return nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2", s.server)
	mux.HandleFunc("GET /v2/{$}", s.server)
	mux.HandleFunc("GET /v2/health/live", func(w http.ResponseWriter, _ *http.Request) { s.reply(w, http.StatusOK, []byte(`{"live":true}`)) })
	mux.HandleFunc("GET /v2/health/ready", s.ready)
	mux.HandleFunc("GET /v2/models/{model}", s.model(func(w http.ResponseWriter, l *loaded) { s.reply(w, http.StatusOK, l.metadata) }))
	mux.HandleFunc("GET /v2/models/{model}/ready", s.model(func(w http.ResponseWriter, _ *loaded) { s.ready(w, nil) }))
	mux.HandleFunc("POST /v2/models/{model}/infer", func(w http.ResponseWriter, r *http.Request) { s.infer(w, r, r.PathValue("model")) })
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(other); pattern != "/" && method != r.Method {
				w.Header().Set("Allow", method)
				s.fail(w, refuse(http.StatusMethodNotAllowed, "%s takes %s, not %s", r.URL.Path, method, r.Method))
				return
			}
		}
		s.fail(w, refuse(http.StatusNotFound, "there is no path %s; the model is at /v2/models/%s, and takes requests at /v2/models/%s/infer", r.URL.Path, s.c.name, s.c.name))
	})
	// The one path that is asked all the time takes no way through the patterns.
	path := "/v2/models/" + s.c.name + "/infer"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path && r.Method == http.MethodPost {
			s.infer(w, r, s.c.name)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) server(w http.ResponseWriter, _ *http.Request) {
	text, err := json.Marshal(infer.ServerMetadata{Name: "polder-onnx", Version: version.String(), Extensions: []string{infer.ExtensionBinary}})
	if err != nil {
		panic("serve: metadata of the server: " + err.Error()) // strings have a form in JSON
	}
	s.reply(w, http.StatusOK, text)
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.leaving.Load():
		s.reply(w, http.StatusServiceUnavailable, infer.AppendError(nil, "the server is stopping"))
	case s.loaded.Load() == nil:
		s.reply(w, http.StatusServiceUnavailable, infer.AppendError(nil, "the model is being loaded"))
	default:
		s.reply(w, http.StatusOK, []byte(`{"ready":true}`))
	}
}

// named finds the model of a path.
func (s *server) named(name string) (*loaded, error) {
	if name != s.c.name {
		return nil, refuse(http.StatusNotFound, "there is no model %q here; the one that is served is %q", name, s.c.name)
	}
	l := s.loaded.Load()
	if l == nil {
		return nil, refuse(http.StatusServiceUnavailable, "the model is being loaded")
	}
	return l, nil
}

func (s *server) model(answer func(http.ResponseWriter, *loaded)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l, err := s.named(r.PathValue("model"))
		if err != nil {
			s.fail(w, err)
			return
		}
		answer(w, l)
	}
}

func (s *server) infer(w http.ResponseWriter, r *http.Request, name string) {
	began := time.Now()
	s.last.Store(began.UnixNano())
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	code := http.StatusOK
	if err := s.answer(w, r, name); err != nil {
		code = s.fail(w, err)
	}
	s.metrics.answered(code, time.Since(began))
}

// answer computes what r asks for. Nothing has been written where it returns an error.
func (s *server) answer(w http.ResponseWriter, r *http.Request, name string) error {
	l, err := s.named(name)
	if err != nil {
		return err
	}
	b, err := s.bodies.read(r)
	if err != nil {
		return err
	}
	defer b.free()
	header, err := infer.ParseHeaderLength(r.Header.Get(infer.HeaderLength), len(b.bytes))
	if err != nil {
		return err
	}
	req, err := infer.DecodeRequest(b.bytes, header, infer.Limits{ElementsMax: elementsMax})
	if err != nil {
		return err
	}
	if err := asked(req, l.session); err != nil {
		return err
	}
	in, rows, err := l.session.Match(req.Inputs)
	if err != nil {
		return err
	}
	if l.slow || rows > s.c.rowsMax {
		// The limit for reading would otherwise end what waits for its answer.
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			return fmt.Errorf("giving time for an answer: %w", err)
		}
	}
	out, err := l.batch.Do(r.Context(), in, rows)
	if err != nil {
		return err
	}
	for i := range out {
		if row := session.NaN(&out[i]); row >= 0 {
			return nan(in, &out[i], row)
		}
	}
	return s.send(w, req, out)
}

// asked checks the outputs that a request names.
func asked(req *infer.Request, m *session.Session) error {
	for i, o := range req.Outputs {
		if !slices.ContainsFunc(m.Outputs(), func(t infer.TensorMetadata) bool { return t.Name == o.Name }) {
			var known []string
			for _, t := range m.Outputs() {
				known = append(known, t.Name)
			}
			return refuse(http.StatusBadRequest, "outputs[%d].name is %q; this model has %q", i, o.Name, known)
		}
	}
	return nil
}

// nan tells whose fault it is that an output is no number.
func nan(in []infer.Tensor, out *infer.Tensor, row int) error {
	for i := range in {
		if at := session.NaN(&in[i]); at >= 0 {
			return refuse(http.StatusBadRequest, "input %s holds NaN in row %d, for which the model answers none", in[i].Name, at)
		}
	}
	return refuse(http.StatusInternalServerError, "the model's output %s holds NaN in row %d, so it is no answer; its input is out of what the model can compute, or the model is broken", out.Name, row)
}

func (s *server) send(w http.ResponseWriter, req *infer.Request, out []infer.Tensor) error {
	res := infer.Response{ModelName: s.c.name, ModelVersion: s.c.version, ID: req.ID}
	for i := range out {
		if len(req.Outputs) == 0 || slices.ContainsFunc(req.Outputs, func(o infer.Output) bool { return o.Name == out[i].Name }) {
			out[i].Binary = req.Binary(out[i].Name)
			res.Outputs = append(res.Outputs, out[i])
		}
	}
	buffer := s.answers.Get().(*[]byte)
	defer s.answers.Put(buffer)
	text, header, err := res.Append((*buffer)[:0])
	if err != nil {
		return refuse(http.StatusInternalServerError, "the model's output %s; ask for binary data", err)
	}
	if cap(text) <= bodySmall {
		*buffer = text[:0]
	}
	if header > 0 {
		w.Header()[infer.HeaderLength] = []string{strconv.Itoa(header)}
		w.Header()["Content-Type"] = binaryType
	}
	s.reply(w, http.StatusOK, text)
	return nil
}

// reply writes an answer. That it cannot be written is the client's affair.
func (s *server) reply(w http.ResponseWriter, code int, text []byte) {
	h := w.Header() // whose keys are in their canonical form
	if h["Content-Type"] == nil {
		h["Content-Type"] = jsonType
	}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		s.log.Warn("time for an answer is not bounded", logs.Err, err)
	}
	w.WriteHeader(code)
	_, _ = w.Write(text)
}

var (
	jsonType   = []string{infer.ContentJSON}
	binaryType = []string{infer.ContentBinary}
)

// fail answers an error, and returns its status.
func (s *server) fail(w http.ResponseWriter, err error) int {
	code := http.StatusInternalServerError
	var refused *refusal
	var wrong *infer.Error
	switch {
	case errors.As(err, &refused):
		code = refused.code
	case errors.As(err, &wrong):
		code = http.StatusBadRequest
	case errors.Is(err, batch.ErrFull):
		code = http.StatusServiceUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = 499 // the client has gone
	default:
		s.log.Error("request failed", logs.Err, err)
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	// What is left of a body that was not read is not worth reading.
	if code == http.StatusRequestEntityTooLarge || code == http.StatusRequestTimeout {
		w.Header().Set("Connection", "close")
	}
	s.reply(w, code, infer.AppendError(nil, err.Error()))
	return code
}
