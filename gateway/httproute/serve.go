package httproute

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// Config of a Handler. All is needed.
type Config struct {
	Services gateway.Services
	Routes   gateway.Routes
	// Draw is by chance at least 0 and below 1.
	Draw func() float64
}

// Handler answers requests whose host is an HTTPRoute's.
type Handler struct {
	cfg   Config
	table atomic.Pointer[Table]
	pairs atomic.Pointer[pairs]
}

// NewHandler returns a Handler that knows no host until a Controller tells it some.
func NewHandler(cfg Config) (*Handler, error) {
	if cfg.Services == nil || cfg.Routes == nil || cfg.Draw == nil {
		return nil, errors.New("httproute: a dependency is missing")
	}
	return &Handler{cfg: cfg}, nil
}

// Knows tells whether requests to a host are for Find. A port is of no account.
func (h *Handler) Knows(host string) bool { return h.table.Load().Knows(hostOf(host)) }

// Find returns the namespace of the HTTPRoute that takes a request to a host that is known,
// "" if none does, and what answers the request.
func (h *Handler) Find(r *http.Request) (namespace string, serve gateway.Server) {
	e := h.table.Load().find(hostOf(r.Host), r)
	if e == nil {
		return "", nowhere
	}
	return e.rule.namespace, func(w http.ResponseWriter, r *http.Request, c gateway.Client, read func(*http.Request) ([]byte, error)) {
		h.serve(w, r, c, e, read)
	}
}

// nowhere answers what no rule takes.
func nowhere(w http.ResponseWriter, r *http.Request, _ gateway.Client, _ func(*http.Request) ([]byte, error)) {
	gateway.Refuse(w, protocolOf(r.URL.Path), gateway.Faultf(http.StatusNotFound, "not_found", "no HTTPRoute of this host takes %s %s", r.Method, r.URL.Path))
}

// hostOf is the name in a Host header.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// body reads that of a request whole.
type body func(*http.Request) ([]byte, error)

// serve answers a request of a client who is known as a rule says.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, c gateway.Client, e *entry, read body) {
	if e.rule.response != nil {
		w = &headed{ResponseWriter: w, filter: e.rule.response}
	}
	if e.rule.redirect != nil {
		w.Header().Set("Location", location(e, r))
		code := http.StatusFound
		if e.rule.redirect.StatusCode != nil {
			code = *e.rule.redirect.StatusCode
		}
		w.WriteHeader(code)
		return
	}
	b := e.rule.pick(h.cfg.Draw())
	if b == nil || b.absent {
		gateway.Refuse(w, protocolOf(r.URL.Path), gateway.Faultf(http.StatusInternalServerError, "no_backend", "HTTPRoute %s sends this request nowhere; its conditions say why", e.key))
		return
	}
	if err := allowed(r, e.rule.namespace, b); err != nil {
		gateway.Refuse(w, protocolOf(r.URL.Path), err)
		return
	}
	if err := h.forward(w, r, c, e, b, read); err != nil {
		gateway.Refuse(w, protocolOf(r.URL.Path), err)
	}
}

// allowed asks whether the client may be served by a backend, as if they had named it.
func allowed(r *http.Request, namespace string, b *backend) error {
	v, ok := gateway.VisitorOf(r.Context())
	if !ok {
		return gateway.Faultf(http.StatusUnauthorized, "unauthorized", "who asks is not known")
	}
	return v.May(r.Context(), namespace, b.kind == kindRoute, b.name)
}

// forward sends r to a backend. An error means that nothing was answered yet.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, c gateway.Client, e *entry, b *backend, read body) error {
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = rewritten(e, r.URL.Path), ""
	modify(r.Header, e.rule.request)
	call := &gateway.Call{Namespace: e.rule.namespace, Protocol: protocolOf(r.URL.Path), Path: r.URL.Path, Client: c}
	if call.Protocol == v1alpha1.ProtocolHTTP {
		call.Name = b.name
	} else if err := fill(call, r, read); err != nil {
		return err
	}
	if b.kind == kindRoute {
		named, err := asked(call, b.name)
		if err != nil {
			return err
		}
		if named.Protocol != v1alpha1.ProtocolHTTP {
			gateway.SetBody(r, named.Body)
		}
		h.cfg.Routes.Serve(w, r, named)
		return nil
	}
	out, err := call.For(r, b.name, nil)
	if err != nil {
		return gateway.Faultf(http.StatusBadRequest, "invalid_request", "%s", err)
	}
	resp, err := h.cfg.Services.Do(types.NamespacedName{Namespace: call.Namespace, Name: b.name}, out)
	if err != nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		return err
	}
	gateway.Answer(w, r, resp)
	return nil
}

