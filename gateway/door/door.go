package door

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/internal/linger"
	"polder.dev/polder/internal/logs"
)

// requestsMax are served at once.
const requestsMax = 20_000

// Guard says who asks, and whether they may. Its errors are *gateway.Fault.
type Guard interface {
	// Who finds out who has sent r, for something in namespace, or "" if that is not known.
	Who(r *http.Request, namespace string) (gateway.Visitor, error)
}

// Services are what is asked for, beside routes.
type Services interface {
	gateway.Services
	// Info of a service; ok is false if there is none.
	Info(key types.NamespacedName) (gateway.Info, bool)
	// Infos lists those of a namespace, by name.
	Infos(namespace string) []gateway.Info
}

// Hosts are names of the gateway that have rules of their own.
type Hosts interface {
	// Knows tells whether requests to a host are for Find.
	Knows(host string) bool
	// Find returns the namespace that a request is for, or "" if no rule takes it, and what
	// answers it. Whether the client may ask is for that to find out (gateway.VisitorOf).
	Find(r *http.Request) (namespace string, serve gateway.Server)
}

// Config of a Door.
type Config struct {
	Log      *slog.Logger
	Guard    Guard
	Services Services
	// Routes come before services; nil: there are none.
	Routes gateway.Routes
	// Hosts come before paths; nil: there are none.
	Hosts Hosts
	// Version is told to who asks for it.
	Version string
	// Ready says why requests cannot be answered, or nil.
	Ready   func() error
	Metrics prometheus.Registerer
}

// Door is the handler of the gateway's address.
type Door struct {
	cfg    Config
	gauges *gauges
	memory *semaphore.Weighted
	slots  chan struct{}
	pass   *httputil.ReverseProxy
}

// New returns a Door.
func New(cfg Config) (*Door, error) {
	if cfg.Log == nil || cfg.Guard == nil || cfg.Services == nil || cfg.Ready == nil || cfg.Metrics == nil {
		return nil, errors.New("gateway door: a dependency is missing")
	}
	if cfg.Routes == nil {
		cfg.Routes = noRoutes{}
	}
	if cfg.Hosts == nil {
		cfg.Hosts = noHosts{}
	}
	d := &Door{cfg: cfg, gauges: newGauges(cfg.Metrics), memory: semaphore.NewWeighted(heldBytesMax), slots: make(chan struct{}, requestsMax)}
	d.pass = &httputil.ReverseProxy{
		Rewrite:      func(p *httputil.ProxyRequest) { gateway.Introduce(p.Out.Header, p.In) },
		Transport:    toService{cfg.Services},
		ErrorHandler: d.failed,
		BufferPool:   newPieces(),
		ErrorLog:     slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return d, nil
}

// noRoutes is where there are none.
type noRoutes struct{}

func (noRoutes) Has(types.NamespacedName) bool                           { return false }
func (noRoutes) Names(string, v1alpha1.Protocol) []string                { return nil }
func (noRoutes) Serve(http.ResponseWriter, *http.Request, *gateway.Call) {}

// noHosts is where there are none.
type noHosts struct{}

func (noHosts) Knows(string) bool { return false }
func (noHosts) Find(*http.Request) (string, gateway.Server) {
	panic("gateway door: asked about a host that is not known")
}

// visit is one request on its way through the door.
type visit struct {
	ask
	w       *reader
	r       *http.Request
	who     gateway.Visitor
	service string // for metrics: a name that is known, or ""
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz", "/readyz":
		d.health(w, r.URL.Path == "/readyz")
		return
	}
	began := time.Now()
	control := http.NewResponseController(w)
	v := &visit{w: &reader{ResponseWriter: w, control: control, streams: r.ProtoMajor > 1}, r: r}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &paced{ReadCloser: r.Body, control: control, began: began}
	}
	d.gauges.running.Inc()
	defer func() { // also when the answer breaks off, which is a panic
		d.gauges.running.Dec()
		d.gauges.done(v, time.Since(began))
	}()
	if err := d.serve(v); err != nil {
		d.refuse(v, err)
	}
	v.w.end()
}

// serve answers, or says why not.
func (d *Door) serve(v *visit) error {
	var err error
	var answer gateway.Server
	if d.cfg.Hosts.Knows(v.r.Host) {
		v.namespace, answer = d.cfg.Hosts.Find(v.r)
	} else if v.ask, err = parse(v.r.URL); err != nil {
		return err
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		f := gateway.Faultf(http.StatusServiceUnavailable, "busy", "the gateway serves as many requests as it may; try again")
		f.RetryAfter = time.Second
		return f
	}
	if v.who, err = d.cfg.Guard.Who(v.r, v.namespace); err != nil {
		return err
	}
	v.r = v.r.WithContext(gateway.WithVisitor(v.r.Context(), v.who))
	if answer != nil {
		memory := &held{all: d.memory}
		defer memory.free()
		answer(v.w, v.r, v.who.Client(), func(r *http.Request) ([]byte, error) { return whole(r, memory) })
		return nil
	}
	if done, err := d.own(v); done || err != nil {
		return err
	}
	memory := &held{all: d.memory}
	defer memory.free()
	var body []byte
	if v.protocol != v1alpha1.ProtocolHTTP {
		if body, err = whole(v.r, memory); err != nil {
			return err
		}
	}
	if v.name == "" {
		if v.name, err = named(v, body); err != nil {
			return err
		}
	}
	return d.hand(v, body)
}

