package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	reviewLimit    = 5 * time.Second // of one question
	reviewBytesMax = 1 << 20
	// An answer holds for a moment: one push asks the same many times.
	allowedLife = 10 * time.Second
	deniedLife  = 2 * time.Second
	answersMax  = 4096
)

// review is a question to the API server and its answer, as far as they are used.
type review[S, T any] struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       S      `json:"spec"`
	Status     T      `json:"status,omitzero"`
}

// reviewSpec is that of a SubjectAccessReview.
type reviewSpec struct {
	User       string           `json:"user"`
	Groups     []string         `json:"groups"`
	Attributes reviewAttributes `json:"resourceAttributes"`
}

type reviewAttributes struct {
	Namespace string `json:"namespace"`
	Verb      string `json:"verb"`
	Group     string `json:"group"`
	Resource  string `json:"resource"`
}

type reviewStatus struct {
	Allowed bool   `json:"allowed"`
	Denied  bool   `json:"denied,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// reviewer asks the API server who users are, and what they may do.
type reviewer struct {
	url       string
	http      *http.Client
	audiences []string // that tokens may be for
	tokens    chan struct{}

	allowed *memory[bool]  // by question
	holders *memory[asker] // by the sum of a token; one of nobody has no name
}

// newReviewer returns one that asks the API server at api.
func newReviewer(api string, trust *tls.Config, audiences []string, now func() time.Time) *reviewer {
	return &reviewer{
		url: strings.TrimSuffix(api, "/"),
		http: &http.Client{Timeout: reviewLimit, Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: reviewLimit}).DialContext,
			TLSClientConfig: trust, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		}},
		audiences: audiences, tokens: make(chan struct{}, tokensMax),
		allowed: &memory[bool]{now: now, answers: map[string]answer[bool]{}}, holders: &memory[asker]{now: now, answers: map[string]answer[asker]{}},
	}
}

// ask reports whether who may do verb to all objects of a kind of group polder.dev
// in namespace. An error says that nobody knows.
func (v *reviewer) ask(ctx context.Context, who asker, verb, resource, namespace string) (bool, error) {
	spec := reviewSpec{who.user, who.groups, reviewAttributes{namespace, verb, "polder.dev", resource}}
	question := fmt.Sprintf("%q", spec)
	if allowed, ok := v.allowed.recall(question); ok {
		return allowed, nil
	}
	status, err := post[reviewSpec, reviewStatus](ctx, v, "authorization.k8s.io", "SubjectAccessReview", spec)
	if err != nil {
		return false, err
	}
	allowed := status.Allowed && !status.Denied
	v.allowed.keep(question, allowed, allowed)
	return allowed, nil
}

// memory is what the API server has answered a moment ago.
type memory[V any] struct {
	now func() time.Time

	mu      sync.Mutex
	answers map[string]answer[V]
}

type answer[V any] struct {
	value V
	until time.Time
}

func (m *memory[V]) recall(question string) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[question]
	return a.value, ok && m.now().Before(a.until)
}

// keep remembers an answer, for longer if it was yes.
func (m *memory[V]) keep(question string, value V, yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, life := m.now(), deniedLife
	if yes {
		life = allowedLife
	}
	if len(m.answers) >= answersMax {
		maps.DeleteFunc(m.answers, func(_ string, a answer[V]) bool { return !now.Before(a.until) })
	}
	if len(m.answers) >= answersMax { // so many in so short a time: begin anew
		clear(m.answers)
	}
	m.answers[question] = answer[V]{value, now.Add(life)}
}

// post sends a question of a kind of group.
func post[S, T any](ctx context.Context, v *reviewer, group, kind string, spec S) (status T, err error) {
	version := group + "/v1"
	body, err := json.Marshal(review[S, T]{APIVersion: version, Kind: kind, Spec: spec})
	if err != nil {
		return status, fmt.Errorf("writing review: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url+"/apis/"+version+"/"+strings.ToLower(kind)+"s", bytes.NewReader(body))
	if err != nil {
		return status, fmt.Errorf("asking for a review: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header["Idempotency-Key"] = nil // may be sent again, where an idle connection has ended
	resp, err := v.http.Do(req)
	if err != nil {
		return status, fmt.Errorf("asking for a review: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, reviewBytesMax))
	if err != nil {
		return status, fmt.Errorf("reading review: %w", err)
	}
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return status, fmt.Errorf("asking for a review: status %d: %.200s", resp.StatusCode, text)
	}
	var r review[S, T]
	if err := json.Unmarshal(text, &r); err != nil {
		return status, fmt.Errorf("reading review: %w", err)
	}
	if r.APIVersion != version || r.Kind != kind {
		return status, errors.New("reading review: the answer is no review")
	}
	return r.Status, nil
}
