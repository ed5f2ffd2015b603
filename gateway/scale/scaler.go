package scale

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/gateway"
	"polder.dev/polder/internal/logs"
)

// Fleet is what is scaled.
type Fleet interface {
	// Loads returns what is known of each revision that is to be scaled.
	Loads() []gateway.Load
	// Retire has all replicas but keep get no requests, and tells whether they have none.
	Retire(service string, revision types.NamespacedName, keep int) (idle bool)
	// Dismiss takes those out of use, if that can be, and returns their pods.
	Dismiss(service string, revision types.NamespacedName, keep int) (pods []types.NamespacedName, ok bool)
	// Keep has all replicas take requests that were to go.
	Keep(service string, revision types.NamespacedName)
}

// Writer writes to the API.
type Writer interface {
	// Scale sets how many replicas a ReplicaSet is to have.
	Scale(ctx context.Context, set types.NamespacedName, replicas int32) error
	// Expendable has a pod go before others of its ReplicaSet.
	Expendable(ctx context.Context, pod types.NamespacedName) error
}

// writeFor is how long a write may take.
const writeFor = 10 * time.Second

// wakesMax is how many revisions may be waiting to be woken before the next look.
const wakesMax = 1024

// Scaler scales revisions. Only Run writes.
type Scaler struct {
	log    *slog.Logger
	fleet  Fleet
	writer Writer
	now    func() time.Time
	wakes  chan types.NamespacedName

	known   map[types.NamespacedName]*state
	wanted  *prometheus.GaugeVec
	changes *prometheus.CounterVec
}

// state of a revision between looks.
type state struct {
	history
	service string
	leaving bool      // replicas were told to go
	seen    bool      // in this look
	written int32     // replicas that were written last, until they are seen
	wrote   time.Time // when; zero: nothing is to be seen
}

// New returns a Scaler. The fleet is told to it by Run's caller with Follow, since the two
// know each other.
func New(log *slog.Logger, w Writer, now func() time.Time, metrics prometheus.Registerer) (*Scaler, error) {
	if log == nil || w == nil || now == nil || metrics == nil {
		return nil, errors.New("gateway scale: a dependency is missing")
	}
	by := []string{"namespace", "service", "revision"}
	s := &Scaler{
		log: log, writer: w, now: now, wakes: make(chan types.NamespacedName, wakesMax), known: map[types.NamespacedName]*state{},
		wanted: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "polder_gateway_wanted_replicas", Help: "Replicas that the load of a revision asks for."}, by),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "polder_gateway_scalings_total", Help: "Times the scale of a revision was written: direction up or down.",
		}, []string{"namespace", "service", "direction"}),
	}
	metrics.MustRegister(s.wanted, s.changes)
	return s, nil
}

// Wake has a revision that has no replicas looked at now. It never waits.
func (s *Scaler) Wake(revision types.NamespacedName) {
	select {
	case s.wakes <- revision:
	default: // the next look sees it
	}
}

// Run scales fleet until ctx ends.
func (s *Scaler) Run(ctx context.Context, fleet Fleet) error {
	s.fleet = fleet
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.wakes:
			s.wake(ctx, r)
		case <-t.C:
			s.look(ctx)
		}
	}
}

// wake gives a revision that sleeps its first replica.
func (s *Scaler) wake(ctx context.Context, revision types.NamespacedName) {
	for _, l := range s.fleet.Loads() {
		if l.Revision == revision && l.Replicas == 0 && l.Requests > 0 {
			st := s.state(&l)
			s.write(ctx, st, &l, min(max(h0(&l), 1), max(l.Scale.Max, 1)))
		}
	}
}

// h0 is how many replicas the requests need that wait at the moment.
func h0(l *gateway.Load) int32 {
	var h history
	return h.replicas(float64(l.Requests), l)
}

func (s *Scaler) state(l *gateway.Load) *state {
	st := s.known[l.Revision]
	if st == nil {
		st = &state{service: l.Service}
		s.known[l.Revision] = st
	}
	return st
}

// look decides about each revision once.
func (s *Scaler) look(ctx context.Context) {
	for _, st := range s.known {
		st.seen = false
	}
	loads := s.fleet.Loads()
	for i := range loads {
		l := &loads[i]
		st := s.state(l)
		st.seen = true
		s.judge(ctx, st, l)
	}
	for key, st := range s.known {
		if !st.seen {
			delete(s.known, key)
			s.wanted.DeleteLabelValues(key.Namespace, st.service, key.Name)
			s.changes.DeletePartialMatch(prometheus.Labels{"namespace": key.Namespace, "service": st.service})
		}
	}
}

// judge brings one revision closer to what it should have.
func (s *Scaler) judge(ctx context.Context, st *state, l *gateway.Load) {
	want := st.Want(s.now(), l)
	s.wanted.WithLabelValues(l.Revision.Namespace, l.Service, l.Revision.Name).Set(float64(want))
	switch {
	case want >= l.Replicas:
		if st.leaving {
			st.leaving = false
			s.fleet.Keep(l.Service, l.Revision)
		}
		if want > l.Replicas {
			s.write(ctx, st, l, want)
		}
	default:
		s.lower(ctx, st, l, want)
	}
}

// lower takes replicas away once they have answered what they had, or had time to.
func (s *Scaler) lower(ctx context.Context, st *state, l *gateway.Load, want int32) {
	st.leaving = true
	if !s.fleet.Retire(l.Service, l.Revision, int(want)) {
		return
	}
	pods, ok := s.fleet.Dismiss(l.Service, l.Revision, int(want))
	if !ok {
		return
	}
	for _, p := range pods {
		if want == 0 { // all of them go
			break
		}
		if err := s.expend(ctx, p); err != nil {
			s.log.Warn("a pod cannot be told to go", logs.Namespace, p.Namespace, logs.Name, p.Name, logs.Err, err)
			s.fleet.Keep(l.Service, l.Revision)
			return
		}
	}
	if s.write(ctx, st, l, want) != nil {
		s.fleet.Keep(l.Service, l.Revision)
		return
	}
	st.leaving = false
}

func (s *Scaler) expend(ctx context.Context, pod types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	return s.writer.Expendable(ctx, pod)
}

// write sets the scale of a revision, unless that was written and is not seen yet.
func (s *Scaler) write(ctx context.Context, st *state, l *gateway.Load, want int32) error {
	now := s.now()
	if st.written == want && now.Sub(st.wrote) < tick/2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeFor)
	defer cancel()
	err := s.writer.Scale(ctx, l.Revision, want)
	if err != nil {
		s.log.Warn("a revision cannot be scaled", logs.Namespace, l.Revision.Namespace, logs.Name, l.Revision.Name, "replicas", want, logs.Err, err)
		return err
	}
	st.written, st.wrote = want, now
	direction := "up"
	if want < l.Replicas {
		direction = "down"
	}
	s.changes.WithLabelValues(l.Revision.Namespace, l.Service, direction).Inc()
	s.log.Info("a revision is scaled", logs.Namespace, l.Revision.Namespace, logs.Name, l.Revision.Name, "from", l.Replicas, "to", want, "requests", l.Requests)
	return nil
}
