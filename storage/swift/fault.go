package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

const (
	kindHTML  = "text/html; charset=UTF-8"
	kindPlain = "text/plain"
)

// fault is an answer that says no, or another that has nothing but a text.
type fault struct {
	status int
	kind   string
	text   string // "" is the status's own
	header map[string]string
	cause  error // what is logged, and not shown
	bare   bool  // a 401 that asks for no token
}

func (f *fault) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%d %s: %v", f.status, f.body(), f.cause)
	}
	return fmt.Sprintf("%d %s", f.status, f.body())
}

func (f *fault) Unwrap() error { return f.cause }

// with adds a header.
func (f *fault) with(name, value string) *fault {
	if f.header == nil {
		f.header = map[string]string{}
	}
	f.header[name] = value
	return f
}

// refuse is a status with the text that Swift has for it.
func refuse(status int) *fault { return &fault{status: status, kind: kindHTML} }

// refusef is a status with a text of its own, in the type of Swift's default.
func refusef(status int, format string, args ...any) *fault {
	return &fault{status: status, kind: kindHTML, text: fmt.Sprintf(format, args...)}
}

// plainf is a status with a text of type text/plain.
func plainf(status int, format string, args ...any) *fault {
	return &fault{status: status, kind: kindPlain, text: fmt.Sprintf(format, args...)}
}

// statusClosed is what is logged where a client went away (499 in Swift and others).
const statusClosed = 499

// reasons are Swift's texts for a status.
var reasons = map[int][2]string{
	202: {"Accepted", "The request is accepted for processing."},
	301: {"Moved Permanently", "The resource has moved permanently."},
	302: {"Found", "The resource has moved temporarily."},
	303: {"See Other", "The response to the request can be found under a different URI."},
	400: {"Bad Request", "The server could not comply with the request since it is either malformed or otherwise incorrect."},
	401: {"Unauthorized", "This server could not verify that you are authorized to access the document you requested."},
	403: {"Forbidden", "Access was denied to this resource."},
	404: {"Not Found", "The resource could not be found."},
	405: {"Method Not Allowed", "The method is not allowed for this resource."},
	406: {"Not Acceptable", "The resource is not available in a format acceptable to your browser."},
	408: {"Request Timeout", "The server has waited too long for the request to be sent by the client."},
	409: {"Conflict", "There was a conflict when trying to complete your request."},
	410: {"Gone", "This resource is no longer available."},
	411: {"Length Required", "Content-Length header required."},
	412: {"Precondition Failed", "A precondition for this request was not met."},
	413: {"Request Entity Too Large", "The body of your request was too large for this server."},
	416: {"Requested Range Not Satisfiable", "The Range requested is not available."},
	422: {"Unprocessable Entity", "Unable to process the contained instructions"},
	499: {"Client Disconnect", "The client was disconnected during request."},
	500: {"Internal Error", "The server has either erred or is incapable of performing the requested operation."},
	501: {"Not Implemented", "The requested method is not implemented by this server."},
	503: {"Service Unavailable", "The server is currently unavailable. Please try again at a later time."},
	507: {"Insufficient Storage", "There was not enough space to save the resource. Drive: unspecified"},
}

func (f *fault) body() string {
	if f.text != "" {
		return f.text
	}
	if r, ok := reasons[f.status]; ok {
		return "<html><h1>" + r[0] + "</h1><p>" + r[1] + "</p></html>"
	}
	return ""
}

// line is a status with its reason, as bulk operations report it.
func line(status int) string {
	r := http.StatusText(status)
	if s, ok := reasons[status]; ok {
		r = s[0]
	}
	return strconv.Itoa(status) + " " + r
}

// kinds maps the store's failures; the first that fits holds.
var kinds = []struct {
	err    error
	status int
}{
	{manifest.ErrLoop, 409}, {manifest.ErrTarget, 409}, {manifest.ErrSegment, 409},
	{storage.ErrNotModified, 304}, {storage.ErrPrecondition, 412},
	{storage.ErrNoBucket, 404}, {storage.ErrNoObject, 404}, {storage.ErrNoVersion, 404}, {storage.ErrDeleted, 404},
	{storage.ErrNotEmpty, 409}, {storage.ErrBucketExists, 409},
	{storage.ErrDigest, 422}, {storage.ErrRange, 416}, {storage.ErrInvalid, 400},
	{storage.ErrForbiddenPlace, 403}, {storage.ErrReadOnly, 405}, // as Swift's own read_only answers
	{storage.ErrFull, 507}, {storage.ErrUnavailable, 503}, {storage.ErrClosed, 503},
	{context.Canceled, statusClosed}, {io.ErrUnexpectedEOF, statusClosed}, {os.ErrDeadlineExceeded, 408},
}

// faultOf turns any error into an answer.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return refuse(413)
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			out := refuse(k.status)
			out.cause = err
			return out
		}
	}
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		return refuse(408)
	}
	out := refuse(500)
	out.cause = err
	return out
}

// fail answers with an error, if no answer was begun.
func (c *call) fail(err error) {
	f := faultOf(err)
	if f.status >= 500 {
		c.h.cfg.Log.ErrorContext(c.ctx, "swift request failed", "transaction", c.trans, "method", c.r.Method, "error", err)
	}
	if c.w.status != 0 && c.sub {
		return
	}
	if c.w.status != 0 {
		panic(http.ErrAbortHandler) // a body was cut: the connection must end, so that its client knows
	}
	h := c.w.Header()
	for k, v := range f.header {
		h.Set(k, v)
	}
	h.Set("Content-Type", f.kind)
	h.Del("Vary")
	if f.status == 401 && !f.bare && h.Get("Www-Authenticate") == "" {
		h.Set("Www-Authenticate", `Swift realm="`+c.realm()+`"`)
	}
	if f.text != "" && c.method() == http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(f.text)))
	}
	c.answer(f.status, f.body())
}

// answer writes a status and a text. The type is in the header already, or Swift's default.
func (c *call) answer(status int, text string) {
	h := c.w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", kindHTML)
	}
	bodiless := status == 204 || status == 304
	if c.method() == http.MethodHead || bodiless {
		text = ""
	}
	if h.Get("Content-Length") == "" && !bodiless {
		h.Set("Content-Length", strconv.Itoa(len(text)))
	}
	c.w.WriteHeader(status)
	_, _ = io.WriteString(c.w, text) // a client that is gone is told nothing
}

// done answers a status with Swift's own text for it.
func (c *call) done(status int) error {
	c.answer(status, refuse(status).body())
	return nil
}
