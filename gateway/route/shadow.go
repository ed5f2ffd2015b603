package route

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
	rules "polder.dev/polder/model/route"
)

const (
	// shadowsMax copies are under way at a time, of so many bytes; more are dropped.
	shadowsMax      = 32
	shadowsBytesMax = 64 << 20
	shadowFor       = time.Minute
)

// shadows are the copies that are under way.
type shadows struct {
	free chan struct{}
	held *room

	mu      sync.Mutex
	running context.Context // nil until run, and when it has ended
	work    sync.WaitGroup
}

func newShadows() *shadows {
	return &shadows{free: make(chan struct{}, shadowsMax), held: &room{max: shadowsBytesMax}}
}

// run lets copies be sent until ctx ends, and waits for them.
func (s *shadows) run(ctx context.Context) error {
	s.mu.Lock()
	s.running = ctx
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.work.Wait()
	return nil
}

// start runs do beside everything else, if there is room for it and its bytes.
func (s *shadows) start(bytes int64, do func(context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil || !s.held.take(bytes) {
		return false
	}
	select {
	case s.free <- struct{}{}:
	default:
		s.held.free(bytes)
		return false
	}
	ctx, cancel := context.WithTimeout(s.running, shadowFor)
	s.work.Go(func() {
		defer func() { cancel(); s.held.free(bytes); <-s.free }()
		do(ctx)
	})
	return true
}

// shadow sends a copy of the request, which was answered already, and compares.
func (p *pass) shadow(header http.Header, body []byte) {
	to := p.settings.route.Targets[p.decision.Shadow]
	l, g := p.live, p.gauges
	call := *p.call
	request := p.r.Clone(context.WithoutCancel(p.r.Context()))
	mine := p.likeliest(header, body)
	services := p.cfg.Services
	ok := p.shadows.start(int64(len(call.Body)), func(ctx context.Context) {
		out, err := call.For(request.WithContext(ctx), to.Service, nil)
		if err != nil {
			g.shadow(l.key, "failed")
			return
		}
		out.Header.Del("Accept-Encoding")
		resp, err := services.Do(types.NamespacedName{Namespace: call.Namespace, Name: to.Service}, out)
		if err != nil {
			g.shadow(l.key, "failed")
			return
		}
		answer, taken, err := whole(resp, p.shadows.held)
		defer p.shadows.held.free(taken)
		if err != nil || resp.StatusCode != http.StatusOK {
			g.shadow(l.key, "failed")
			return
		}
		other, of, comparable := differ(&call, mine, resp.Header, answer)
		if !comparable {
			g.shadow(l.key, "not_compared")
			return
		}
		l.compared(of, other, false)
		g.compared(l.key, "shadow", of, other)
		g.shadow(l.key, "compared")
	})
	if !ok {
		g.shadow(l.key, "dropped")
	}
}

// gist is what of an answer is compared: the likeliest class of each row, or a text.
type gist struct {
	classes []int
	text    string
	is      bool
}

// likeliest is the gist of what the client was answered.
func (p *pass) likeliest(header http.Header, body []byte) gist {
	if p.classes != nil {
		return gist{classes: p.classes, is: true}
	}
	return gistOf(p.call, header, body)
}

func gistOf(c *gateway.Call, header http.Header, body []byte) gist {
	switch c.Protocol {
	case v1alpha1.ProtocolV2:
		r, err := decoded(header, body)
		if err != nil {
			return gist{}
		}
		classes := classesOf(r)
		return gist{classes: classes, is: len(classes) > 0}
	case v1alpha1.ProtocolOpenAI:
		return textOf(body)
	}
	return gist{}
}

func classesOf(r *infer.Response) []int { return (&rules.Cascade{}).Classes(r) }

// textOf is the text of the first choice of an answer.
func textOf(body []byte) gist {
	var a struct {
		Choices []struct {
			Message *said   `json:"message"`
			Text    *string `json:"text"`
		} `json:"choices"`
	}
	if json.Unmarshal(body, &a) != nil || len(a.Choices) == 0 {
		return gist{}
	}
	switch first := a.Choices[0]; {
	case first.Message != nil:
		return gist{text: string(bytes.TrimSpace([]byte(first.Message.Content))), is: true}
	case first.Text != nil:
		return gist{text: string(bytes.TrimSpace([]byte(*first.Text))), is: true}
	}
	return gist{}
}

// differ counts in how many rows an answer differs from what the client got.
func differ(c *gateway.Call, mine gist, header http.Header, body []byte) (other, of int, comparable bool) {
	theirs := gistOf(c, header, body)
	if !mine.is || !theirs.is || len(mine.classes) != len(theirs.classes) {
		return 0, 0, false
	}
	if mine.classes == nil {
		if mine.text != theirs.text {
			return 1, 1, true
		}
		return 0, 1, true
	}
	for i := range mine.classes {
		if mine.classes[i] != theirs.classes[i] {
			other++
		}
	}
	return other, len(mine.classes), true
}
