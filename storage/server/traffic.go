package server

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"polder.dev/polder/storage/budget"
)

// slowest is how many bytes a second a client must take or give, beside patience.
const (
	slowest  = 16 << 10
	patience = time.Minute
)

// traffic counts requests and bounds them: how many at once, and how slow one may be.
type traffic struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	refused  prometheus.Counter
	running  prometheus.Gauge
}

func newTraffic(r prometheus.Registerer) *traffic {
	t := &traffic{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_storage_requests_total", Help: "Requests that were answered, by protocol, method and the answer's class.",
		}, []string{"protocol", "method", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "polder_storage_request_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"protocol", "method"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_storage_bytes_total", Help: "Bytes of bodies, received and sent.",
		}, []string{"protocol", "direction"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "polder_storage_refused_total", Help: "Requests that were refused because too many were served, or memory was short.",
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "polder_storage_requests", Help: "Requests that are served now.",
		}),
	}
	r.MustRegister(t.requests, t.seconds, t.bytes, t.refused, t.running)
	return t
}

// counters of a protocol and method are looked up once for each pair.
type counters struct {
	class   [6]prometheus.Counter
	seconds prometheus.Observer
	in, out prometheus.Counter
}

// methods that are told apart; others count as "other".
var methods = []string{"GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "other"}

func (t *traffic) of(protocol string) map[string]*counters {
	out := map[string]*counters{}
	for _, m := range methods {
		c := &counters{
			seconds: t.seconds.WithLabelValues(protocol, m),
			in:      t.bytes.WithLabelValues(protocol, "in"), out: t.bytes.WithLabelValues(protocol, "out"),
		}
		for i := range c.class {
			c.class[i] = t.requests.WithLabelValues(protocol, m, strconv.Itoa(i)+"xx")
		}
		out[m] = c
	}
	return out
}

// guard puts the bounds and the counters around a front door.
func (s *Server) guard(protocol string, h http.Handler) http.Handler {
	by := s.traffic.of(protocol)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := s.enter()
		if !ok {
			s.traffic.refused.Inc()
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Connection", "close")
			http.Error(w, "SlowDown: the store serves as many requests as it may; try again", http.StatusServiceUnavailable)
			return
		}
		defer leave()
		c := by[r.Method]
		if c == nil {
			c = by["other"]
		}
		s.traffic.running.Inc()
		defer s.traffic.running.Dec()
		began := time.Now()
		a := &answer{ResponseWriter: w, control: http.NewResponseController(w), patience: s.cfg.patience}
		b := &body{ReadCloser: r.Body, control: a.control, began: began, patience: s.cfg.patience}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = b
		} else if r.Header.Get("Expect") != "" && r.ProtoAtLeast(1, 1) {
			// net/http says it for a body only; but botocore takes the next answer on the
			// connection for garbage when an empty object's was not announced so.
			w.WriteHeader(http.StatusContinue)
		}
		h.ServeHTTP(a, r)
		a.rest()
		c.class[min(a.code/100, 5)].Inc()
		c.seconds.Observe(time.Since(began).Seconds())
		c.in.Add(float64(b.n))
		c.out.Add(float64(a.n))
	})
}

// requestBytes are what every request may have: stacks, the connection's buffers, and
// small ones of a body or an answer.
const requestBytes = 96 << 10

// enter admits a request if there is a slot and memory for it.
func (s *Server) enter() (leave func(), ok bool) {
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, false
	}
	if !s.memory.Take(budget.Requests, requestBytes) {
		<-s.slots
		return nil, false
	}
	return func() {
		s.memory.Give(budget.Requests, requestBytes)
		<-s.slots
	}, true
}

// body is a request's, which may not come slower than is allowed.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	began   time.Time
	n       int64
	told    time.Time

	patience time.Duration
}

func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.told) > time.Second {
		b.told = now
		_ = b.control.SetReadDeadline(due(b.began, b.n, b.patience)) // what cannot is no network connection
	}
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}

// due is when a client must have gone on that has come as far as n bytes.
func due(began time.Time, n int64, patience time.Duration) time.Time {
	t := began.Add(patience + time.Duration(float64(n)/slowest*float64(time.Second)))
	if soon := time.Now().Add(patience); t.After(soon) {
		return soon
	}
	return t
}

// answer counts what is sent and bounds how slowly it may be taken. It passes files on to
// the connection, which sends them without copying.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	code    int
	n       int64
	set     bool

	patience time.Duration
}

// deadlineFrom is the size of an answer from which on it is worth a deadline: less than
// that is in the socket's buffer at once.
const deadlineFrom = 64 << 10

func (a *answer) WriteHeader(code int) {
	if code >= 200 && a.code == 0 {
		a.code = code
		size := int64(-1)
		if l := a.Header()["Content-Length"]; len(l) == 1 {
			size, _ = strconv.ParseInt(l[0], 10, 64)
		}
		if size < 0 || size >= deadlineFrom {
			a.extend(max(size, 0))
		}
	}
	a.ResponseWriter.WriteHeader(code)
}

// extend gives the client time for n more bytes.
func (a *answer) extend(n int64) {
	a.set = true
	_ = a.control.SetWriteDeadline(time.Now().Add(a.patience + time.Duration(float64(n)/slowest*float64(time.Second)))) // as above
}

func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, as http.ResponseWriter's own does.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.code == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := io.Copy(a.ResponseWriter, r)
	a.n += n
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// rest takes the deadline off, for the connection's next request.
func (a *answer) rest() {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	if a.set {
		_ = a.control.SetWriteDeadline(time.Time{}) // as above
	}
}
