package door

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/remote"
	"polder.dev/polder/model/eval/trial"
)

// TestEvaluate judges services behind a door, as the pod of an evaluation does.
func TestEvaluate(t *testing.T) {
	_, d, _ := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Inputs []struct {
				Name string
				Data []float64
			}
			Messages []struct{ Content string }
		}
		if json.NewDecoder(r.Body).Decode(&q) != nil && r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch {
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"name":"digits","inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[],"serving":{"task":"classification","labels":["low","high"]}}`)
		case len(q.Inputs) == 1 && q.Inputs[0].Name == "x":
			var p []string
			for _, x := range q.Inputs[0].Data {
				p = append(p, fmt.Sprint(1-x), fmt.Sprint(x))
			}
			fmt.Fprintf(w, `{"outputs":[{"name":"probabilities","datatype":"FP32","shape":[%d,2],"data":[%s]}]}`, len(p)/2, strings.Join(p, ","))
		case len(q.Messages) == 1:
			fmt.Fprintf(w, `{"choices":[{"message":{"content":"The %s."}}],"usage":{"completion_tokens":2}}`, strings.ToUpper(q.Messages[0].Content))
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	front := httptest.NewTLSServer(d)
	defer front.Close()
	dir := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	g, err := remote.New(put("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))), put("token", "good"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	run := func(p *trial.Plan) (*eval.Report, error) {
		return trial.Run(t.Context(), p, trial.Deps{
			Open:   func(ctx context.Context, e trial.Entrant) (trial.Model, error) { return g.Open(ctx, p.Task, e) },
			Writer: func(_ context.Context, e trial.Entrant) (trial.Writer, error) { return g.Writer(p, e), nil },
			Now:    time.Now, Tell: func(int64, int64) {},
		})
	}
	rows, words := "x,size\n", ""
	for i := range 40 {
		rows += fmt.Sprintf("%.3f,%s\n", float64(i)/40, map[bool]string{true: "high", false: "low"}[i > 24])
		words += fmt.Sprintf("{\"prompt\":\"cat %d\",\"answer\":\"cat %d\"}\n", i, i)
	}
	put("rows.csv", rows)
	put("words.jsonl", words)
	p := &trial.Plan{Task: eval.TaskClassification, Seed: 1, Data: trial.Data{Dir: dir, File: "rows.csv"}, Models: []trial.Entrant{{Name: "svc", Service: "digits", URL: front.URL + "/team", CostPerHour: 3600}}}
	r, err := run(p)
	if err != nil {
		t.Fatal(err)
	}
	m := r.Models[0]
	if got := m.Metrics[eval.Accuracy].Value; got != 0.9 || len(m.Answers.Margin) != 40 || m.Answers.Margin[39] < 0.9 || m.Service != "digits" || m.Digest != "" {
		t.Errorf("accuracy %g, model %+v", got, m)
	}
	if m.Metrics[eval.LatencyP99].Value <= 0 || m.Metrics[eval.CostPer1K].Value <= 0 || len(m.By) != 1 || m.By[0].Rows != 40 || !strings.Contains(strings.Join(r.Notes, " "), "through the gateway") {
		t.Errorf("metrics %+v, by %+v, notes %q", m.Metrics, m.By, r.Notes)
	}
	p.Task, p.Data.File, p.Models[0].Service = eval.TaskGeneration, "words.jsonl", "chat"
	if r, err = run(p); err != nil {
		t.Fatal(err)
	}
	if m := r.Models[0].Metrics; m[eval.ExactMatch].Value != 1 || math.Abs(m[eval.RougeL].Value-0.8) > 1e-9 || m[eval.TokenRate].Value <= 0 || r.Models[0].Latency.Requests != 40 {
		t.Errorf("texts: %+v", m)
	}
	p.Models[0].Service = "nobody"
	if _, err := run(p); err == nil || !strings.Contains(err.Error(), "service nobody: it answered 404: there is no service or route nobody") {
		t.Errorf("a service that is not there: %v", err)
	}
}
