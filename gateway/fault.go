package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"polder.dev/polder/api/v1alpha1"
)

// Fault is an answer that the gateway gives itself.
type Fault struct {
	// Status of HTTP.
	Status int
	// Code is a word for programs, such as not_found.
	Code string
	// Sentence for people: what is wrong, and what to do about it.
	Sentence string
	// RetryAfter is when to ask again; 0 is not said.
	RetryAfter time.Duration
	// Cause is for the log, and is not told to clients.
	Cause error
}

// Error implements error.
func (f *Fault) Error() string { return f.Sentence }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// Faultf returns a Fault without cause.
func Faultf(status int, code, format string, args ...any) *Fault {
	return &Fault{Status: status, Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// Refuse answers with err in the form that clients of the protocol expect. What is no
// Fault is told as a 502 without details.
func Refuse(w http.ResponseWriter, p v1alpha1.Protocol, err error) {
	var f *Fault
	if !errors.As(err, &f) {
		f = &Fault{Status: http.StatusBadGateway, Code: "failed", Sentence: "the gateway could not have this answered; try again"}
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if f.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="polder"`)
	}
	body, kind := f.body(p)
	h.Set("Content-Type", kind)
	w.WriteHeader(f.Status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

// body is the fault as clients of p read it.
func (f *Fault) body(p v1alpha1.Protocol) (body []byte, kind string) {
	const asJSON = "application/json"
	switch p {
	case v1alpha1.ProtocolV2:
		body, _ = json.Marshal(struct { // a struct of strings has a form
			Error string `json:"error"`
		}{f.Sentence})
		return append(body, '\n'), asJSON
	case v1alpha1.ProtocolOpenAI:
		type inner struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    string  `json:"code"`
		}
		body, _ = json.Marshal(struct { // as above
			Error inner `json:"error"`
		}{inner{Message: f.Sentence, Type: f.kind(), Code: f.Code}})
		return append(body, '\n'), asJSON
	}
	return []byte(f.Sentence + "\n"), "text/plain; charset=utf-8"
}

// kind is what OpenAI calls errors of the status.
func (f *Fault) kind() string {
	switch {
	case f.Status == http.StatusUnauthorized:
		return "authentication_error"
	case f.Status == http.StatusForbidden:
		return "permission_error"
	case f.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case f.Status < http.StatusInternalServerError:
		return "invalid_request_error"
	}
	return "server_error"
}
