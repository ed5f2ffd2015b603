package pool

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// Loads returns what is known of the revisions that are scaled: those that have a
// ReplicaSet and that requests may go to, or have gone to. The controller of services
// decides about those that start.
func (p *Pool) Loads() []gateway.Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	var out []gateway.Load
	for _, s := range p.services {
		for _, r := range s.order {
			leaving := r.role == v1alpha1.RevisionLeaving && r.wanted > 0
			if !r.set || !leaving && r.role != v1alpha1.RevisionStable && r.role != v1alpha1.RevisionCanary {
				continue
			}
			l := gateway.Load{
				Revision: types.NamespacedName{Namespace: s.key.Namespace, Name: r.name}, Service: s.key.Name,
				Scale: s.scale, Leaving: leaving, Timeout: s.timeout, Replicas: r.wanted, Requests: r.requests,
				Area:  r.area + float64(r.requests)*max(0, now.Sub(r.counted).Seconds()),
				Since: r.since, Used: r.used,
			}
			if r.role == v1alpha1.RevisionCanary { // one is enough to begin with
				l.Scale.Min = ptr.To(min(*l.Scale.Min, 1))
			}
			for _, c := range r.replicas {
				if c.up && !c.gone {
					l.Ready++
				}
			}
			out = append(out, l)
		}
	}
	return out
}

// find returns a revision that has a ReplicaSet, or nil.
func (p *Pool) find(service string, revision types.NamespacedName) *revision {
	s := p.services[types.NamespacedName{Namespace: revision.Namespace, Name: service}]
	if s == nil {
		return nil
	}
	return s.revisions[revision.Name]
}

// Retire has all replicas of a revision but keep get no requests any more, as far as those
// can take them: first what is not ready goes, then what has the fewest requests. What was
// to go before and is not to go now stays. It tells whether those that go have no requests.
func (p *Pool) Retire(service string, revision types.NamespacedName, keep int) (idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.find(service, revision)
	if r == nil {
		return false
	}
	leave := len(r.replicas) - keep
	idle = keep > 0 || r.requests == 0
	for i, c := range r.order() {
		c.leaving = i < leave
		idle = idle && (!c.leaving || c.inFlight == 0)
	}
	r.service.dispatch()
	return idle
}

// order is the replicas in the order in which they are taken away: as the controller of
// ReplicaSets does it, as far as it is told by what is ready.
func (r *revision) order() []*replica {
	out := slices.Clone(r.replicas)
	side := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b *replica) int {
		return cmp.Or(side(a.ready)-side(b.ready), side(a.up)-side(b.up), side(b.leaving)-side(a.leaving), a.inFlight-b.inFlight)
	})
	return out
}

// Dismiss takes the replicas that Retire has chosen out of use for good, if none of them
// has a request now, none has been needed again and no request waits, and returns their
// pods. ok is false otherwise. Keep brings them back.
func (p *Pool) Dismiss(service string, revision types.NamespacedName, keep int) (pods []types.NamespacedName, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.find(service, revision)
	if r == nil || len(r.service.queue) > 0 {
		return nil, false
	}
	for _, c := range r.replicas {
		switch {
		case c.leaving && c.inFlight > 0:
			return nil, false
		case c.leaving:
			pods = append(pods, c.pod)
		}
	}
	if len(r.replicas)-len(pods) > keep {
		return nil, false
	}
	for _, c := range r.replicas {
		c.gone = c.gone || c.leaving
	}
	r.goneAt = r.generation
	return pods, true
}

// Keep has all replicas of a revision take requests again that were to go.
func (p *Pool) Keep(service string, revision types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.find(service, revision)
	if r == nil {
		return
	}
	for _, c := range r.replicas {
		c.leaving, c.gone = false, false
	}
	r.service.dispatch()
}

// Info of a service; ok is false if there is none.
func (p *Pool) Info(key types.NamespacedName) (gateway.Info, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[key]
	if s == nil || !s.known {
		return gateway.Info{}, false
	}
	return s.info(), true
}

func (s *service) info() gateway.Info {
	i := gateway.Info{Name: s.key.Name, Protocol: s.protocol, Created: s.created}
	for _, r := range s.order {
		if r.serves() && (r.wanted == 0 && *s.scale.Min == 0 && r.message == "" || slices.ContainsFunc(r.replicas, func(c *replica) bool { return c.up })) {
			i.Ready = true
		}
	}
	return i
}

// Infos lists the services of a namespace, by name.
func (p *Pool) Infos(namespace string) []gateway.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []gateway.Info
	for key, s := range p.services {
		if key.Namespace == namespace && s.known {
			out = append(out, s.info())
		}
	}
	slices.SortFunc(out, func(a, b gateway.Info) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
