//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// keyed is a client of the gateway that has a key of one namespace.
type keyed struct {
	*door
	ns, key string
}

// keyed makes a key and a client with it.
func (c *cloud) keyed(t testing.TB, ns, name string) *keyed {
	t.Helper()
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(c.must(t, "key", "create", name, "--namespace", ns, "-o", "json")), &made); err != nil || made.Key == "" {
		t.Fatalf("no key was made: %v", err)
	}
	d := c.door(t)
	d.client = &http.Client{Transport: &http.Transport{TLSClientConfig: c.trust(t, false)}, Timeout: time.Minute}
	return &keyed{d, ns, made.Key}
}

// infer asks a route of v2 about rows of one feature. It returns the probabilities of class
// 1, and the answer's head.
func (k *keyed) infer(ctx context.Context, route string, rows ...float64) ([]float64, *http.Response, error) {
	body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{"name": "x", "datatype": "FP32", "shape": []int{len(rows), 1}, "data": rows}}})
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url+"/"+k.ns+"/v2/models/"+route+"/infer", bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+k.key)
	req.Header.Set("Polder-Task", "4111111111111111")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, resp, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp, fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	var answer struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Outputs) != 1 {
		return nil, resp, fmt.Errorf("answered %s: %w", text, err)
	}
	var out []float64
	for i, p := range answer.Outputs[0].Data {
		if i%2 == 1 {
			out = append(out, p)
		}
	}
	return out, resp, nil
}

// routed waits until a route answers rows as it should, by whom it should.
func (k *keyed) routed(t testing.TB, route, target, escalated string, rows, want []float64) {
	t.Helper()
	waitFor(t, time.Minute, "an answer of "+target, func(ctx context.Context) error {
		got, resp, err := k.infer(ctx, route, rows...)
		if err != nil {
			return err
		}
		if h := resp.Header; h.Get("Polder-Target") != target || h.Get("Polder-Escalated") != escalated || !slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }) {
			return fmt.Errorf("%s answered %v, escalated %q", h.Get("Polder-Target"), got, h.Get("Polder-Escalated"))
		}
		return nil
	})
}

