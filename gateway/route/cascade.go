package route

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
	rules "polder.dev/polder/model/route"
)

// The values of Polder-Escalated beside K/N.
const (
	escalatedNo     = "no"
	escalatedYes    = "yes"
	escalatedFailed = "failed" // the specialist was not sure, and nobody else could be asked
)

// inferLimits of requests and answers that are judged.
var inferLimits = infer.Limits{BytesMax: answerBytesMax}

// batch is a request of the Open Inference Protocol to a cascade.
type batch struct {
	*pass
	cascade *rules.Cascade
	request *infer.Request
	rows    int
	parts   bool // it can be taken apart

	held   *http.Response // the specialist's answer, read
	body   []byte         // of it
	answer *infer.Response
	judged rules.Judged
}

// tensors asks the specialist, and the general model about the rows that the specialist is
// not sure of.
func (p *pass) tensors() (*http.Response, error) {
	b := &batch{pass: p, cascade: p.decision.Cascade}
	n, err := infer.ParseHeaderLength(p.r.Header.Get(infer.HeaderLength), len(p.call.Body))
	if err == nil {
		b.request, err = infer.DecodeRequest(p.call.Body, n, inferLimits)
	}
	if err != nil {
		return nil, gateway.Faultf(http.StatusBadRequest, "invalid_request", "%v", err)
	}
	b.rows, b.parts = rules.RowsOf(b.request)
	ask, changed := b.cascade.Scoring(b.request)
	var body []byte
	head := func(http.Header) {}
	if changed {
		if body, head, err = encoded(ask); err != nil {
			return nil, err
		}
	}
	resp, err := p.one(b.cascade.Specialist, body, head)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		if err == nil {
			waste(resp)
		}
		if p.r.Context().Err() != nil {
			return nil, err
		}
		p.gauges.fellBack(p.live.key, p.name(b.cascade.Specialist))
		return b.whole("unreachable")
	}
	if resp.StatusCode != http.StatusOK {
		p.targets = p.name(b.cascade.Specialist) // what is wrong with the request is told by who was asked
		return resp, nil
	}
	return b.judge(resp, changed)
}

// judge decides by the specialist's answer. changed says that it has more outputs than were
// asked for.
func (b *batch) judge(resp *http.Response, changed bool) (*http.Response, error) {
	var err error
	if b.body, err = b.read(resp); err != nil {
		if b.r.Context().Err() != nil || errors.Is(err, errBusy) {
			return nil, err
		}
		b.gauges.fellBack(b.live.key, b.name(b.cascade.Specialist))
		return b.whole("unreachable")
	}
	b.held = resp
	if b.answer, err = decoded(resp.Header, b.body); err != nil {
		return b.whole("unreadable")
	}
	b.judged = b.cascade.JudgeTensors(b.answer, b.rows)
	if changed {
		b.answer = rules.AskedFor(b.answer, b.request)
		if err := b.rewrite(); err != nil {
			return b.whole("unreadable")
		}
	}
	switch {
	case b.judged.Reason != "":
		return b.whole("unjudged")
	case len(b.judged.Unsure) == 0:
		b.live.judged(b.rows, 0)
		b.gauges.rows(b.live.key, b.rows, 0)
		b.targets, b.escalated, b.classes = b.name(b.cascade.Specialist), escalatedNo, b.judged.Classes
		return again(b.held, b.body), nil
	case len(b.judged.Unsure) == b.rows || !b.parts:
		return b.whole("")
	}
	return b.part()
}

// rewrite makes the specialist's answer what was asked for.
func (b *batch) rewrite() error {
	body, header, err := b.answer.Append(nil)
	if err != nil {
		return fmt.Errorf("writing the specialist's answer: %w", err)
	}
	b.body = body
	describe(b.held.Header, header)
	return nil
}

// next are the targets to ask after the specialist, in order. known says that the
// specialist is one of them: then those after it are not asked, since its answer is there.
func (b *batch) next() (targets []int, known bool) {
	return next(b.pass, b.held != nil)
}

// next of a cascade whose specialist has answered, or could not.
func next(p *pass, answered bool) (targets []int, known bool) {
	c := p.decision.Cascade
	targets = []int{c.General}
	for _, t := range p.decision.Fallback {
		if t == c.Specialist {
			if answered {
				return targets, true
			}
			continue
		}
		if t != c.General {
			targets = append(targets, t)
		}
	}
	return targets, false
}

// whole sends all of the request on. why is empty when the specialist was not sure.
func (b *batch) whole(why string) (*http.Response, error) {
	b.count(b.rows, why)
	targets, known := b.next()
	resp, target, err := b.first(targets, nil, nil)
	if failed(resp, err) && known {
		return b.unsure(resp)
	}
	if err != nil {
		return nil, err
	}
	b.targets, b.escalated = b.name(target), escalatedYes
	if target == b.cascade.General && resp.StatusCode == http.StatusOK && b.judged.Classes != nil && b.judged.Reason == "" {
		return b.compareWhole(resp)
	}
	return resp, nil
}

