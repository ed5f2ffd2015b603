//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

// quarter is a classifier of one feature, that is right where it is above a quarter.
func quarter() []byte {
	return infertest.Graph{
		Inputs:  []infertest.Value{{Name: "x", Type: infertest.Float, Shape: []int64{-1, 1}}},
		Outputs: []infertest.Value{{Name: infer.OutputLogits, Type: infertest.Float, Shape: []int64{-1, 2}}},
		Weights: []infertest.Weight{{Name: "w", Shape: []int64{1, 2}, Data: []float32{0, 8}}, {Name: "b", Shape: []int64{2}, Data: []float32{2.001, 0}}},
		Nodes: []infertest.Node{
			{Op: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"xw"}},
			{Op: "Add", Inputs: []string{"xw", "b"}, Outputs: []string{infer.OutputLogits}},
		},
	}.Bytes()
}

// TestEvaluateServices judges a cascade against both of its services, one of which sleeps,
// and a model, as a stranger would; a second route learns from the report; and texts of a
// service that comes after the evaluation.
func TestEvaluateServices(t *testing.T) {
	c := shared(t)
	image := probeRepository + "@" + c.probe(t)
	c.onnx(t, "quarter", quarter(), `{"serving":{"task":"classification"}}`)
	serve := func(name, protocol string, args ...string) {
		t.Helper()
		c.must(t, append([]string{"serve", "--image", image, "--name", name, "--protocol", protocol, "--min", "0", "--idle", "5s", "--cpu", "20m", "--memory", "64Mi", "--timeout", "3m", "--"}, args...)...)
		t.Cleanup(func() { c.run("service", "rm", name) })
	}
	serve("half", "v2", "/probe", "infer", "8080", "0")         // takes half for the border
	serve("judicious", "v2", "/probe", "infer", "8080", "0.25") // knows better
	c.must(t, "route", "create", "forms", "-f", write(t, filepath.Join(t.TempDir(), "forms.yaml"), formsRoute))
	t.Cleanup(func() { c.run("route", "rm", "forms") })
	var rows, words strings.Builder
	rows.WriteString("x,y\n")
	for i := range 200 {
		x := float64(i) / 200
		fmt.Fprintf(&rows, "%g,%d\n", x, map[bool]int{true: 1}[x > 0.25])
	}
	for i := range 40 {
		fmt.Fprintf(&words, "{\"ask\":\"say w%d\",\"want\":\"w%d\"}\n", i, i-i%4/3) // every fourth is wrong
	}
	c.must(t, "bucket", "create", "judged")
	c.must(t, "cp", write(t, filepath.Join(t.TempDir(), "rows.csv"), rows.String()), "s3://judged/rows/rows.csv")
	c.must(t, "cp", write(t, filepath.Join(t.TempDir(), "words.jsonl"), words.String()), "s3://judged/words/words.jsonl")
	c.awaitRoles(t, "default", "half", "stable 100% 0/0", podLimit) // asleep

	out := c.must(t, "evaluate", "route/forms", "--against", "service/half", "--against", "service/judicious", "--against", "quarter", "--name", "judge-forms",
		"--data", "s3://judged/rows/rows.csv", "--memory", "512Mi", "--cost-per-hour", "half=0.1", "--require", "accuracy>=0.99", "--require", "accuracy>=judicious", "--follow")
	for _, part := range []string{"forms is better than half", "No significant difference between forms and judicious", "service/half", "Passed"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	c.checkServices(t, c.evaluation(t, "judge-forms"))
	t.Run("report", func(t *testing.T) { c.serviceReport(t) })
	t.Run("a route learns from it", func(t *testing.T) {
		c.must(t, "route", "create", "learned", "--specialist", "half", "--general", "judicious", "--evaluation", "judge-forms", "--escalation-max", "0.7", "--timeout", "1m")
		if out := c.must(t, "route", "show", "learned"); !strings.Contains(out, "learned from 200 rows") {
			t.Errorf("shown is\n%s", out)
		}
		c.must(t, "route", "rm", "learned")
	})
	t.Run("its account asks and does nothing else", func(t *testing.T) { c.judgesAccount(t) })
	t.Run("texts", func(t *testing.T) {
		c.must(t, "evaluate", "service/parrot", "--task", "generation", "--name", "judge-parrot", "--data", "s3://judged/words/words.jsonl", "--memory", "512Mi",
			"--max-tokens", "8", "--system", "Be brief.", "--require", "exact_match>=0.7")
		waitFor(t, time.Minute, "word of the service that lacks", func(context.Context) error {
			if e := c.evaluation(t, "judge-parrot"); !strings.Contains(e.Status.Message, "there is no InferenceService parrot") {
				return fmt.Errorf("it is %s: %s", e.Status.State, e.Status.Message)
			}
			return nil
		})
		serve("parrot", "openai", "/probe", "chat", "8080")
		e := c.judgement(t, "judge-parrot")
		m := e.Status.Models[0].Metrics
		if !e.Status.Passed || m["exact_match"].Value != "0.75" || m["exact_match"].Low == "" || m["token_f1"].Value != "0.75" || m["tokens_per_second"].Value == "" || m["latency_p50_seconds"].Value == "" {
			t.Errorf("status %+v", e.Status)
		}
	})
	c.must(t, "evaluation", "rm", "judge-forms")
	waitFor(t, time.Minute, "the end of the account", func(ctx context.Context) error {
		err := c.api(t).Get(ctx, kube.Key("default", "evaluate-judge-forms"), &corev1.ServiceAccount{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}

// formsRoute asks the general service about what the specialist is less sure of than 0.601.
const formsRoute = `apiVersion: polder.dev/v1alpha1
kind: ModelRoute
metadata: {name: forms}
spec:
  targets:
    - {name: small, service: half, cost: "1"}
    - {name: large, service: judicious, cost: "10"}
  rules:
    - name: all
      cascade: {specialist: small, general: large, threshold: "0.601"}
`

// judgement waits until an evaluation has ended well.
func (c *cloud) judgement(t testing.TB, name string) *v1alpha1.Evaluation {
	t.Helper()
	var e *v1alpha1.Evaluation
	waitFor(t, evaluateLimit, "the end of "+name, func(context.Context) error {
		e = c.evaluation(t, name)
		switch e.Status.State {
		case v1alpha1.StateSucceeded:
			return nil
		case v1alpha1.StateFailed:
			return hopeless{fmt.Errorf("it failed: %s", e.Status.Message)}
		}
		return fmt.Errorf("it is %s: %s", e.Status.State, e.Status.Message)
	})
	return e
}

// checkServices looks at what is said of a cascade, its services and a model.
func (c *cloud) checkServices(t *testing.T, e *v1alpha1.Evaluation) {
	t.Helper()
	for i, want := range []string{"1", "0.75", "1", "1"} {
		m := e.Status.Models[i]
		if got := m.Metrics["accuracy"].Value; got != want || m.Metrics["latency_p50_seconds"].Value == "" || m.Metrics["throughput_rows_per_second"].Value == "" {
			t.Errorf("%s: %+v, want accuracy %s", m.Name, m.Metrics, want)
		}
		if (m.Model != nil) != (i == 3) || (len(m.By) > 0) != (i < 3) {
			t.Errorf("%s is %+v, answered by %+v", m.Name, m.Model, m.By)
		}
	}
	by := map[string]int64{}
	for _, o := range e.Status.Models[0].By {
		by[o.Target] += o.Rows
	}
	if by["small"] != 79 || by["large"] != 121 { // from 0.2 to 0.8
		t.Errorf("the route's rows were answered by %v", by)
	}
	if r := e.Status.Models[1].By[0].Revision; !strings.HasPrefix(r, "half-") {
		t.Errorf("of the service revision %q has answered", r)
	}
	if cost := e.Status.Models[0].Metrics["cost_per_1000"].Value; cost <= "1" || cost > "9" { // between that of one target and that of both
		t.Errorf("a thousand requests to the route cost %s", cost)
	}
	if e.Status.Models[1].Metrics["cost_per_1000"].Value == "" || e.Status.Models[2].Metrics["cost_per_1000"].Value != "" {
		t.Errorf("costs of services are %+v and %+v", e.Status.Models[1].Metrics, e.Status.Models[2].Metrics)
	}
	if !strings.HasPrefix(e.Status.Report.Reference, "reports/default/judge-forms@") {
		t.Errorf("the report is %s", e.Status.Report.Reference)
	}
}

// serviceReport makes pages of the report.
func (c *cloud) serviceReport(t *testing.T) {
	for lang, want := range map[string]string{"en": "route forms; ", "zh": "路由 forms; "} {
		file := filepath.Join(t.TempDir(), "r.html")
		c.must(t, "evaluation", "report", "judge-forms", "-o", file, "--lang", lang)
		if page, err := os.ReadFile(file); err != nil || !strings.Contains(string(page), want) || !strings.Contains(string(page), "through the gateway") {
			t.Errorf("the page in %s, %d bytes, has no %q: %v", lang, len(page), want, err)
		}
	}
	var r struct {
		Models []struct {
			Route, Service, Digest string
			Answers                struct{ Margin []float64 }
		}
	}
	if err := json.Unmarshal([]byte(c.must(t, "evaluation", "report", "judge-forms")), &r); err != nil || len(r.Models) != 4 {
		t.Fatalf("the report: %v", err)
	}
	if r.Models[0].Route != "forms" || r.Models[1].Service != "half" || r.Models[1].Digest != "" || len(r.Models[1].Answers.Margin) != 200 || r.Models[3].Digest == "" {
		t.Errorf("models %+v", r.Models)
	}
}

// judgesAccount uses a token like the pod's.
func (c *cloud) judgesAccount(t *testing.T) {
	d := c.door(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "evaluate-judge-forms"}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"https://gateway.polder-system.svc"}}}
	if err := c.api(t).SubResource("token").Create(brief(t), account, token); err != nil {
		t.Fatal(err)
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: c.trust(t, false)}, Timeout: time.Minute}
	for url, want := range map[string]int{
		d.url + "/default/v2/models/half/ready":              200,
		d.url + "/default/v1/models":                         403, // all that there is
		d.url + "/default/v2/models/parrot/ready":            403,
		c.APIURL() + "/apis/polder.dev/v1alpha1/evaluations": 401,
		c.APIURL() + "/api":                                  401,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token.Status.Token)
		resp, err := stranger.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d: %s", url, resp.StatusCode, want, text)
		}
	}
}
