package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// review is a SubjectAccessReview of authorization.k8s.io/v1, as far as it is used.
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

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

// reviewer asks the API server what users may do.
type reviewer struct {
	url  string
	http *http.Client
	now  func() time.Time

	mu      sync.Mutex
	answers map[string]answer // by question
}

type answer struct {
	allowed bool
	until   time.Time
}

// newReviewer returns one that asks the API server at api.
func newReviewer(api string, trust *tls.Config, now func() time.Time) *reviewer {
	return &reviewer{
		url: strings.TrimSuffix(api, "/") + "/apis/authorization.k8s.io/v1/subjectaccessreviews",
		http: &http.Client{Timeout: reviewLimit, Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: reviewLimit}).DialContext,
			TLSClientConfig: trust, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
		}},
		now: now, answers: map[string]answer{},
	}
}

// ask reports whether who may do verb to all objects of a kind of group polder.dev
// in namespace. An error says that nobody knows.
func (v *reviewer) ask(ctx context.Context, who asker, verb, resource, namespace string) (bool, error) {
	spec := reviewSpec{who.user, who.groups, reviewAttributes{namespace, verb, "polder.dev", resource}}
	question := fmt.Sprintf("%q", spec)
	if a, ok := v.recall(question); ok {
		return a.allowed, nil
	}
	status, err := v.post(ctx, spec)
	if err != nil {
		return false, err
	}
	allowed := status.Allowed && !status.Denied
	v.keep(question, allowed)
	return allowed, nil
}

func (v *reviewer) recall(question string) (answer, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, ok := v.answers[question]
	return a, ok && v.now().Before(a.until)
}

func (v *reviewer) keep(question string, allowed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, life := v.now(), deniedLife
	if allowed {
		life = allowedLife
	}
	if len(v.answers) >= answersMax {
		for q, a := range v.answers {
			if !now.Before(a.until) {
				delete(v.answers, q)
			}
		}
	}
	if len(v.answers) >= answersMax { // so many in so short a time: begin anew
		clear(v.answers)
	}
	v.answers[question] = answer{allowed, now.Add(life)}
}

// post sends the question.
func (v *reviewer) post(ctx context.Context, spec reviewSpec) (reviewStatus, error) {
	const version, kind = "authorization.k8s.io/v1", "SubjectAccessReview"
	body, err := json.Marshal(review{APIVersion: version, Kind: kind, Spec: spec})
	if err != nil {
		return reviewStatus{}, fmt.Errorf("writing review: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, bytes.NewReader(body))
	if err != nil {
		return reviewStatus{}, fmt.Errorf("asking for a review: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header["Idempotency-Key"] = nil // may be sent again, where an idle connection has ended
	resp, err := v.http.Do(req)
	if err != nil {
		return reviewStatus{}, fmt.Errorf("asking for a review: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, reviewBytesMax))
	if err != nil {
		return reviewStatus{}, fmt.Errorf("reading review: %w", err)
	}
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return reviewStatus{}, fmt.Errorf("asking for a review: status %d: %.200s", resp.StatusCode, text)
	}
	var r review
	if err := json.Unmarshal(text, &r); err != nil {
		return reviewStatus{}, fmt.Errorf("reading review: %w", err)
	}
	if r.APIVersion != version || r.Kind != kind {
		return reviewStatus{}, errors.New("reading review: the answer is no review")
	}
	return r.Status, nil
}
