package route

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/infer"
)

// canned are services that answer at once.
type canned map[string][]byte

func (c canned) Do(s types.NamespacedName, _ *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {infer.ContentJSON}}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: io.NopCloser(bytes.NewReader(c[s.Name]))}, nil
}

func (canned) Info(types.NamespacedName) (gateway.Info, bool) { return gateway.Info{}, false }

// BenchmarkRoute is what a route costs beside its services: one row of 64 features, 10
// classes, answered by a split, by a specialist that is sure, and by both models.
func BenchmarkRoute(b *testing.B) {
	x := infer.New("x", make([]float32, 64), 1, 64)
	body, _, err := (&infer.Request{Inputs: []infer.Tensor{x}}).Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	answer := func(most float32) []byte {
		p := make([]float32, 10)
		for i := range p {
			p[i] = (1 - most) / 9
		}
		p[3] = most
		out, _, err := (&infer.Response{ModelName: "m", Outputs: []infer.Tensor{infer.New("probabilities", p, 1, 10)}}).Append(nil)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		route *v1alpha1.ModelRoute
		most  float32
	}{{"split", split(), 0.9}, {"sure", cascade("0.5"), 0.9}, {"unsure", cascade("0.5"), 0.4}} {
		b.Run(c.name, func(b *testing.B) {
			w := &world{t: &testing.T{}, bucket: &memBucket{}, file: b.TempDir() + "/spend.json"}
			w.open()
			w.cfg.Services, w.cfg.Metrics = canned{"s": answer(c.most), "l": answer(0.9)}, prometheus.NewRegistry()
			w.Set(c.route)
			r := httptest.NewRequest(http.MethodPost, "/red-1"+inferPath, nil)
			call := &gateway.Call{Namespace: "red-1", Name: "r", Protocol: v1alpha1.ProtocolV2, Path: inferPath, Body: body, Client: gateway.Client{Tenant: "red"}}
			b.ReportAllocs()
			for b.Loop() {
				rec := httptest.NewRecorder()
				w.Serve(rec, r, call)
				if rec.Code != http.StatusOK {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}
