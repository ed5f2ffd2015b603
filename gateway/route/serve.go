package route

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
	rules "polder.dev/polder/model/route"
)

// Headers of an answer that say what was decided.
const (
	headerRoute     = infer.HeaderRoute
	headerTarget    = infer.HeaderTarget
	headerEscalated = infer.HeaderEscalated
	headerCost      = infer.HeaderCost
	headerCache     = "Polder-Cache" // of a route with a cache: hit or miss
)

// pass is one request on its way through a route.
type pass struct {
	*Router
	live     *live
	settings *settings
	w        http.ResponseWriter
	r        *http.Request
	call     *gateway.Call
	began    time.Time

	decision  rules.Decision
	infers    bool // it asks a model, and is not about one
	spent     int64
	targets   string // that have answered
	escalated string
	classes   []int // likeliest in the answer, where that was looked at
	has       int64 // bytes of answers that were read
}

func (p *pass) serve() error {
	if p.settings.err != nil {
		p.gauges.refused(p.live.key, "invalid")
		return gateway.Faultf(http.StatusServiceUnavailable, "route_invalid", "route %s cannot be used: %v", p.call.Name, p.settings.err)
	}
	if wait, ok := p.live.take(p.call.Client.ID(), p.began); !ok {
		p.gauges.refused(p.live.key, "pace")
		f := gateway.Faultf(http.StatusTooManyRequests, "rate_limited", "route %s takes %d requests a second of each client; ask again later", p.call.Name, p.settings.route.Limits.PerSecond)
		f.RetryAfter = wait
		return f
	}
	var fits bool
	p.decision, fits = p.settings.route.Decide(&rules.Request{Header: p.r.Header, Tenant: p.call.Client.Tenant, Bytes: p.bytes()}, p.draw())
	if !fits {
		p.gauges.refused(p.live.key, "no_rule")
		return gateway.Faultf(http.StatusNotFound, "no_rule", "no rule of route %s fits this request; rules look at Polder-Task, Polder-Classification, Content-Language, the tenant, headers and the size", p.call.Name)
	}
	if err := p.speaks(); err != nil {
		return err
	}
	if p.infers = p.asksModel(); !p.infers {
		return p.about()
	}
	key, kept := p.look()
	if kept != nil {
		p.fromCache(kept)
		return nil
	}
	return p.pay(func() error { return p.answer(key) })
}

// speaks refuses a request in another protocol than the route's services have.
func (p *pass) speaks() error {
	service := types.NamespacedName{Namespace: p.call.Namespace, Name: p.settings.route.Targets[p.decision.Target].Service}
	info, ok := p.cfg.Services.Info(service)
	if !ok || info.Protocol == p.call.Protocol {
		return nil // one that is not there answers nothing, and another may
	}
	path := map[v1alpha1.Protocol]string{
		v1alpha1.ProtocolV2: "/v2/models/" + p.call.Name + "/infer", v1alpha1.ProtocolOpenAI: "/v1/...", v1alpha1.ProtocolHTTP: "/http/" + p.call.Name + "/...",
	}[info.Protocol]
	return gateway.Faultf(http.StatusBadRequest, "wrong_protocol", "the services of route %s speak the protocol %s: ask for /%s%s", p.call.Name, info.Protocol, p.call.Namespace, path)
}

// draw is chance, as far as the route needs any.
func (p *pass) draw() rules.Draw {
	return rules.Draw{Split: p.cfg.Draw(), Shadow: p.cfg.Draw(), Log: p.cfg.Draw()}
}

func (p *pass) bytes() int64 {
	if p.call.Body != nil {
		return int64(len(p.call.Body))
	}
	return max(0, p.r.ContentLength)
}

// asksModel: the request is for an answer of the model. Others, such as for what inputs it
// has, are answered by the target that comes first and are not counted.
func (p *pass) asksModel() bool {
	switch p.call.Protocol {
	case v1alpha1.ProtocolV2:
		return p.r.Method == http.MethodPost && strings.HasSuffix(p.call.Path, "/infer")
	case v1alpha1.ProtocolOpenAI:
		return p.r.Method == http.MethodPost
	}
	return true
}

// about answers a request about the model.
func (p *pass) about() error {
	resp, target, err := p.first(append([]int{p.decision.Target}, p.decision.Fallback...), nil, nil)
	if err != nil {
		return err
	}
	p.targets = p.name(target)
	p.send(resp)
	return nil
}

// pay has a request done within its tenant's budget.
func (p *pass) pay(do func() error) error {
	lim := p.settings.route.Limits
	if !lim.Budgeted {
		return do()
	}
	cost := p.settings.route.CostMax(&p.decision)
	if cost > lim.Budget {
		p.gauges.refused(p.live.key, "budget")
		return gateway.Faultf(http.StatusTooManyRequests, "budget_small", "one request to rule %s of route %s may cost more than limits.budgetPerDay allows for all: raise that to at least %.9g", p.decision.Rule, p.call.Name, float64(cost)/1e9)
	}
	who := purseKey{Route: p.live.key.String(), Tenant: p.call.Client.Tenant}
	ok, err := p.spend.reserve(who, cost, lim.Budget, p.began)
	if err != nil {
		p.gauges.refused(p.live.key, "spend")
		return &gateway.Fault{Status: http.StatusServiceUnavailable, Code: "budget_unknown", Sentence: "the gateway cannot keep account of the budget now, so nothing is spent; its log says why", Cause: err}
	}
	if !ok {
		p.gauges.refused(p.live.key, "budget")
		f := gateway.Faultf(http.StatusTooManyRequests, "budget_spent", "tenant %s has spent what route %s allows for a day; it begins anew at midnight UTC", p.call.Client.Tenant, p.call.Name)
		f.RetryAfter = rules.Midnight(p.began).Sub(p.began)
		return f
	}
	defer func() { p.spend.settle(who, cost, p.spent) }()
	return do()
}