// evaluated makes an evaluation of two services as its controller leaves one: of 100 rows
// the first is wrong about those that it is least sure of, the second about none.
func (c *cloud) evaluated(t *testing.T, ns, name, first, second string) {
	t.Helper()
	const rows = 100
	var numbers, right, all []int
	var margins []float64
	for i := range rows {
		numbers, all, margins = append(numbers, i), append(all, 1), append(margins, float64(i)/rows)
		right = append(right, map[bool]int{true: 1}[i >= 20])
	}
	bits := func(ones int) string { return strings.Repeat("0", rows-ones) + strings.Repeat("1", ones) }
	report, err := json.Marshal(map[string]any{
		"version": 1, "task": "classification", "seed": 1, "metric": "accuracy", "passed": true, "verdict": "The second is better.",
		"data":   map[string]any{"rows": rows, "classes": []string{"a", "b"}},
		"sample": map[string]any{"rows": numbers, "expected": all},
		"models": []any{
			map[string]any{"name": "m0", "service": first, "metrics": map[string]any{}, "answers": map[string]any{"predicted": right, "correct": bits(80), "margin": margins}},
			map[string]any{"name": "m1", "service": second, "metrics": map[string]any{}, "answers": map[string]any{"predicted": all, "correct": bits(rows)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := c.api(t).Trust()
	if err != nil {
		t.Fatal(err)
	}
	images, err := registry.New(c.RegistryURL(), trust)
	if err != nil {
		t.Fatal(err)
	}
	repository := "models/" + ns + "/judged"
	subject, _, err := pack.Push(brief(t), images, repository+":latest", pack.Model{Name: "judged"}, []pack.File{{
		Path: "note.txt", Size: 4, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("note")), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := pack.AttachTo(brief(t), images, repository, subject, "application/vnd.polder.evaluation.v1+json", nil, report)
	if err != nil {
		t.Fatal(err)
	}
	e := &v1alpha1.Evaluation{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	e.Spec.Data.Image, e.Spec.Runtime = "data/nowhere", "nowhere" // nothing runs
	e.Spec.Models = []v1alpha1.EvaluatedModel{{Name: "m0", Service: first}, {Name: "m1", Service: second}}
	api := c.api(t)
	if err := api.Create(brief(t), e); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "the report", func(ctx context.Context) error {
		if err := api.Get(ctx, kube.Key(ns, name), e); err != nil {
			return err
		}
		e.Status = v1alpha1.EvaluationStatus{
			State: v1alpha1.StateSucceeded, Passed: true, Verdict: "The second is better.",
			Report: &v1alpha1.ReportReference{Reference: repository + "@" + at.String(), Digest: at.String()},
			Models: []v1alpha1.EvaluatedResult{{Name: "m0", Service: first}, {Name: "m1", Service: second}},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: "Test", LastTransitionTime: metav1.Now()},
			},
		}
		return api.Status().Update(ctx, e)
	})
}

// TestRoute puts a cascade over two services: it learns how sure is sure enough, sends on
// the rows that are not, keeps what was asked, and holds to a budget also when the gateway
// is killed.
func TestRoute(t *testing.T) {
	c := shared(t)
	image := probeRepository + "@" + c.probe(t)
	ns := c.namespace(t, "routing", nil)
	in := []string{"--namespace", ns}
	for name, shift := range map[string]string{"student": "0", "teacher": "0.25"} {
		c.must(t, append(append([]string{"serve", "--image", image, "--name", name, "--cpu", "20m", "--memory", "64Mi", "--timeout", "3m"}, in...),
			"--", "/probe", "infer", "8080", shift)...)
	}
	k := c.keyed(t, ns, "phone")
	c.hasStore(t, ns)
	c.must(t, append([]string{"bucket", "create", "requests"}, in...)...)
	c.must(t, append([]string{
		"route", "create", "forms", "--specialist", "student", "--general", "teacher", "--evaluation", "both", "--escalation-max", "0.5",
		"--log", "s3://requests/forms", "--redact", "[0-9]{13,19}", "--no-wait",
	}, in...)...)
	k.routed(t, "forms", "teacher", "", []float64{0.5}, []float64{0.75}) // nothing is learned yet

	c.evaluated(t, ns, "both", "student", "teacher")
	out := c.must(t, append([]string{"route", "learn", "forms", "both", "--timeout", "1m"}, in...)...)
	for _, part := range []string{"learned from 100 rows", "best mix at equal cost", "The cascade is better than the best fixed mix"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	k.routed(t, "forms", "student,teacher", "2/4", []float64{1, 0.5, 0, 0.5625}, []float64{1, 0.75, 0, 0.8125})
	k.routed(t, "forms", "student", "no", []float64{1}, []float64{1})
	if out := c.must(t, append([]string{"route", "show", "forms"}, in...)...); !strings.Contains(out, "Quality against the share") || strings.Contains(out, "cannot be drawn") {
		t.Errorf("shown is\n%s", out)
	}
	c.says(t, 2, []string{"rules[0].split: all weights are 0"}, append([]string{"route", "create", "none", "--split", "student=0"}, in...)...)

	t.Run("requests are kept", func(t *testing.T) { c.routeLog(t, ns) })
	t.Run("what was seen is told", func(t *testing.T) {
		waitFor(t, time.Minute, "status.observed", func(ctx context.Context) error {
			var r v1alpha1.ModelRoute
			if err := c.api(t).Get(ctx, kube.Key(ns, "forms"), &r); err != nil {
				return err
			}
			if o := r.Status.Observed; o == nil || o.Requests < 5 || o.Escalated < 2 || o.Compared < 2 {
				return fmt.Errorf("it is %+v", o)
			}
			return nil
		})
	})
	t.Run("a budget outlives the gateway", func(t *testing.T) { c.routeBudget(t, ns, k) })
	c.must(t, append([]string{"route", "rm", "forms"}, in...)...)
	waitFor(t, time.Minute, "no answer of a route that is gone", func(ctx context.Context) error {
		if _, resp, err := k.infer(ctx, "forms", 1); resp == nil || resp.StatusCode != http.StatusNotFound {
			return fmt.Errorf("%+v, %w", resp, err)
		}
		return nil
	})
}

// routeLog reads what the route has kept.
func (c *cloud) routeLog(t *testing.T, ns string) {
	t.Helper()
	dir := t.TempDir()
	waitFor(t, time.Minute, "records", func(context.Context) error {
		if _, errs, code := c.run("cp", "--recursive", "s3://requests/forms/", dir, "--namespace", ns); code != 0 {
			return fmt.Errorf("%s", errs)
		}
		text := everything(t, dir)
		if !strings.Contains(text, "0.8125") {
			return fmt.Errorf("there is %q", text)
		}
		for line := range strings.Lines(text) {
			var r struct {
				Timestamp         int64
				Workload          string `json:"workload_id"`
				Client            string `json:"client_id"`
				Request, Response map[string]any
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Timestamp == 0 || r.Workload != "forms/[redacted]" || r.Client != "key:"+ns+"/phone" || r.Request == nil || r.Response == nil {
				t.Fatalf("a record is %s, %v", line, err)
			}
		}
		return nil
	})
}

// everything is the text of all files of a tree.
func everything(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// routeBudget spends a budget, and kills the gateway.
func (c *cloud) routeBudget(t *testing.T, ns string, k *keyed) {
	t.Helper()
	c.must(t, "route", "create", "dear", "--split", "student=1", "--cost", "student=1000", "--budget", "20", "--namespace", ns)
	spent := 0
	waitFor(t, time.Minute, "the budget's end", func(ctx context.Context) error {
		for {
			_, resp, err := k.infer(ctx, "dear", 1)
			switch {
			case err == nil:
				spent++
			case resp != nil && resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
				return nil
			default:
				return err // not known to the gateway yet
			}
		}
	})
	if spent != 20 {
		t.Errorf("%d requests were answered, the budget is of 20", spent)
	}
	c.killPart(t, "gateway")
	waitFor(t, time.Minute, "the gateway's word", func(ctx context.Context) error {
		_, resp, err := k.infer(ctx, "dear", 1)
		if err == nil {
			return hopeless{fmt.Errorf("the budget began anew")}
		}
		if resp == nil || resp.StatusCode != http.StatusTooManyRequests {
			return err
		}
		return nil
	})
}
