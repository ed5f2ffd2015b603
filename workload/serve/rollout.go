package serve

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"polder.dev/polder/api/v1alpha1"
)

// observed says of each revision how it is doing, and drops those that are over.
func observed(w *world, p *plan, cfg *Config) {
	p.status.Revisions = slices.DeleteFunc(p.status.Revisions, func(r v1alpha1.Revision) bool {
		return w.set(r.Name) == nil && !p.asks(r.Name) && (r.Role == v1alpha1.RevisionLeaving || r.Role == v1alpha1.RevisionStarting)
	})
	for i := range p.status.Revisions {
		r := &p.status.Revisions[i]
		set := w.set(r.Name)
		r.Replicas, r.ReadyReplicas, r.Message = 0, 0, ""
		if set == nil {
			if r.Role != v1alpha1.RevisionStarting && !p.asks(r.Name) {
				r.Message = "its ReplicaSet was removed; it comes back when all that spec names is there"
			}
			continue
		}
		pods := w.replicas(set)
		r.Replicas = int32(len(pods))
		for j := range pods {
			if ready(&pods[j]) {
				r.ReadyReplicas++
			}
		}
		r.WasReady = r.WasReady || r.ReadyReplicas > 0
		if r.ReadyReplicas < desired(set) && r.Role != v1alpha1.RevisionLeaving {
			r.Message = clip(trouble(w, set, pods), messageBytesMax)
			p.look(cfg.Wait)
		}
	}
}

// asks reports whether the spec asks for a revision.
func (p *plan) asks(name string) bool {
	return p.main != nil && p.main.name == name || p.canary != nil && p.canary.name == name
}

// rolled gives the revisions their roles.
func rolled(w *world, p *plan, cfg *Config) {
	for _, t := range []*target{p.canary, p.main} {
		if t != nil && p.revision(t.name) == nil {
			added := v1alpha1.Revision{Name: t.name, Model: t.model}
			p.turn(w, &added, v1alpha1.RevisionStarting)
			p.status.Revisions = append([]v1alpha1.Revision{added}, p.status.Revisions...)
		}
	}
	main, canary := p.present()
	p.status.Revisions = slices.DeleteFunc(p.status.Revisions, func(r v1alpha1.Revision) bool { return p.asks(r.Name) && spent(w, p, &r) })
	for i := range p.status.Revisions {
		r := &p.status.Revisions[i]
		if r.Name == main || r.Name == canary {
			rise(w, p, r, cfg, r.Name == main)
		}
	}
	stable := p.revision(main)
	settled := stable != nil && stable.Role == v1alpha1.RevisionStable
	for i := range p.status.Revisions {
		r := &p.status.Revisions[i]
		switch {
		case r.Name == main:
		case r.Name == canary:
			if r.Role == v1alpha1.RevisionStable && settled { // it was what is now tried against the new one
				p.turn(w, r, v1alpha1.RevisionCanary)
			}
		case r.Role != v1alpha1.RevisionStable || settled:
			p.turn(w, r, v1alpha1.RevisionLeaving)
		}
	}
}

// spent reports whether a revision that is to serve has no replicas and nobody will give
// it any: it was scaled to none when it left, or before it was ever ready. It is made anew
// then, while another goes on.
func spent(w *world, p *plan, r *v1alpha1.Revision) bool {
	set := w.set(r.Name)
	if set == nil || desired(set) > 0 || r.ReadyReplicas > 0 {
		return false
	}
	stable := p.with(v1alpha1.RevisionStable)
	switch r.Role {
	case v1alpha1.RevisionStarting:
		return !r.WasReady
	case v1alpha1.RevisionLeaving:
		return stable != nil && desired(w.set(stable.Name)) > 0
	}
	return false
}

// present are the names of the revisions that are to serve: those that the spec asks for,
// or where these cannot be had those that were asked for last.
func (p *plan) present() (main, canary string) {
	switch {
	case p.canary != nil:
		canary = p.canary.name
	case p.keep:
		if r := p.with(v1alpha1.RevisionCanary); r != nil {
			canary = r.Name
		}
	}
	if p.main != nil {
		return p.main.name, canary
	}
	for _, role := range []v1alpha1.RevisionRole{v1alpha1.RevisionStarting, v1alpha1.RevisionStable} {
		for _, r := range p.status.Revisions {
			if r.Role == role && r.Name != canary {
				return r.Name, canary
			}
		}
	}
	return "", canary
}

// rise gives a revision that is to serve the role that it can have by now.
func rise(w *world, p *plan, r *v1alpha1.Revision, cfg *Config, main bool) {
	set := w.set(r.Name)
	role := v1alpha1.RevisionCanary
	if main {
		role = v1alpha1.RevisionStable
	}
	switch r.Role {
	case v1alpha1.RevisionStarting:
		if takesOver(w, p, r, set, cfg) {
			p.turn(w, r, role)
		}
	case v1alpha1.RevisionLeaving: // the change was taken back
		if r.ReadyReplicas > 0 || r.WasReady && set != nil && desired(set) == 0 {
			p.turn(w, r, role)
		} else {
			p.turn(w, r, v1alpha1.RevisionStarting)
		}
	case v1alpha1.RevisionCanary:
		if main && r.WasReady {
			p.turn(w, r, role)
		}
	}
}

