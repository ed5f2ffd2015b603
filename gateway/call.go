package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
)

// Services answers requests for InferenceServices.
type Services interface {
	// Do sends r to a replica of service and returns what it answers. If none is ready r
	// waits until one is; a replica that fails before it has answered is replaced by
	// another, if r may be sent again (r.GetBody, or no body). The body of the answer must
	// be closed; until then the replica counts r as in flight. r.URL has the path and query
	// that the replica sees, its host is of no account. The error is a *Fault, or the
	// context's when the client has gone.
	Do(service types.NamespacedName, r *http.Request) (*http.Response, error)
}

// Routes answers requests for ModelRoutes.
type Routes interface {
	// Has tells whether there is a route of that name. Routes come before services.
	Has(route types.NamespacedName) bool
	// Names lists the routes of a namespace over services that speak a protocol, in order.
	Names(namespace string, protocol v1alpha1.Protocol) []string
	// Serve answers a request for a route, of a client who may ask it.
	Serve(w http.ResponseWriter, r *http.Request, c *Call)
}

// Call is what a request asks for.
type Call struct {
	// Namespace and Name of the service or route.
	Namespace string
	Name      string
	// Protocol that the client speaks, by the path.
	Protocol v1alpha1.Protocol
	// Path that the replica is to see, with the model's name as the client wrote it:
	// /v2/models/NAME/infer, /v1/chat/completions, /whatever.
	Path string
	// RawPath is Path as it was escaped, if that is not the usual way (see url.URL).
	RawPath string
	// Client who asks.
	Client Client
	// Body of the request, whole: of the protocols v2 and openai. nil of http, whose bodies
	// pass by.
	Body []byte
}

// Key of the service or route.
func (c *Call) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
}

// For returns a request that asks service the same as r, for Services.Do: with the name of
// the service where the protocol has the model's, without what is the gateway's alone.
// body is sent instead of c.Body if it is not nil.
func (c *Call) For(r *http.Request, service string, body []byte) (*http.Request, error) {
	out := r.Clone(r.Context())
	Clean(out.Header)
	Introduce(out.Header, r)
	for _, named := range out.Header["Connection"] {
		for h := range strings.SplitSeq(named, ",") {
			out.Header.Del(strings.TrimSpace(h))
		}
	}
	out.Header.Del("Connection")
	for _, h := range hops {
		out.Header.Del(h)
	}
	out.RequestURI, out.Host, out.TransferEncoding, out.Close = "", "", nil, false
	out.URL = &url.URL{Path: c.PathFor(service), RawPath: c.RawPath, RawQuery: r.URL.RawQuery}
	if c.Protocol == v1alpha1.ProtocolHTTP {
		return out, nil
	}
	if body == nil {
		body = c.Body
	}
	if c.Protocol == v1alpha1.ProtocolOpenAI && service != c.Name && len(body) > 0 {
		var err error
		if body, err = Rename(body, service); err != nil {
			return nil, err
		}
	}
	SetBody(out, body)
	return out, nil
}

// hops are headers of one connection.
var hops = []string{"Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect"}

// Clean removes what clients tell the gateway alone, and what is not theirs to say.
func Clean(h http.Header) {
	for _, n := range []string{"Authorization", "Cookie", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Proxy-Authorization"} {
		h.Del(n)
	}
}

// Introduce tells a replica who is at the other end, as far as the connection of r shows it.
func Introduce(h http.Header, r *http.Request) {
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", ip)
	}
	h.Set("X-Forwarded-Host", r.Host)
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	h.Set("X-Forwarded-Proto", proto)
}

// PathFor is Path with the name of service for the model's.
func (c *Call) PathFor(service string) string {
	const before = "/v2/models/"
	if rest, ok := strings.CutPrefix(c.Path, before); ok && c.Protocol == v1alpha1.ProtocolV2 {
		_, rest, more := strings.Cut(rest, "/")
		if more {
			rest = "/" + rest
		}
		return before + service + rest
	}
	if c.Protocol == v1alpha1.ProtocolOpenAI && c.Path == "/v1/models/"+c.Name {
		return "/v1/models/" + service
	}
	return c.Path
}

// SetBody makes body the body of r, to be sent as often as need be.
func SetBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	if len(body) == 0 {
		r.Body, r.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
		return
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
}

// Rename gives the JSON object of an OpenAI request another model. What else is in it
// stays as it was written.
func Rename(body []byte, model string) ([]byte, error) {
	name, err := json.Marshal(model)
	if err != nil {
		return nil, fmt.Errorf("naming the model: %w", err)
	}
	at, end, err := modelAt(body)
	if err != nil {
		return nil, err
	}
	if at < 0 {
		return nil, errors.New("the body names no model")
	}
	out := make([]byte, 0, len(body)+len(name))
	out = append(out, body[:at]...)
	out = append(out, name...)
	return append(out, body[end:]...), nil
}

// Model reads the model that the JSON object of an OpenAI request names.
func Model(body []byte) (string, error) {
	at, end, err := modelAt(body)
	if err != nil || at < 0 {
		return "", err
	}
	var name string
	if err := json.Unmarshal(body[at:end], &name); err != nil {
		return "", errors.New("model must be a string")
	}
	return name, nil
}

// modelAt finds the value of the field model of an object, or -1. It reads the whole
// object, so that what follows is JSON, too, and takes the last as encoding/json does.
func modelAt(body []byte) (at, end int, err error) {
	at = -1
	wrong := func() (int, int, error) {
		return -1, -1, errors.New("the body is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return wrong()
	}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return wrong()
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return wrong()
		}
		if k == "model" {
			end = int(d.InputOffset())
			at = end - len(v)
		}
	}
	if _, err := d.Token(); err != nil {
		return wrong()
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wrong()
	}
	return at, end, nil
}
