package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/page"
	tables "polder.dev/polder/model/eval/table"
	"polder.dev/polder/model/infer"
)

// costs of a thousand requests to each model, as the evaluation has measured them.
func (d *demonstration) costs(ctx context.Context) (map[string]string, error) {
	var e v1alpha1.Evaluation
	if err := d.c.Get(ctx, kube.Key(d.c.Namespace, demoThreshold), &e); err != nil {
		return nil, fmt.Errorf("reading evaluation %s: %w", demoThreshold, err)
	}
	out := map[string]string{}
	for _, m := range e.Status.Models {
		v, err := strconv.ParseFloat(m.Metrics[eval.CostPer1K].Value, 64)
		if err != nil {
			return nil, fmt.Errorf("evaluation %s tells no cost of %s; remove it with `polder evaluation rm` and try again", demoThreshold, m.Name)
		}
		out[m.Name] = strconv.FormatFloat(v, 'f', 9, 64) // as the API takes it
	}
	return out, nil
}

// tell asks the route and both services what none of the models has seen, judges what they
// say, and writes the report.
func (d *demonstration) tell(ctx context.Context, held string, costs map[string]string, began time.Time) error {
	fmt.Fprintf(d.out, "\nAsking the route and both services, one row at a time, through the gateway\n")
	in, escalated, err := d.ask(ctx, held)
	if err != nil {
		return err
	}
	report, err := eval.Judge(in)
	if err != nil {
		return err
	}
	cost := func(name string) float64 {
		v, _ := strconv.ParseFloat(costs[name], 64) // written by costs
		return v
	}
	share := float64(escalated) / float64(len(in.Rows))
	for i, v := range []float64{cost(demoSmall) + share*cost(demoLarge), cost(demoSmall), cost(demoLarge)} {
		report.Models[i].Metrics[eval.CostPer1K] = eval.Metric{Value: v}
	}
	report.Notes = append(report.Notes,
		fmt.Sprintf("The route sent %.1f %% of the requests on to the teacher.", 100*share),
		fmt.Sprintf("Times are those of whole requests through the gateway, TLS included, one after the other. Costs are seconds of a processor for the models' own work, measured by evaluation %s.", demoThreshold))
	files, err := d.write(report)
	if err != nil {
		return err
	}
	if err := d.print(report, share); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nThe report: %s\nAll of it took %s. Try next:\n", strings.Join(files, ", "), time.Since(began).Round(time.Second))
	for _, s := range []string{"model lineage " + demoSmall, "route show " + demoRoute, "service ls", "model versions " + demoSmall, "advise " + demoSmall} {
		fmt.Fprintln(d.out, "  polder "+s)
	}
	return nil
}

// ask sends each row to the route and to both services in turn, so that what slows the
// machine down slows all of them.
func (d *demonstration) ask(ctx context.Context, held string) (*eval.Input, int, error) {
	f, err := os.Open(held)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	t, err := tables.Read(f, tables.Options{Format: tables.CSV})
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", held, err)
	}
	in := &eval.Input{
		Task: eval.TaskClassification, Seed: 1, Rows: t.Rows,
		Data: eval.Data{Digest: t.Digest, File: "held.csv", Label: t.Label, Features: t.Features, Classes: slices.Compact(slices.Sorted(slices.Values(t.Labels)))},
	}
	for _, l := range t.Labels {
		in.Expected = append(in.Expected, slices.Index(in.Data.Classes, l))
	}
	names := []string{demoRoute, demoSmall, demoLarge}
	askers := make([]*asker, len(names))
	for i, n := range names {
		if askers[i], err = newAsker(ctx, d.c, n); err != nil {
			return nil, 0, err
		}
		in.Models = append(in.Models, eval.Answered{Name: []string{"cascade", "student", "teacher"}[i], Service: n})
	}
	escalated := 0
	progress, end := meter(d.err, "asking")
	defer end()
	for row := range t.Rows {
		for i, a := range askers {
			on, err := a.one(ctx, t.Data[row*t.Width:(row+1)*t.Width], &in.Models[i], in.Data.Classes)
			if err != nil {
				return nil, 0, err
			}
			if on {
				escalated++
			}
		}
		if progress != nil { // nobody is looking
			progress(int64(row+1), int64(len(t.Rows)))
		}
	}
	return in, escalated, nil
}

