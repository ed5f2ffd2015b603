package route

import (
	"errors"
	"net/http"

	"polder.dev/polder/gateway"
	rules "polder.dev/polder/model/route"
)

// The paths of OpenAI's API whose answers can be judged.
const (
	pathChat     = "/v1/chat/completions"
	pathComplete = "/v1/completions"
)

// text asks the specialist for an answer with the probabilities of its tokens, and the
// general model when they are low or not told. What is to come piece by piece cannot be
// judged before it is sent, so the general model answers it.
func (p *pass) text() (*http.Response, error) {
	c := p.decision.Cascade
	if rules.Streams(p.call.Body) {
		return p.general("stream", nil, nil)
	}
	body, asked, err := rules.AskHow(p.call.Body, p.call.Path == pathChat)
	if err != nil {
		return nil, gateway.Faultf(http.StatusBadRequest, "invalid_request", "the body is no JSON object of OpenAI's API")
	}
	resp, err := p.one(c.Specialist, body, nil)
	switch {
	case failed(resp, err):
		if err == nil {
			waste(resp)
		}
		if p.r.Context().Err() != nil {
			return nil, err
		}
		p.gauges.fellBack(p.live.key, p.name(c.Specialist))
		return p.general("unreachable", nil, nil)
	case resp.StatusCode == http.StatusBadRequest && !asked:
		waste(resp) // it may know nothing of logprobs; if the request is wrong, the general model says so
		return p.general("unjudged", nil, nil)
	case resp.StatusCode != http.StatusOK:
		p.targets = p.name(c.Specialist)
		return resp, nil
	}
	answer, err := p.read(resp)
	switch {
	case errors.Is(err, errBusy):
		return nil, err
	case err != nil:
		p.gauges.fellBack(p.live.key, p.name(c.Specialist))
		return p.general("unreachable", nil, nil)
	}
	j := c.JudgeText(answer)
	if !asked {
		if plain, err := rules.Unasked(answer); err == nil {
			answer = plain
		}
	}
	if len(j.Unsure) > 0 {
		why := ""
		if j.Reason != "" {
			why = "unjudged"
		}
		return p.general(why, resp, answer)
	}
	p.live.judged(1, 0)
	p.gauges.rows(p.live.key, 1, 0)
	p.targets, p.escalated = p.name(c.Specialist), escalatedNo
	return again(resp, answer), nil
}

// general sends a text on. held is the specialist's answer, if there is one.
func (p *pass) general(why string, held *http.Response, body []byte) (*http.Response, error) {
	p.live.judged(1, 1)
	p.gauges.rows(p.live.key, 1, 1)
	if why != "" {
		p.gauges.unjudged(p.live.key, why)
	}
	targets, known := next(p, held != nil)
	resp, target, err := p.first(targets, nil, nil)
	if failed(resp, err) && known && p.r.Context().Err() == nil {
		if err == nil {
			waste(resp)
		}
		p.gauges.fellBack(p.live.key, p.name(p.decision.Cascade.General))
		p.targets, p.escalated = p.name(p.decision.Cascade.Specialist), escalatedFailed
		return again(held, body), nil
	}
	if err != nil {
		return nil, err
	}
	p.targets, p.escalated = p.name(target), escalatedYes
	return resp, nil
}
