package route

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	rules "polder.dev/polder/model/route"
)

// clientsMax of a route are told apart at a time by its limits.
const clientsMax = 100_000

// live is a route that is served.
type live struct {
	key      types.NamespacedName
	settings atomic.Pointer[settings]

	mu   sync.Mutex
	pace *rules.Pace // nil: no limit
	seen counts
	// escalations and disagreements, beside what is expected of them.
	escalations, disagreements *rules.Drift
	// logged is what is wrong with the log; "" is nothing.
	logged string
}

// settings are what a route is to do. They are not changed.
type settings struct {
	route *rules.Route
	err   error // why the route cannot be used
	// version tells settings apart: what answers that are kept belong to.
	version string
	// learned is the threshold and what is expected, as in the status.
	learned v1alpha1.CascadeStatus
	spec    string   // generation and UID
	cache   *answers // nil: answers are not kept
}

// counts since the gateway was started.
type counts struct {
	requests, escalated, compared, disagreed int64
}

// set takes over a route's spec and what was learned for it. What is neither changes
// nothing: the gateway's own writes come by here, too.
func (l *live) set(r *v1alpha1.ModelRoute, room *room) {
	var learned v1alpha1.CascadeStatus
	if r.Status.Cascade != nil {
		learned = v1alpha1.CascadeStatus{
			Threshold: r.Status.Cascade.Threshold, Expected: r.Status.Cascade.Expected, DisagreementHigh: r.Status.Cascade.DisagreementHigh,
		}
	}
	spec := string(r.UID) + "/" + strconv.FormatInt(r.Generation, 10)
	old := l.settings.Load()
	if old != nil && old.spec == spec && same(&old.learned, &learned) {
		return
	}
	s := &settings{spec: spec, learned: learned, version: fmt.Sprintf("%s/%s/%s/%s", r.Namespace, r.Name, spec, learned.Threshold)}
	s.route, s.err = rules.Compile(&r.Spec, learned.Threshold)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.err == nil {
		if s.route.Cache != nil {
			s.cache = newAnswers(room, s.route.Cache.BytesMax, time.Duration(s.route.Cache.Seconds)*time.Second)
		}
		if old == nil || old.route == nil || old.route.Limits.PerSecond != s.route.Limits.PerSecond || old.route.Limits.Burst != s.route.Limits.Burst {
			l.pace = nil
			if lim := s.route.Limits; lim.PerSecond > 0 {
				l.pace = rules.NewPace(lim.PerSecond, lim.Burst, clientsMax)
			}
		}
	}
	l.expect(&learned)
	l.settings.Store(s)
	if old != nil && old.cache != nil {
		old.cache.clear()
	}
}

func same(a, b *v1alpha1.CascadeStatus) bool {
	high := func(c *v1alpha1.CascadeStatus) string {
		if c.Expected == nil {
			return ""
		}
		return c.Expected.EscalationHigh
	}
	return a.Threshold == b.Threshold && a.DisagreementHigh == b.DisagreementHigh && high(a) == high(b)
}

// expect begins to watch for drift anew. The caller holds the lock.
func (l *live) expect(c *v1alpha1.CascadeStatus) {
	l.escalations, l.disagreements = &rules.Drift{}, &rules.Drift{}
	if c.Expected != nil {
		if v, err := strconv.ParseFloat(c.Expected.EscalationHigh, 64); err == nil {
			l.escalations = rules.NewDrift(v)
		}
	}
	if v, err := strconv.ParseFloat(c.DisagreementHigh, 64); err == nil {
		l.disagreements = rules.NewDrift(v)
	}
}

// drop lets go of what a route that is gone has kept.
func (l *live) drop() {
	if s := l.settings.Load(); s != nil && s.cache != nil {
		s.cache.clear()
	}
}

// take asks the limits for one request of a client.
func (l *live) take(client string, now time.Time) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pace == nil {
		return 0, true
	}
	return l.pace.Take(client, now)
}

// saw counts a request of a split, or the rows of a cascade and which of them went on.
func (l *live) saw(rows, unsure int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.requests += int64(rows)
	l.seen.escalated += int64(unsure)
}

// judged counts the rows of a cascade, and tells the test of drift of them.
func (l *live) judged(rows, unsure int) {
	l.saw(rows, unsure)
	l.mu.Lock()
	defer l.mu.Unlock()
	spread(l.escalations, rows, unsure)
}

// compared counts answers of two models to the same rows. ofCascade says that the rows had
// gone on, of which it was learned how often both disagree.
func (l *live) compared(rows, other int, ofCascade bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.compared += int64(rows)
	l.seen.disagreed += int64(other)
	if !ofCascade {
		return
	}
	spread(l.disagreements, rows, other)
}

// eventsMax of one request are told to a test of drift; of more, as many in proportion.
const eventsMax = 10 * rules.Window

// spread tells a test that so many of n events have happened, spread evenly: rows of one
// request are in no order of time.
func spread(d *rules.Drift, n, happened int) {
	if n > eventsMax {
		n, happened = eventsMax, int(float64(happened)/float64(n)*eventsMax)
	}
	for i := range n {
		d.Add((i+1)*happened/n > i*happened/n)
	}
}