// answer asks the targets and answers the client; then it does what the client need not
// wait for.
func (p *pass) answer(key *rules.Key) error {
	resp, err := p.ask()
	if err != nil {
		p.gauges.failed(p.live.key, p.decision.Rule)
		return err
	}
	t := p.listen(resp)
	defer p.after(t, key)
	p.send(resp)
	return nil
}

// ask has the request answered as decided.
func (p *pass) ask() (*http.Response, error) {
	if p.decision.Cascade == nil {
		resp, target, err := p.first(append([]int{p.decision.Target}, p.decision.Fallback...), nil, nil)
		if err == nil {
			p.targets = p.name(target)
			p.live.saw(1, 0)
		}
		return resp, err
	}
	switch {
	case p.call.Protocol == v1alpha1.ProtocolV2:
		return p.tensors()
	case p.call.Protocol == v1alpha1.ProtocolOpenAI && (p.call.Path == pathChat || p.call.Path == pathComplete):
		return p.text()
	}
	return nil, gateway.Faultf(http.StatusBadRequest, "no_cascade", "rule %s of route %s is a cascade, and an answer at %s cannot be judged; ask by /v2/models, /v1/chat/completions or /v1/completions, or route this by a split", p.decision.Rule, p.call.Name, p.call.Path)
}

// send answers the client with what a target has answered.
func (p *pass) send(resp *http.Response) {
	h := resp.Header
	h.Del(headerEscalated)
	h.Del(headerCache)
	h.Del(headerCost)
	if strings.Contains(p.targets, ",") {
		h.Del(infer.HeaderRevision) // it is of one of them
	}
	if p.spent > 0 {
		h.Set(headerCost, strconv.FormatFloat(float64(p.spent)/1e9, 'f', -1, 64))
	}
	h.Set(headerRoute, p.call.Name+"/"+p.decision.Rule)
	h.Set(headerTarget, p.targets)
	if p.escalated != "" {
		h.Set(headerEscalated, p.escalated)
	}
	if p.infers {
		if p.settings.cache != nil {
			h.Set(headerCache, "miss")
		}
		p.gauges.answered(p.live.key, p.decision.Rule, p.targets, resp.StatusCode)
	}
	gateway.Answer(p.w, p.r, resp)
}

// after keeps, copies and records what was answered.
func (p *pass) after(t *tee, key *rules.Key) {
	body, whole := t.end()
	if whole && key != nil && rules.MayKeep(p.r.Header, t.status, t.header) {
		p.settings.cache.put(*key, &kept{header: t.header, body: body, targets: p.targets, escalated: p.escalated, rule: p.decision.Rule}, p.cfg.Now())
	}
	if p.decision.Log && t.status == http.StatusOK {
		p.record(t.header, body, whole)
	}
	if p.decision.Shadow >= 0 && t.status == http.StatusOK && whole {
		p.shadow(t.header, body)
	}
}

// look finds an answer that is kept. Without one it returns the key to keep it by, nil when
// it is not to be.
func (p *pass) look() (*rules.Key, *kept) {
	if p.settings.cache == nil || p.call.Body == nil {
		return nil, nil
	}
	key := p.settings.route.Key(&rules.Asked{
		Tenant: p.call.Client.Tenant, Route: p.settings.version, Method: p.r.Method, Path: p.call.Path + "?" + p.r.URL.RawQuery, Header: p.r.Header, Body: p.call.Body,
	})
	if rules.MayAsk(p.r.Header) {
		if k := p.settings.cache.find(key, p.cfg.Now()); k != nil {
			return nil, k
		}
	}
	p.gauges.cache.WithLabelValues(p.live.key.Namespace, p.live.key.Name, "miss").Inc()
	return &key, nil
}

func (p *pass) fromCache(k *kept) {
	h := p.w.Header()
	for name, v := range k.header {
		h[name] = v
	}
	h.Set("Content-Length", strconv.Itoa(len(k.body)))
	h.Del(headerCost) // it costs nothing a second time
	h.Set("Age", strconv.Itoa(int(p.cfg.Now().Sub(k.at)/time.Second)))
	h.Set(headerRoute, p.call.Name+"/"+k.rule)
	h.Set(headerTarget, k.targets)
	if k.escalated != "" {
		h.Set(headerEscalated, k.escalated)
	}
	h.Set(headerCache, "hit")
	p.gauges.cache.WithLabelValues(p.live.key.Namespace, p.live.key.Name, "hit").Inc()
	p.w.WriteHeader(http.StatusOK)
	_, _ = p.w.Write(k.body) // a client that has gone needs no answer
}

// name of a target.
func (p *pass) name(target int) string { return p.settings.route.Targets[target].Name }
