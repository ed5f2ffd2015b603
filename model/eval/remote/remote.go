// Package remote has services and routes take part in a trial: it asks them through the
// gateway, as any client does. Programs that run in the pods of evaluations import it.
//
// Rows are asked for by the Open Inference Protocol, prompts by OpenAI's API. A request that
// fails in a way that may pass is sent again, a few times; then the trial has trouble. Each
// answer tells how long the request took that was answered, and who has answered it, as far
// as its headers say.
//
// It refuses what is no answer, and never shows its token to anybody but the gateway.
package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/infer"
)

const (
	// triesMax is how often a request is sent, first after pauseFirst, then after twice as
	// long each time, or when the answer says so, if that is within pauseMax.
	triesMax   = 6
	pauseFirst = 500 * time.Millisecond
	pauseMax   = time.Minute
	// timeoutDefault of a request for which none is told.
	timeoutDefault = 10 * time.Minute
	answerBytesMax = 64 << 20
)

// Gateway is how services are asked.
type Gateway struct {
	client *http.Client
	token  string // file
	now    func() time.Time
	wait   func(context.Context, time.Duration) error
}

// New returns a Gateway that trusts the authority in the file ca and shows the token in the
// file token, which may change.
func New(ca, token string, now func() time.Time) (*Gateway, error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, &trial.Trouble{Err: fmt.Errorf("reading the authority of the gateway: %w", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, &trial.Trouble{Err: fmt.Errorf("%s has no certificate", ca)}
	}
	t := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute,
	}
	return &Gateway{client: &http.Client{Transport: t}, token: token, now: now, wait: pause}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// answer is what came of a request.
type answer struct {
	header http.Header
	body   []byte
	sent   trial.Sent
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	reason string
	after  time.Duration
}

func (r *refusal) Error() string { return fmt.Sprintf("it answered %d: %s", r.status, r.reason) }

// passes tells whether the same request may be answered later.
func passes(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return true
	}
	switch r.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return r.status >= http.StatusInternalServerError && r.status != http.StatusNotImplemented
}

// ask sends a request until it is answered, or as often as it may be.
func (g *Gateway) ask(ctx context.Context, e *trial.Entrant, method, path string, body []byte) (*answer, error) {
	next := pauseFirst
	for try := 1; ; try++ {
		a, err := g.send(ctx, e, method, path, body)
		if err == nil {
			a.sent.Again = try - 1
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, &trial.Trouble{Err: context.Cause(ctx)}
		}
		var r *refusal
		errors.As(err, &r)
		switch {
		case !passes(err), r != nil && r.after > pauseMax: // a budget that is spent
			return nil, fmt.Errorf("%s: %w", e.What(), err)
		case try == triesMax:
			return nil, &trial.Trouble{Err: fmt.Errorf("%s was asked %d times and has not answered: %w", e.What(), triesMax, err)}
		case r != nil:
			next = max(next, r.after)
		}
		if err := g.wait(ctx, next); err != nil {
			return nil, &trial.Trouble{Err: err}
		}
		next = min(2*next, pauseMax)
	}
}

// send sends a request once.
func (g *Gateway) send(ctx context.Context, e *trial.Entrant, method, path string, body []byte) (*answer, error) {
	timeout := timeoutDefault
	if e.TimeoutSeconds > 0 {
		timeout = time.Duration(e.TimeoutSeconds) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer came within %s", timeout))
	defer cancel()
	token, err := os.ReadFile(g.token)
	if err != nil {
		return nil, fmt.Errorf("reading the token for the gateway: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, e.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	r.Header.Set("Cache-Control", "no-cache, no-store") // a model is judged, not a memory
	if len(body) > 0 {
		r.Header.Set("Content-Type", infer.ContentJSON)
	}
	began := g.now()
	resp, err := g.client.Do(r)
	if err != nil {
		return nil, g.failed(ctx, err)
	}
	defer resp.Body.Close()
	a := &answer{header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1)); err != nil {
		return nil, g.failed(ctx, fmt.Errorf("reading the answer: %w", err))
	}
	a.sent.Took = g.now().Sub(began)
	if len(a.body) > answerBytesMax {
		return nil, &refusal{status: resp.StatusCode, reason: fmt.Sprintf("more than %d bytes, which are not read", answerBytesMax)}
	}
	if resp.StatusCode != http.StatusOK {
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // a date is not used here
		return nil, &refusal{resp.StatusCode, infer.Reason(a.body), time.Duration(max(after, 0)) * time.Second}
	}
	if route := resp.Header.Get(infer.HeaderRoute); (route != "") != (e.Route != "") {
		return nil, &refusal{status: resp.StatusCode, reason: "a route and a service of one name were taken for each other"}
	}
	a.sent.Cost, _ = strconv.ParseFloat(resp.Header.Get(infer.HeaderCost), 64) // absent where nothing is told
	return a, nil
}

// failed prefers the reason of a context that ended.
func (g *Gateway) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// by says who has answered n rows. digest is what the answer itself says.
func (a *answer) by(e *trial.Entrant, digest string, n int) []eval.Origin {
	revision := a.header.Get(infer.HeaderRevision)
	if !strings.HasPrefix(digest, "sha256:") {
		digest = e.Revisions[revision]
	}
	target := a.header.Get(infer.HeaderTarget)
	first, second, both := strings.Cut(target, ",")
	if !both {
		return []eval.Origin{{Target: target, Revision: revision, Digest: digest, Rows: int64(n)}}
	}
	went, _, _ := strings.Cut(a.header.Get(infer.HeaderEscalated), "/")
	k, err := strconv.ParseInt(went, 10, 64)
	if err != nil || k < 0 || k > int64(n) {
		return []eval.Origin{{Target: target, Rows: int64(n)}}
	}
	return []eval.Origin{{Target: first, Rows: int64(n) - k}, {Target: second, Rows: k}}
}