// takesOver reports whether a revision that starts can do what the one before it does:
// all its replicas are ready, or one is and the others do not come for want of room or
// of time. What has been ready before and sleeps needs not start again.
func takesOver(w *world, p *plan, r *v1alpha1.Revision, set *appsv1.ReplicaSet, cfg *Config) bool {
	switch {
	case set == nil:
		return false
	case desired(set) == 0:
		return r.WasReady
	case r.ReadyReplicas >= desired(set):
		return true
	case r.ReadyReplicas == 0:
		return false
	case p.with(v1alpha1.RevisionStable) == nil || unplaced(w.replicas(set)) != "":
		return true
	}
	left := cfg.Patience
	if r.Time != nil {
		left = r.Time.Add(cfg.Patience).Sub(w.now)
	}
	if left > 0 {
		p.look(left)
	}
	return left <= 0
}

// shared says how much of the requests each revision gets. A canary gets nothing while
// there is nothing beside it, and while its replicas are in trouble.
func shared(w *world, p *plan, _ *Config) {
	rest := int32(100)
	stable := p.with(v1alpha1.RevisionStable)
	for i := range p.status.Revisions {
		r := &p.status.Revisions[i]
		r.Percent = 0
		if r.Role == v1alpha1.RevisionCanary && stable != nil && w.svc.Spec.Canary != nil && (r.Message == "" || r.ReadyReplicas > 0) {
			r.Percent = min(w.svc.Spec.Canary.Percent, rest)
			rest -= r.Percent
		}
	}
	if stable != nil {
		stable.Percent = rest
	}
}

// made creates the ReplicaSets that are missing, and removes those of revisions that have
// had time to answer what they had.
func made(w *world, p *plan, cfg *Config) {
	for _, t := range []*target{p.main, p.canary} {
		if t == nil {
			continue
		}
		if set := w.set(t.name); set != nil {
			if set.DeletionTimestamp != nil {
				p.look(soon) // it comes back once it is gone
			}
			continue
		}
		n := initial(w, p, t)
		c, err := choiceOf(w, n)
		if err != nil {
			continue // it was there when the spec was resolved
		}
		p.create = append(p.create, objectsOf(w.svc, t, c, n)...)
		p.look(cfg.Wait)
	}
	p.status.Revisions = slices.DeleteFunc(p.status.Revisions, func(r v1alpha1.Revision) bool {
		if r.Role != v1alpha1.RevisionLeaving {
			return false
		}
		left := drain(w, &r, cfg)
		if left > 0 {
			p.look(left)
		}
		return left <= 0
	})
	for i := range w.sets {
		if p.revision(w.sets[i].Name) == nil {
			p.remove = append(p.remove, withTemplate(&w.sets[i])...)
			p.look(soon)
		}
	}
}

// soon is when to look again after something that takes a moment.
const soon = 100 * time.Millisecond

// drain is how long a leaving revision still has. The gateway hears of it at once, and
// takes the replicas away when they have answered all that they had; where there is none,
// they get the time that an answer may take. What never had a request ends at once.
func drain(w *world, r *v1alpha1.Revision, cfg *Config) time.Duration {
	if !r.WasReady || r.Time == nil {
		return 0
	}
	all := cfg.Drain
	if desired(w.set(r.Name)) > 0 {
		all += min(seconds(timeout(w.svc)), drainMax)
	}
	return r.Time.Add(all).Sub(w.now)
}

// drainMax bounds how long a revision that leaves is kept for its requests.
const drainMax = 5 * time.Minute

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// initial is how many replicas a revision begins with: as many as what it is to replace
// has, or a canary its part of them, and at least one, so that it is seen to start.
func initial(w *world, p *plan, t *target) int32 {
	var have int32
	if stable := p.with(v1alpha1.RevisionStable); stable != nil && stable.Name != t.name {
		have = desired(w.set(stable.Name))
	}
	if c := w.svc.Spec.Canary; c != nil && p.main != nil && t.name != p.main.name {
		return max(1, (have*c.Percent+99)/100)
	}
	return min(max(1, have, scaleMin(w.svc)), max(scaleMax(w.svc), scaleMin(w.svc)))
}

// told writes what is known of the service as a whole.
func told(w *world, p *plan, cfg *Config) {
	p.status.Replicas = 0
	for _, r := range p.status.Revisions {
		p.status.Replicas += r.Replicas
	}
	p.status.URL = urlOf(w.svc, cfg.Gateway)
	status, reason, message := judged(p)
	p.set(w, v1alpha1.ConditionReady, status, reason, message)
}
