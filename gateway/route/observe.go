package route

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/logs"
	rules "polder.dev/polder/model/route"
)

// observeEvery is how often at most the status of a route is written.
const observeEvery = 10 * time.Second

// Status writes what the gateway knows of a route.
type Status interface {
	// Write changes the status of the route as change does, and nothing else. It is not
	// called again when somebody else has written at the same time, until the next time.
	Write(ctx context.Context, route types.NamespacedName, change func(*v1alpha1.ModelRoute)) error
}

// observe writes what was seen until ctx ends.
func (t *Router) observe(ctx context.Context) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	told := map[types.NamespacedName]report{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.tell(ctx, told)
		}
	}
}

// report is what is told of a route.
type report struct {
	counts
	spec                 string
	recent               string
	escalating, disagree bool
	settled              bool // enough was seen to say that there is no drift
	logs, expects        bool
	problem              string
	bound, share, bound2 string
}

// tell writes the status of the routes of which there is something new.
func (t *Router) tell(ctx context.Context, told map[types.NamespacedName]report) {
	seen := map[types.NamespacedName]bool{}
	for _, l := range t.all() {
		seen[l.key] = true
		now := l.report()
		if now == told[l.key] || now.requests == 0 {
			continue
		}
		if err := t.cfg.Status.Write(ctx, l.key, now.write(t.cfg.Now())); err != nil {
			t.cfg.Log.WarnContext(ctx, "what was observed of a route could not be written", logs.Namespace, l.key.Namespace, logs.Name, l.key.Name, logs.Err, err)
			continue
		}
		told[l.key] = now
	}
	for key := range told {
		if !seen[key] {
			delete(told, key)
		}
	}
}

// report returns what there is to tell of a route now.
func (l *live) report() report {
	s := l.settings.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := report{counts: l.seen, spec: s.spec, problem: l.logged}
	r.logs = s.route != nil && s.route.Log != nil
	share, of := l.escalations.Recent()
	if of > 0 {
		r.recent = rules.Decimal(share)
	}
	r.escalating, r.disagree = l.escalations.Alarm(), l.disagreements.Alarm()
	r.expects = l.escalations.Bound() > 0
	r.bound, r.bound2 = rules.Decimal(l.escalations.Bound()), rules.Decimal(l.disagreements.Bound())
	other, _ := l.disagreements.Recent()
	r.share = rules.Decimal(other)
	r.settled = of >= rules.Window
	return r
}

// write returns the change of a status that says what r does.
func (r report) write(now time.Time) func(*v1alpha1.ModelRoute) {
	return func(o *v1alpha1.ModelRoute) {
		at := metav1.NewTime(now)
		o.Status.Observed = &v1alpha1.RouteObserved{
			Requests: r.requests, Escalated: r.escalated, Compared: r.compared, Disagreed: r.disagreed, RecentEscalation: r.recent, Time: &at,
		}
		switch c, ok := r.drift(o.Status.Conditions); {
		case ok:
			set(o, v1alpha1.ConditionDrift, c)
		case !r.expects:
			meta.RemoveStatusCondition(&o.Status.Conditions, v1alpha1.ConditionDrift)
		}
		if r.logs {
			set(o, v1alpha1.ConditionLogged, r.log())
		} else {
			meta.RemoveStatusCondition(&o.Status.Conditions, v1alpha1.ConditionLogged)
		}
	}
}

func set(o *v1alpha1.ModelRoute, kind string, c metav1.Condition) {
	c.Type, c.ObservedGeneration = kind, o.Generation
	meta.SetStatusCondition(&o.Status.Conditions, c)
}

// drift is the condition Drift. What another process has found stays until enough was seen.
func (r report) drift(have []metav1.Condition) (metav1.Condition, bool) {
	switch {
	case !r.expects:
		return metav1.Condition{}, false
	case r.escalating:
		return metav1.Condition{Status: metav1.ConditionTrue, Reason: "Escalation", Message: fmt.Sprintf(
			"Of the latest requests a share of %s went on to the general model, and at most %s were expected: what comes in is not what the threshold was learned from. Evaluate both models on recent requests.", r.recent, r.bound)}, true
	case r.disagree:
		return metav1.Condition{Status: metav1.ConditionTrue, Reason: "Disagreement", Message: fmt.Sprintf(
			"Of the latest requests that went on, both models answered a share of %s otherwise, and at most %s were expected. Evaluate both models on recent requests.", r.share, r.bound2)}, true
	case !r.settled && meta.IsStatusConditionTrue(have, v1alpha1.ConditionDrift):
		return metav1.Condition{}, false
	}
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: "AsExpected", Message: "Requests go on as often as was expected, or less."}, true
}

// log is the condition Logged.
func (r report) log() metav1.Condition {
	if r.problem != "" {
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: "NotWritten", Message: r.problem}
	}
	return metav1.Condition{Status: metav1.ConditionTrue, Reason: "Written", Message: "Records are written to the bucket."}
}
