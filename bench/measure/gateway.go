package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway/auth"
	front "polder.dev/polder/gateway/door"
	"polder.dev/polder/gateway/pool"
	"polder.dev/polder/internal/pki"
)

// gatewayVariable tells a child of this program to be the gateway, or what stands behind
// it: "upstream ADDR" or "gateway ADDR UPSTREAM DIR [PROFILE]".
const gatewayVariable = "POLDER_MEASURE_GATEWAY"

const (
	gatewayKey   = "pk-the-key-of-a-benchmark-of-the-gateway"
	gatewayRate  = 1000 // requests a second
	gatewaySlice = 5 * time.Second
	inferPath    = "/v2/models/digits/infer"
)

// inferBody is a row of 64 features, as a client of a small model sends it.
var inferBody = []byte(`{"inputs":[{"name":"input","shape":[1,64],"datatype":"FP32","data":[` + string(bytes.Repeat([]byte("0.5,"), 63)) + `0.5]}]}`)

// inferAnswer is what the upstream says, whatever it is asked.
const inferAnswer = `{"model_name":"digits","outputs":[{"name":"probabilities","shape":[1,10],"datatype":"FP32","data":[0.9,0.02,0.01,0.01,0.01,0.01,0.01,0.01,0.01,0.01]}]}`

// measureGateway: what the gateway adds to an answer's time, at 1,000 requests a second on
// loopback. A plain upstream is asked directly and through the gateway, in turns; gateway,
// upstream and load are processes of their own. The way to the gateway is TLS with a key, as
// for clients of a cloud; to the upstream it is clear text, as to a pod.
func measureGateway(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(b.storeDirOrTemp(), "gateway-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	upstream, gate, err := freePorts()
	if err != nil {
		return err
	}
	for _, order := range []string{"upstream " + upstream, "gateway " + gate + " " + upstream + " " + dir + " " + b.cpu} {
		stop, err := b.child(ctx, order)
		if err != nil {
			return err
		}
		defer stop()
	}
	direct := &asker{url: "http://" + upstream + inferPath, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	if err := direct.await(ctx); err != nil {
		return err
	}
	trust, err := awaitFile(ctx, dir+"/ca.crt")
	if err != nil {
		return err
	}
	through := &asker{url: "https://" + gate + "/team" + inferPath, key: gatewayKey, client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
	}}}
	if err := through.await(ctx); err != nil {
		return err
	}
	var p50, p99, plain50, plain99 []float64
	for i := range b.runs + 1 {
		without, err := direct.load(ctx)
		if err != nil {
			return err
		}
		with, err := through.load(ctx)
		if err != nil {
			return err
		}
		if i == 0 { // connections, buffers, caches
			continue
		}
		plain50, plain99 = append(plain50, at(without, 50)), append(plain99, at(without, 99))
		p50, p99 = append(p50, at(with, 50)-at(without, 50)), append(p99, at(with, 99)-at(without, 99))
	}
	b.add("answer of a plain upstream at 1,000 requests/s, median", "ms", plain50, "")
	b.add("the same, 99th percentile", "ms", plain99, "")
	b.add("added by the gateway (TLS, key, pick of a replica), at the median", "ms", p50, "")
	b.add("the same, at the 99th percentile", "ms", p99, "")
	return nil
}

// storeDirOrTemp is where files of a benchmark go.
func (b *bench) storeDirOrTemp() string {
	if os.MkdirAll(b.storeDir, 0o755) == nil {
		return b.storeDir
	}
	return os.TempDir()
}

// child runs this program as something else.
func (b *bench) child(ctx context.Context, order string) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), gatewayVariable+"="+order)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // so that it ends its profile
		_ = cmd.Wait()
	}, nil
}

// asker asks for the same again and again.
type asker struct {
	url, key string
	client   *http.Client
}

func (a *asker) ask(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(inferBody))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if a.key != "" {
		r.Header.Set("Authorization", "Bearer "+a.key)
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != inferAnswer {
		err = fmt.Errorf("%s answers %s: %.200s", a.url, resp.Status, body)
	}
	return err
}

// await asks until it is answered.
func (a *asker) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := a.ask(ctx)
		if err == nil {
			return nil
		}
		if e := pause(ctx, 10*time.Millisecond); e != nil {
			return err
		}
	}
}

