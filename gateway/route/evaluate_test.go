package route

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/remote"
	"polder.dev/polder/model/eval/trial"
)

// TestEvaluate asks a cascade as the pod of an evaluation does: it is told who has answered
// which rows, and what that cost.
func TestEvaluate(t *testing.T) {
	w := start(t)
	w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0.25)
	w.Set(cascade("0.5"))
	front := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Serve(rw, r, &gateway.Call{
			Namespace: "red-1", Name: "r", Protocol: v1alpha1.ProtocolV2, Path: strings.TrimPrefix(r.URL.Path, "/red-1"), Body: body,
			Client: gateway.Client{Tenant: "red", Namespace: "red-1", Name: "evaluate"},
		})
	}))
	defer front.Close()
	ca, token := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "token")
	for file, text := range map[string][]byte{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), token: []byte("t")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, err := remote.New(ca, token, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.Open(t.Context(), eval.TaskClassification, trial.Entrant{Name: "both", Route: "r", URL: front.URL + "/red-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Rows(t.Context(), []float32{1, 10, 0.5, 11, 0, 12, 0.625, 13}, 2, 256); err != nil {
		t.Fatal(err)
	}
	got := m.Sent()
	got.Took = 0
	if d := cmp.Diff(trial.Sent{Cost: 11, By: []eval.Origin{{Target: "small", Rows: 2}, {Target: "large", Rows: 2}}}, got); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}
