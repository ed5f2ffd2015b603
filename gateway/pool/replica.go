package pool

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
)

// How often a pod is asked whether it is ready: after a fiftieth of the time that it has
// taken so far, within these bounds.
const (
	askSoonest = 10 * time.Millisecond
	askLatest  = 500 * time.Millisecond
	askShare   = 50
	askFor     = time.Second
)

// replica is a pod of a revision.
type replica struct {
	revision *revision
	pod      types.NamespacedName
	uid      types.UID
	addr     string // host:port
	path     string // that answers 200 when requests may come

	ready    bool // as the kubelet says
	up       bool // takes requests
	leaving  bool // gets none, and is taken away when it has none
	gone     bool // is being taken away
	inFlight int

	ask  context.CancelFunc // ends the polling; nil: it is not polled
	down time.Time          // since when it is not up
}

// SetPod tells of a pod of a service, or that it has changed.
func (p *Pool) SetPod(pod *corev1.Pod) {
	key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	addr, path := p.whereabouts(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.replicas[key]
	if old != nil && (old.uid != pod.UID || old.addr != addr || addr == "") {
		p.remove(key)
		old = nil
	}
	if addr == "" {
		return
	}
	s := p.service(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Labels[v1alpha1.LabelService]})
	if old == nil {
		r := s.revision(pod.Labels[v1alpha1.LabelRevision])
		old = &replica{revision: r, pod: key, uid: pod.UID, addr: addr, path: path, down: p.cfg.Now()}
		p.replicas[key] = old
		r.replicas = append(r.replicas, old)
	}
	was := old.ready
	old.ready = slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if old.ready && !was {
		old.rise()
	}
	p.watch(old)
}

// RemovePod tells that a pod is gone.
func (p *Pool) RemovePod(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(key)
}

// remove takes a replica out. Requests that it has go on.
func (p *Pool) remove(key types.NamespacedName) {
	r := p.replicas[key]
	if r == nil {
		return
	}
	delete(p.replicas, key)
	r.up, r.gone = false, true
	if r.ask != nil {
		r.ask()
		r.ask = nil
	}
	r.revision.replicas = slices.DeleteFunc(r.revision.replicas, func(o *replica) bool { return o == r })
	r.revision.service.tidy()
}

// whereabouts of a pod that may take requests, now or soon; "" of others.
func (p *Pool) whereabouts(pod *corev1.Pod) (addr, path string) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind != "ReplicaSet" || owner.Name != pod.Labels[v1alpha1.LabelRevision] || pod.Labels[v1alpha1.LabelService] == "" {
		return "", ""
	}
	if pod.DeletionTimestamp != nil || pod.Status.PodIP == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return "", ""
	}
	ip, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || !p.cfg.Pods.Contains(ip) || pod.Spec.HostNetwork {
		p.cfg.Log.Warn("a pod's address is not one of the cloud's pods", logs.Namespace, pod.Namespace, logs.Name, pod.Name, logs.Addr, pod.Status.PodIP)
		return "", ""
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet == nil {
			continue
		}
		if port := number(c, c.ReadinessProbe.HTTPGet.Port); port > 0 {
			return netip.AddrPortFrom(ip, port).String(), c.ReadinessProbe.HTTPGet.Path
		}
	}
	return "", ""
}

// number of a port of a container, 0 if it has none of the name.
func number(c *corev1.Container, port intstr.IntOrString) uint16 {
	n := port.IntValue()
	if port.Type == intstr.String {
		for _, o := range c.Ports {
			if o.Name == port.StrVal {
				n = int(o.ContainerPort)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0
	}
	return uint16(n)
}

// SetReplicaSet tells of the ReplicaSet of a revision, or that it has changed.
func (p *Pool) SetReplicaSet(o *appsv1.ReplicaSet) {
	name := o.Labels[v1alpha1.LabelService]
	if name == "" || o.Labels[v1alpha1.LabelRevision] != o.Name {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.service(types.NamespacedName{Namespace: o.Namespace, Name: name})
	r := s.revision(o.Name)
	r.set, r.wanted, r.generation = true, 1, o.Generation
	if o.Spec.Replicas != nil {
		r.wanted = *o.Spec.Replicas
	}
	// The ReplicaSet has seen how many are wanted, and has no more: what is left stays.
	if o.Generation > r.goneAt && o.Status.ObservedGeneration == o.Generation && o.Status.Replicas <= r.wanted {
		for _, c := range r.replicas {
			if c.gone {
				c.gone, c.leaving = false, false
			}
		}
	}
	s.dispatch()
	s.tidy()
}

// RemoveReplicaSet tells that the ReplicaSet of a revision is gone.
func (p *Pool) RemoveReplicaSet(key types.NamespacedName, service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.services[types.NamespacedName{Namespace: key.Namespace, Name: service}]
	if s == nil || s.revisions[key.Name] == nil {
		return
	}
	s.revisions[key.Name].set = false
	s.tidy()
}

// rise has a replica take requests.
func (r *replica) rise() {
	if r.up {
		return
	}
	r.up = true
	rev := r.revision
	if s := rev.service; !rev.woken.IsZero() {
		s.pool.gauges.wakeSeconds.WithLabelValues(s.key.Namespace, s.key.Name).Observe(s.pool.cfg.Now().Sub(rev.woken).Seconds())
		rev.woken = time.Time{}
	}
	rev.service.dispatch()
}

// fall keeps requests from a replica until it says that it is ready.
func (p *Pool) fall(r *replica) {
	if r.up {
		r.up, r.down = false, p.cfg.Now()
		p.gauges.ejections.WithLabelValues(r.revision.service.key.Namespace, r.revision.service.key.Name).Inc()
	}
	p.watch(r)
}

// watch asks a replica whether it is ready for as long as the kubelet has not said so or
// it is not up.
func (p *Pool) watch(r *replica) {
	switch {
	case r.ready && r.up:
		if r.ask != nil {
			r.ask()
			r.ask = nil
		}
	case r.ask == nil && p.running != nil && p.replicas[r.pod] == r:
		ctx, stop := context.WithCancel(p.running)
		r.ask = stop
		p.pollers.Go(func() { p.poll(ctx, r) })
	}
}

// poll asks until it need not.
func (p *Pool) poll(ctx context.Context, r *replica) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ok := p.isReady(ctx, r)
		p.mu.Lock()
		if ctx.Err() != nil {
			p.mu.Unlock()
			return
		}
		if ok {
			r.rise()
		} else if r.up { // it was, before the kubelet saw it
			r.up, r.down = false, p.cfg.Now()
		}
		next := askLatest
		if !r.up {
			next = min(max(p.cfg.Now().Sub(r.down)/askShare, askSoonest), askLatest)
		}
		p.watch(r) // may end ctx
		p.mu.Unlock()
		t.Reset(next)
	}
}

// isReady asks a replica once.
func (p *Pool) isReady(ctx context.Context, r *replica) bool {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr, nil)
	if err != nil {
		return false
	}
	if req.URL, err = req.URL.Parse(r.path); err != nil {
		return false
	}
	req.Header.Set("User-Agent", "polder-gateway")
	resp, err := p.asks.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	const enough = 64 << 10
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, enough)) // so that the connection can be used again
	return resp.StatusCode == http.StatusOK
}