// load asks at the rate, whether or not earlier ones have been answered, and returns how
// long each took, in order of length.
func (a *asker) load(ctx context.Context) ([]time.Duration, error) {
	n := int(gatewaySlice/time.Second) * gatewayRate
	took := make([]time.Duration, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		if d := time.Until(began.Add(time.Duration(i) * time.Second / gatewayRate)); d > 0 {
			time.Sleep(d)
		}
		all.Go(func() {
			began := time.Now()
			errs[i] = a.ask(ctx)
			took[i] = time.Since(began)
		})
	}
	all.Wait()
	slices.Sort(took)
	for _, err := range errs {
		if err != nil { // one says what is wrong
			return nil, err
		}
	}
	return took, nil
}

// at is a percentile in milliseconds.
func at(sorted []time.Duration, percent int) float64 {
	return sorted[(len(sorted)-1)*percent/100].Seconds() * 1000
}

// freePorts are two addresses on loopback that nobody listens at.
func freePorts() (one, other string, err error) {
	var out [2]string
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out[0], out[1], nil
}

// awaitFile reads an authority that a child makes.
func awaitFile(ctx context.Context, path string) (*x509.CertPool, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		p, err := pki.Pool(path)
		if err == nil {
			return p, nil
		}
		if e := pause(ctx, 10*time.Millisecond); e != nil {
			return nil, err
		}
	}
}

// serveChild is a child: the upstream, or the gateway.
func serveChild(ctx context.Context, order string) error {
	var what, addr, upstream, dir string
	b := &bench{}
	_, _ = fmt.Sscan(order, &what, &addr, &upstream, &dir, &b.cpu) // the upstream has less to be told
	if what == "gateway" {
		defer b.profiled()()
		return serveFront(ctx, addr, upstream, dir)
	}
	s := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // as a server of models has to
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, inferAnswer)
	})}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveFront is the gateway with one service and one key, and without a cluster.
func serveFront(ctx context.Context, addr, upstream, dir string) error {
	const garbage = 400 // as the component has it
	debug.SetGCPercent(garbage)
	log := slog.New(slog.DiscardHandler)
	reg := prometheus.NewRegistry()
	keys, err := auth.New(log, noServer{}, []string{"gateway"}, time.Now)
	if err != nil {
		return err
	}
	keys.SetKey(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "bench"}, Type: v1alpha1.SecretAPIKey, Data: map[string][]byte{v1alpha1.APIKey: []byte(gatewayKey)}})
	replicas, err := pool.New(pool.Config{Log: log, Pods: netip.MustParsePrefix("127.0.0.0/8"), Wake: func(types.NamespacedName) {}, Now: time.Now, Draw: rand.Float64, Metrics: reg})
	if err != nil {
		return err
	}
	replicas.SetService(&v1alpha1.InferenceService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "digits"},
		Spec:       v1alpha1.InferenceServiceSpec{Scale: v1alpha1.Scale{Concurrency: 64}},
		Status:     v1alpha1.InferenceServiceStatus{Revisions: []v1alpha1.Revision{{Name: "one", Role: v1alpha1.RevisionStable, Percent: 100}}},
	})
	replicas.SetPod(replicaAt(netip.MustParseAddrPort(upstream)))
	d, err := front.New(front.Config{Log: log, Guard: keys, Services: replicas, Version: "bench", Ready: func() error { return nil }, Metrics: reg})
	if err != nil {
		return err
	}
	ca, err := pki.OpenAuthority(dir, "ca", time.Now())
	if err != nil {
		return err
	}
	pair, err := ca.Issue(pki.Leaf{Name: "gateway", User: "gateway", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	end := make(chan error, 1)
	go func() { end <- replicas.Run(ctx) }()
	err = d.Serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	return errors.Join(err, <-end)
}

// replicaAt is a pod at an address.
func replicaAt(a netip.AddrPort) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: "one-0", Labels: map[string]string{v1alpha1.LabelService: "digits", v1alpha1.LabelRevision: "one"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "one", Controller: ptr.To(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/v2/health/ready", Port: intstr.FromInt32(int32(a.Port()))},
		}}}}},
		Status: corev1.PodStatus{PodIP: a.Addr().String(), Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// noServer is the API server of a gateway that has none: it is never asked about a key.
type noServer struct{ client.Client }