// hand gives a request to the route or service that it names.
func (d *Door) hand(v *visit, body []byte) error {
	key := types.NamespacedName{Namespace: v.namespace, Name: v.name}
	route := d.cfg.Routes.Has(key)
	if err := v.who.May(v.r.Context(), v.namespace, route, v.name); err != nil {
		return err
	}
	c := &gateway.Call{Namespace: v.namespace, Name: v.name, Protocol: v.protocol, Path: v.path, RawPath: v.raw, Client: v.who.Client(), Body: body}
	if c.Protocol != v1alpha1.ProtocolHTTP && body == nil {
		c.Body = []byte{}
	}
	if route {
		v.service = v.name
		if body != nil {
			gateway.SetBody(v.r, body)
		}
		d.cfg.Routes.Serve(v.w, v.r, c)
		return nil
	}
	info, ok := d.cfg.Services.Info(key)
	if !ok {
		return notFound("there is no service or route " + v.name + " in namespace " + v.namespace)
	}
	v.service = v.name
	if info.Protocol != v.protocol {
		return wrongProtocol(v, info.Protocol)
	}
	d.pass.ServeHTTP(v.w, forward(v.r, c))
	return nil
}

// forward is what goes to the replicas of c's service.
func forward(r *http.Request, c *gateway.Call) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	r.URL = &url.URL{Path: c.Path, RawPath: c.RawPath, RawQuery: r.URL.RawQuery}
	r.Header = r.Header.Clone()
	gateway.Clean(r.Header)
	if c.Protocol != v1alpha1.ProtocolHTTP {
		gateway.SetBody(r, c.Body)
		r.TransferEncoding = nil
	}
	return r
}

func wrongProtocol(v *visit, p v1alpha1.Protocol) error {
	path := map[v1alpha1.Protocol]string{
		v1alpha1.ProtocolV2: "/v2/models/" + v.name + "/infer", v1alpha1.ProtocolOpenAI: "/v1/...", v1alpha1.ProtocolHTTP: "/http/" + v.name + "/...",
	}[p]
	return gateway.Faultf(http.StatusBadRequest, "wrong_protocol", "service %s speaks the protocol %s: ask for /%s%s", v.name, p, v.namespace, path)
}

type callKey struct{}

// toService is the transport to a service's replicas.
type toService struct{ services gateway.Services }

// RoundTrip implements http.RoundTripper.
func (t toService) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(callKey{}).(*gateway.Call)
	if !ok {
		return nil, errors.New("a request without a call")
	}
	return t.services.Do(c.Key(), r)
}

// failed answers when no replica has.
func (d *Door) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil { // nobody is there to be told
		return
	}
	c, _ := r.Context().Value(callKey{}).(*gateway.Call)
	d.log(c.Key(), err)
	gateway.Refuse(w, c.Protocol, err)
}

// refuse answers with an error of the door's own.
func (d *Door) refuse(v *visit, err error) {
	d.log(types.NamespacedName{Namespace: v.namespace, Name: v.name}, err)
	if v.w.code < http.StatusOK && v.r.Context().Err() == nil {
		linger.Answer(v.w, v.r, v.who != nil, func() { gateway.Refuse(v.w, v.protocol, err) })
	}
}

// log says what is not told to clients.
func (d *Door) log(key types.NamespacedName, err error) {
	var f *gateway.Fault
	switch {
	case errors.As(err, &f) && f.Cause == nil, errors.Is(err, context.Canceled):
	case f != nil && f.Status < http.StatusInternalServerError:
		d.cfg.Log.Debug("a request was refused", logs.Namespace, key.Namespace, logs.Name, key.Name, logs.Err, f.Cause)
	case f != nil:
		d.cfg.Log.Warn("a request failed", logs.Namespace, key.Namespace, logs.Name, key.Name, "code", f.Code, logs.Err, f.Cause)
	default:
		d.cfg.Log.Warn("a request failed", logs.Namespace, key.Namespace, logs.Name, key.Name, logs.Err, err)
	}
}

func (d *Door) health(w http.ResponseWriter, ready bool) {
	if ready {
		if err := d.cfg.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = w.Write([]byte("ok\n")) // who has gone needs no answer
}
