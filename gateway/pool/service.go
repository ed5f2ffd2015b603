package pool

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
)

// service is an InferenceService as requests see it. The pool's lock guards it, and all
// below it.
type service struct {
	pool     *Pool
	key      types.NamespacedName
	known    bool // the object is there; its ReplicaSets and pods may be seen before it
	protocol v1alpha1.Protocol
	scale    v1alpha1.Scale
	timeout  time.Duration
	refused  string // why the spec is not accepted
	created  time.Time

	revisions map[string]*revision
	order     []*revision // those of the status, the newest first
	queue     []*waiter
}

// revision is a ReplicaSet of a service.
type revision struct {
	service  *service
	name     string
	role     v1alpha1.RevisionRole // "" while the status has none of the name
	percent  int32
	message  string
	replicas []*replica

	set        bool // the ReplicaSet is there
	wanted     int32
	generation int64
	goneAt     int64 // generation that the latest scaling down was decided at

	requests int // in flight and waiting
	area     float64
	counted  time.Time
	since    time.Time
	used     time.Time
	woken    time.Time // when it was found asleep, until a replica is up
	turn     int
}

// revision of the name, made if need be.
func (s *service) revision(name string) *revision {
	r := s.revisions[name]
	if r == nil {
		now := s.pool.cfg.Now()
		r = &revision{service: s, name: name, counted: now, since: now}
		s.revisions[name] = r
	}
	return r
}

// tidy forgets revisions of which nothing is left.
func (s *service) tidy() {
	for name, r := range s.revisions {
		if r.role == "" && !r.set && len(r.replicas) == 0 && r.requests == 0 {
			delete(s.revisions, name)
		}
	}
	s.pool.forget(s)
}

// SetService tells of an InferenceService, or that it has changed.
func (p *Pool) SetService(o *v1alpha1.InferenceService) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.service(types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
	s.known, s.protocol, s.scale = true, o.Spec.Protocol, withDefaults(o.Spec.Scale)
	if s.protocol == "" {
		s.protocol = v1alpha1.ProtocolV2
	}
	s.timeout = time.Duration(max(o.Spec.TimeoutSeconds, 0)) * time.Second
	if s.timeout == 0 {
		s.timeout = time.Minute
	}
	s.refused, s.created = "", o.CreationTimestamp.Time
	if c := apimeta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionAccepted); c != nil && c.Status == metav1.ConditionFalse {
		s.refused = c.Message
	}
	s.order = s.order[:0]
	for _, r := range s.revisions {
		r.role, r.percent, r.message = "", 0, ""
	}
	for i := range o.Status.Revisions {
		st := &o.Status.Revisions[i]
		r := s.revision(st.Name)
		r.role, r.percent, r.message = st.Role, st.Percent, st.Message
		s.order = append(s.order, r)
	}
	s.dispatch()
	s.tidy()
}

// withDefaults fills what the API server would have.
func withDefaults(sc v1alpha1.Scale) v1alpha1.Scale {
	if sc.Min == nil {
		sc.Min = ptr.To[int32](1)
	}
	for _, f := range []struct {
		p *int32
		v int32
	}{{&sc.Max, max(1, *sc.Min)}, {&sc.Concurrency, 8}, {&sc.IdleSeconds, 60}, {&sc.WakeSeconds, 120}, {&sc.QueueMax, 1000}} {
		if *f.p == 0 {
			*f.p = f.v
		}
	}
	return sc
}

// RemoveService tells that an InferenceService is gone.
func (p *Pool) RemoveService(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[key]
	if s == nil {
		return
	}
	s.known, s.order = false, nil
	for _, r := range s.revisions {
		r.role = ""
	}
	s.dispatch() // those that wait are told
	s.tidy()
}

// share is the revision that a draw falls on: of those that requests go to by the status,
// by percent; before any does, the newest that starts.
func (s *service) share(draw float64) *revision {
	total := int32(0)
	for _, r := range s.order {
		if r.serves() {
			total += r.percent
		}
	}
	at := int32(draw * float64(total))
	for _, r := range s.order {
		if !r.serves() {
			continue
		}
		if at -= r.percent; at < 0 {
			return r
		}
	}
	i := slices.IndexFunc(s.order, func(r *revision) bool { return r.role == v1alpha1.RevisionStarting })
	if i < 0 {
		return nil
	}
	return s.order[i]
}

func (r *revision) serves() bool {
	return r.percent > 0 && (r.role == v1alpha1.RevisionStable || r.role == v1alpha1.RevisionCanary)
}

// choose returns the replica for a request whose share falls on r, or nil if it has to
// wait. A canary that cannot take it yet leaves it to the stable revision.
func (s *service) choose(r *revision) *replica {
	if got := r.pick(s.most()); got != nil {
		return got
	}
	if r.role == v1alpha1.RevisionCanary {
		for _, o := range s.order {
			if o.role == v1alpha1.RevisionStable {
				return o.pick(s.most())
			}
		}
	}
	return nil
}

// crowd is how many times scale.concurrency a replica is given at most.
const crowd = 4

// most is how many requests a replica has at a time at most.
func (s *service) most() int { return crowd * int(s.scale.Concurrency) }

// pick returns the replica that is up and has the fewest requests, less than most; of
// equals the next in turn. One that was to go stays if there is no other.
func (r *revision) pick(most int) *replica {
	var best *replica
	n := len(r.replicas)
	for i := range n {
		c := r.replicas[(r.turn+i)%n]
		switch {
		case !c.up || c.gone || c.inFlight >= most:
		case best == nil, best.leaving && !c.leaving, best.leaving == c.leaving && c.inFlight < best.inFlight:
			best = c
		}
	}
	if best != nil {
		best.leaving = false
		r.turn++
	}
	return best
}

// count adds up requests over time, and then changes their number.
func (r *revision) count(now time.Time, by int) {
	r.area += float64(r.requests) * max(0, now.Sub(r.counted).Seconds())
	r.counted, r.used = now, now
	r.requests += by
}