// fill reads the body, and what the client calls the model.
func fill(call *gateway.Call, r *http.Request, read body) error {
	var err error
	if call.Body, err = read(r); err != nil {
		return err
	}
	if call.Body == nil {
		call.Body = []byte{}
	}
	if call.Protocol == v1alpha1.ProtocolOpenAI && len(call.Body) > 0 {
		if call.Name, err = gateway.Model(call.Body); err != nil {
			return gateway.Faultf(http.StatusBadRequest, "invalid_request", "%s", err)
		}
		if call.Name == "" {
			return gateway.Faultf(http.StatusBadRequest, "invalid_request", "the body names no model")
		}
	}
	if call.Protocol == v1alpha1.ProtocolV2 {
		rest, _ := strings.CutPrefix(call.Path, "/v2/models/")
		call.Name, _, _ = strings.Cut(rest, "/")
	}
	return nil
}

// asked is the call as if the client had named the route.
func asked(c *gateway.Call, name string) (*gateway.Call, error) {
	out := *c
	out.Name, out.Path = name, c.PathFor(name)
	if c.Protocol == v1alpha1.ProtocolOpenAI && len(c.Body) > 0 {
		body, err := gateway.Rename(c.Body, name)
		if err != nil {
			return nil, gateway.Faultf(http.StatusBadRequest, "invalid_request", "%s", err)
		}
		out.Body = body
	}
	return &out, nil
}

// protocolOf is what clients speak below a path.
func protocolOf(path string) v1alpha1.Protocol {
	switch {
	case path == "/v2" || strings.HasPrefix(path, "/v2/"):
		return v1alpha1.ProtocolV2
	case strings.HasPrefix(path, "/v1/"):
		return v1alpha1.ProtocolOpenAI
	}
	return v1alpha1.ProtocolHTTP
}

// rewritten is the path that a replica sees.
func rewritten(e *entry, path string) string {
	if e.rule.rewrite == nil {
		return path
	}
	return replaced(e.rule.rewrite, e.match.prefix, path)
}

// replaced is path after a modifier: all of it, or what a prefix match has matched.
func replaced(m *gw.HTTPPathModifier, prefix, path string) string {
	if m.Type == gw.FullPathHTTPPathModifier {
		return deref(m.ReplaceFullPath, "/")
	}
	out := strings.TrimSuffix(deref(m.ReplacePrefixMatch, "/"), "/") + strings.TrimPrefix(path, prefix)
	if !strings.HasPrefix(out, "/") {
		out = "/" + out
	}
	return out
}

func deref(p *string, otherwise string) string {
	if p == nil || *p == "" {
		return otherwise
	}
	return *p
}

// location is where a redirect leads.
func location(e *entry, r *http.Request) string {
	d := e.rule.redirect
	u := url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	if d.Scheme != nil {
		u.Scheme = *d.Scheme
	}
	host, port := hostOf(r.Host), ""
	if _, p, err := net.SplitHostPort(r.Host); err == nil && d.Scheme == nil {
		port = p
	}
	if d.Hostname != nil {
		host = string(*d.Hostname)
	}
	if d.Port != nil {
		port = strconv.Itoa(int(*d.Port))
	}
	known := map[string]string{"https": "443", "http": "80"}
	if u.Host = host; port != "" && port != known[u.Scheme] {
		u.Host = net.JoinHostPort(host, port)
	}
	if d.Path != nil {
		u.Path = replaced(d.Path, e.match.prefix, r.URL.Path)
	}
	return u.String()
}

// modify changes headers as a filter says.
func modify(h http.Header, f *gw.HTTPHeaderFilter) {
	if f == nil {
		return
	}
	for _, x := range f.Set {
		h.Set(string(x.Name), x.Value)
	}
	for _, x := range f.Add {
		h.Add(string(x.Name), x.Value)
	}
	for _, n := range f.Remove {
		h.Del(n)
	}
}

// headed changes the headers of an answer before they are sent.
type headed struct {
	http.ResponseWriter
	filter *gw.HTTPHeaderFilter
	sent   bool
}

// WriteHeader implements http.ResponseWriter.
func (h *headed) WriteHeader(code int) {
	const final = 200
	if code >= final && !h.sent {
		h.sent = true
		modify(h.Header(), h.filter)
	}
	h.ResponseWriter.WriteHeader(code)
}

// Write implements io.Writer.
func (h *headed) Write(b []byte) (int, error) {
	if !h.sent {
		h.WriteHeader(http.StatusOK)
	}
	return h.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush.
func (h *headed) Unwrap() http.ResponseWriter { return h.ResponseWriter }