// one asks about one row, and adds what is said to m. It tells whether the general model
// was asked.
func (a *asker) one(ctx context.Context, row []float32, m *eval.Answered, classes []string) (escalated bool, err error) {
	q := infer.Request{Inputs: []infer.Tensor{infer.New("rows", row, 1, int64(len(row)))}}
	body, _, err := q.Append(nil)
	if err != nil {
		return false, fmt.Errorf("writing a request: %w", err)
	}
	began := time.Now()
	answer, head, err := a.exchange(ctx, http.MethodPost, "/v2/models/"+a.name+"/infer", "application/json", body)
	if err != nil {
		return false, err
	}
	m.Seconds = append(m.Seconds, time.Since(began).Seconds())
	r, err := infer.DecodeResponse(answer, len(answer), infer.Limits{})
	if err != nil {
		return false, fmt.Errorf("reading what %s says: %w", a.name, err)
	}
	scores := r.Scores()
	if scores == nil {
		return false, fmt.Errorf("%s tells no probabilities of classes", a.name)
	}
	p, n, err := infer.Probabilities(scores)
	if err != nil || n != len(classes) {
		return false, fmt.Errorf("%s tells probabilities of %d classes, there are %d: %w", a.name, n, len(classes), err)
	}
	m.Predicted = append(m.Predicted, infer.Likeliest(p).Class)
	for _, v := range p {
		m.Probability = append(m.Probability, float32(v))
	}
	return head.Get("Polder-Escalated") == "yes", nil
}

// print shows the numbers.
func (d *demonstration) print(r *eval.Report, share float64) error {
	rows := [][]string{{"", "ACCURACY", "95 % INTERVAL", "P50", "P99", "CPU S PER 1000", "ASKS THE TEACHER"}}
	asks := []string{fmt.Sprintf("%.1f %%", 100*share), "never", "always"}
	for i, m := range r.Models {
		q, interval := m.Metrics[eval.Accuracy], "-"
		if q.Low != nil && q.High != nil {
			interval = fmt.Sprintf("%.3f to %.3f", *q.Low, *q.High)
		}
		ms := func(name string) string { return fmt.Sprintf("%.2f ms", 1e3*m.Metrics[name].Value) }
		rows = append(rows, []string{
			m.Name, fmt.Sprintf("%.4f", q.Value), interval, ms(eval.LatencyP50), ms(eval.LatencyP99), fmt.Sprintf("%.3g", m.Metrics[eval.CostPer1K].Value), asks[i],
		})
	}
	fmt.Fprintln(d.out)
	if err := term.Table(d.out, rows); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n%s\n", r.Verdict)
	return nil
}

// write writes the report in each of its forms, and returns the files.
func (d *demonstration) write(r *eval.Report) ([]string, error) {
	if err := os.MkdirAll(d.report, 0o755); err != nil {
		return nil, fmt.Errorf("making the report's directory: %w", err)
	}
	text, err := eval.Encode(r)
	if err != nil {
		return nil, err
	}
	forms := []struct {
		name string
		make func(io.Writer) error
	}{
		{"report.html", func(w io.Writer) error { return page.HTML(w, r, page.English) }},
		{"report.zh.html", func(w io.Writer) error { return page.HTML(w, r, page.Chinese) }},
		{"report.png", func(w io.Writer) error { return page.PNG(w, r) }},
		{"report.json", func(w io.Writer) error { _, err := w.Write(text); return err }},
	}
	var paths []string
	for _, f := range forms {
		var b bytes.Buffer
		if err := f.make(&b); err != nil {
			return nil, fmt.Errorf("making %s: %w", f.name, err)
		}
		path := filepath.Join(d.report, f.name)
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("writing the report: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
