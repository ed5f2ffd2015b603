package pool

import (
	"context"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/gateway"
)

// waiter is a request that waits for a replica.
type waiter struct {
	draw     float64
	revision *revision // that it counts for
	got      chan *replica
	fault    error // if got is closed
}

// acquire returns the replica for a request that may wait until the deadline.
func (p *Pool) acquire(ctx context.Context, key types.NamespacedName, draw float64, arrived time.Time) (*replica, *service, error) {
	p.mu.Lock()
	s := p.services[key]
	if s == nil || !s.known {
		p.mu.Unlock()
		return nil, nil, unknown(key)
	}
	w := &waiter{draw: draw, got: make(chan *replica, 1)}
	if len(s.queue) == 0 { // nobody is before it
		if rep := s.take(w); rep != nil || w.fault != nil {
			p.mu.Unlock()
			return rep, s, w.fault
		}
	}
	if len(s.queue) >= int(s.scale.QueueMax) {
		s.drop(w)
		p.gauges.refused(key, "queue").Inc()
		p.mu.Unlock()
		f := gateway.Faultf(http.StatusTooManyRequests, "too_many_waiting",
			"%d requests wait for a replica of service %s, as many as its scale.queueMax allows; try again later", s.scale.QueueMax, key.Name)
		f.RetryAfter = time.Second
		return nil, nil, f
	}
	s.queue = append(s.queue, w)
	limit := time.Duration(s.scale.WakeSeconds) * time.Second
	p.mu.Unlock()
	return p.wait(ctx, s, w, limit-p.cfg.Now().Sub(arrived), limit)
}

// wait blocks until w has a replica, the client has gone or the time is over.
func (p *Pool) wait(ctx context.Context, s *service, w *waiter, rest, limit time.Duration) (*replica, *service, error) {
	t := time.NewTimer(max(rest, 0))
	defer t.Stop()
	var why error
	select {
	case rep, ok := <-w.got:
		if !ok {
			return nil, nil, w.fault
		}
		return rep, s, nil
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-t.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case rep, ok := <-w.got: // it came at the same moment
		if ok && why == nil {
			return rep, s, nil
		}
		if ok {
			s.release(rep)
		}
		if why == nil {
			why = w.fault
		}
		return nil, nil, why
	default:
	}
	s.queue = slices.DeleteFunc(s.queue, func(o *waiter) bool { return o == w })
	message := ""
	if w.revision != nil && w.revision.message != "" {
		message = ": " + w.revision.message
	}
	s.drop(w)
	s.tidy()
	if why != nil {
		return nil, nil, why
	}
	p.gauges.refused(s.key, "wake").Inc()
	f := gateway.Faultf(http.StatusServiceUnavailable, "not_ready",
		"no replica of service %s could take the request within %s (its scale.wakeSeconds)%s", s.key.Name, limit, message)
	f.RetryAfter = 5 * time.Second
	return nil, nil, f
}

func unknown(key types.NamespacedName) error {
	return gateway.Faultf(http.StatusNotFound, "not_found", "there is no service or route %s in namespace %s", key.Name, key.Namespace)
}

// take gives w a replica, or says in w.fault why it need not wait. Otherwise w counts as a
// request of the revision that its share falls on, which is woken if it sleeps.
func (s *service) take(w *waiter) *replica {
	now := s.pool.cfg.Now()
	r := s.share(w.draw)
	switch {
	case r == nil && s.refused != "":
		w.fault = gateway.Faultf(http.StatusServiceUnavailable, "not_accepted", "service %s cannot start: %s", s.key.Name, s.refused)
	case r != nil && !r.serves() && r.message != "" && s.choose(r) == nil:
		w.fault = gateway.Faultf(http.StatusServiceUnavailable, "not_started", "service %s has not started: %s", s.key.Name, r.message)
	}
	if w.fault != nil {
		s.drop(w)
		return nil
	}
	if w.revision != r {
		s.drop(w)
		if w.revision = r; r != nil {
			r.count(now, 1)
		}
	}
	if r == nil {
		return nil
	}
	rep := s.choose(r)
	if r.set && r.wanted == 0 && (rep == nil || rep.revision != r) {
		if r.woken.IsZero() {
			r.woken = now
			s.pool.gauges.wakes.WithLabelValues(s.key.Namespace, s.key.Name).Inc()
		}
		s.pool.cfg.Wake(types.NamespacedName{Namespace: s.key.Namespace, Name: r.name})
	}
	if rep == nil {
		return nil
	}
	if rep.revision != r { // it counts where it is answered
		r.count(now, -1)
		rep.revision.count(now, 1)
		w.revision = rep.revision
	}
	rep.inFlight++
	return rep
}

// drop takes back that w counts as a request.
func (s *service) drop(w *waiter) {
	if w.revision != nil {
		w.revision.count(s.pool.cfg.Now(), -1)
		w.revision = nil
	}
}

// dispatch gives replicas to those that wait, first come first served. It is called
// whenever something has changed that they may wait for.
func (s *service) dispatch() {
	if len(s.queue) == 0 {
		return
	}
	full := map[*revision]bool{} // nothing is to be had there
	rest := s.queue[:0]
	for i, w := range s.queue {
		if !s.known {
			s.drop(w)
			w.fault = unknown(s.key)
			close(w.got)
			continue
		}
		r := s.share(w.draw)
		if full[r] {
			if w.revision == r && len(full) == s.ways() {
				rest = append(rest, s.queue[i:]...)
				break
			}
		} else if rep := s.take(w); rep != nil {
			w.got <- rep
			continue
		} else if w.fault != nil {
			close(w.got)
			continue
		} else {
			full[r] = true
		}
		rest = append(rest, w)
	}
	clear(s.queue[len(rest):])
	s.queue = rest
}

// ways is how many revisions requests may fall on.
func (s *service) ways() int {
	n := 0
	for _, r := range s.order {
		if r.serves() {
			n++
		}
	}
	return max(n, 1)
}

// release takes a request off its replica.
func (s *service) release(rep *replica) {
	rep.inFlight--
	rep.revision.count(s.pool.cfg.Now(), -1)
	s.dispatch()
	s.tidy()
}