// count tells that rows went on.
func (b *batch) count(unsure int, why string) {
	b.live.judged(b.rows, unsure)
	b.gauges.rows(b.live.key, b.rows, unsure)
	if why != "" {
		b.gauges.unjudged(b.live.key, why)
	}
}

// failed: a target could not answer.
func failed(resp *http.Response, err error) bool {
	return err != nil || resp.StatusCode >= http.StatusInternalServerError
}

// unsure answers with what the specialist said, although it is not sure.
func (b *batch) unsure(resp *http.Response) (*http.Response, error) {
	if resp != nil {
		waste(resp)
	}
	if err := b.r.Context().Err(); err != nil {
		return nil, err
	}
	b.gauges.fellBack(b.live.key, b.name(b.cascade.General))
	b.targets, b.escalated = b.name(b.cascade.Specialist), escalatedFailed
	return again(b.held, b.body), nil
}

// compareWhole reads the general model's answer to see whether both agree.
func (b *batch) compareWhole(resp *http.Response) (*http.Response, error) {
	body, err := b.read(resp)
	if err != nil {
		return nil, b.broken(err)
	}
	if answer, err := decoded(resp.Header, body); err == nil {
		b.compare(answer)
	}
	return again(resp, body), nil
}

// broken is why an answer could not be read.
func (b *batch) broken(err error) error {
	if errors.Is(err, errBusy) {
		return err
	}
	return &gateway.Fault{Status: http.StatusBadGateway, Code: "broken_answer", Sentence: "the answer of target " + b.targets + " could not be read whole; ask again", Cause: err}
}

// compare counts the unsure rows that both models answer otherwise.
func (b *batch) compare(answer *infer.Response) {
	classes := b.cascade.Classes(answer)
	if len(classes) != len(b.judged.Unsure) {
		return // of another form; nothing can be said
	}
	other := 0
	for i, row := range b.judged.Unsure {
		if classes[i] != b.judged.Classes[row] {
			other++
		}
	}
	b.live.compared(len(classes), other, true)
	b.gauges.compared(b.live.key, "cascade", len(classes), other)
}

// part sends the unsure rows on and puts the answers together.
func (b *batch) part() (*http.Response, error) {
	some, err := rules.Part(b.request, b.judged.Unsure)
	if err != nil {
		return nil, fmt.Errorf("taking the request apart: %w", err)
	}
	body, head, err := encoded(some)
	if err != nil {
		return nil, err
	}
	targets, known := b.next()
	resp, target, err := b.first(targets, body, head)
	if failed(resp, err) && known {
		b.count(len(b.judged.Unsure), "")
		return b.unsure(resp)
	}
	if err != nil {
		b.count(len(b.judged.Unsure), "")
		return nil, err
	}
	b.targets = b.name(target)
	if resp.StatusCode != http.StatusOK {
		b.count(len(b.judged.Unsure), "")
		b.escalated = escalatedYes
		return resp, nil
	}
	got, err := b.read(resp)
	if err != nil {
		return nil, b.broken(err)
	}
	answer, err := decoded(resp.Header, got)
	if err != nil {
		return b.whole("unmerged")
	}
	merged, err := rules.Merge(b.answer, answer, b.judged.Unsure, b.rows)
	if err != nil {
		return b.whole("unmerged")
	}
	b.count(len(b.judged.Unsure), "")
	if target == b.cascade.General {
		b.compare(answer)
	}
	b.answer = merged
	if err := b.rewrite(); err != nil {
		return nil, err
	}
	b.classes = b.cascade.Classes(merged)
	b.targets = b.name(b.cascade.Specialist) + "," + b.name(target)
	b.escalated = strconv.Itoa(len(b.judged.Unsure)) + "/" + strconv.Itoa(b.rows)
	return again(b.held, b.body), nil
}

// encoded is a request as a body, and what its header has to say.
func encoded(r *infer.Request) (body []byte, head func(http.Header), err error) {
	body, n, err := r.Append(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the request anew: %w", err)
	}
	return body, func(h http.Header) { describe(h, n) }, nil
}

// describe says of a body whether binary data follows its JSON.
func describe(h http.Header, header int) {
	if header > 0 {
		h.Set(infer.HeaderLength, strconv.Itoa(header))
		h.Set("Content-Type", infer.ContentBinary)
		return
	}
	h.Del(infer.HeaderLength)
	h.Set("Content-Type", infer.ContentJSON)
}

func decoded(h http.Header, body []byte) (*infer.Response, error) {
	n, err := infer.ParseHeaderLength(h.Get(infer.HeaderLength), len(body))
	if err != nil {
		return nil, err
	}
	return infer.DecodeResponse(body, n, inferLimits)
}
