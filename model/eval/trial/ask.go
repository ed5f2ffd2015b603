package trial

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/table"
	"polder.dev/polder/model/infer"
)

const (
	// batch is how many rows are given to a model at a time.
	batch = 256
	// timed requests with one row are timed, for each model, in turns of turn; once they
	// have taken timedFor, no more than timedMin.
	timed, timedMin = 1000, 50
	timedFor        = 20 * time.Second
	turn            = 50
	// warming requests go before.
	warming = 10
)

// answer has model i answer all rows, and times it.
func (r *runner) answer(ctx context.Context, i int) error {
	m, n := &r.models[i], len(r.table.Rows)
	if _, err := m.model.Rows(r.rows(m, 0, 1), 1); err != nil { // what comes first takes longer
		return err
	}
	var spent time.Duration
	joules := r.deps.Meter.Joules()
	for from := 0; from < n; from += batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := min(from+batch, n)
		rows := r.rows(m, from, to)
		before := r.deps.Now()
		out, err := m.model.Rows(rows, batch)
		spent += r.deps.Now().Sub(before)
		if err == nil {
			err = r.take(i, out, to-from)
		}
		if err != nil {
			return fmt.Errorf("answering rows %d to %d: %w", r.table.Rows[from], r.table.Rows[to-1], err)
		}
		r.done += int64(to - from)
		r.deps.Tell(r.done, int64(n*len(r.models)))
	}
	a := &r.in.Models[i]
	if spent > 0 {
		a.RowsPerSecond = float64(n) / spent.Seconds()
	}
	a.JoulesPerRow = (r.deps.Meter.Joules() - joules) / float64(n)
	return nil
}

// rows from up to, without, to, with the features that a model takes.
func (r *runner) rows(m *entered, from, to int) []float32 {
	out := make([]float32, 0, (to-from)*len(m.order))
	for i := from; i < to; i++ {
		row := r.table.Data[i*r.table.Width : (i+1)*r.table.Width]
		for _, j := range m.order {
			out = append(out, row[j])
		}
	}
	return out
}

// take keeps the answers of model i to n rows.
func (r *runner) take(i int, out []infer.Tensor, n int) error {
	if r.plan.Task == eval.TaskClassification {
		return r.takeClasses(i, out, n)
	}
	t := values(out)
	if t == nil {
		return fmt.Errorf("it has the outputs %s; a model that tells numbers has one output, values", names(out))
	}
	v, err := t.Float64s()
	if err != nil {
		return err
	}
	h := max(r.in.Horizon, 1)
	if len(v) != n*h {
		return fmt.Errorf("output %s has %d numbers for %d rows with %d labels each", t.Name, len(v), n, h)
	}
	r.in.Models[i].Values = append(r.in.Models[i].Values, v...)
	return nil
}

func (r *runner) takeClasses(i int, out []infer.Tensor, n int) error {
	t := (&infer.Response{Outputs: out}).Scores()
	if t == nil {
		return fmt.Errorf("it has the outputs %s; a classifier has an output probabilities or logits, [rows, classes]", names(out))
	}
	p, k, err := infer.Probabilities(t)
	if err != nil {
		return err
	}
	if len(p) != n*k {
		return fmt.Errorf("output %s has %d rows of scores, %d rows were asked", t.Name, len(p)/k, n)
	}
	m, a, classes := &r.models[i], &r.in.Models[i], len(r.in.Data.Classes)
	if m.class == nil {
		if err := r.name(m, k); err != nil {
			return err
		}
	}
	if len(m.class) != k {
		return fmt.Errorf("output %s has %d classes, before it had %d", t.Name, k, len(m.class))
	}
	for row := range n {
		likely := infer.Likeliest(p[row*k : (row+1)*k])
		a.Predicted = append(a.Predicted, m.class[likely.Class])
		at := len(a.Probability)
		a.Probability = append(a.Probability, make([]float32, classes)...)
		for c, v := range p[row*k : (row+1)*k] {
			if to := m.class[c]; to >= 0 {
				a.Probability[at+to] = float32(v)
			}
		}
	}
	return nil
}

// name finds what each of a model's k classes is called in the report.
func (r *runner) name(m *entered, k int) error {
	s := m.model.Serving()
	if s != nil && len(s.Labels) > 0 && len(s.Labels) != k {
		return fmt.Errorf("it has %d classes, but serving.labels in its model.json has %d", k, len(s.Labels))
	}
	at := make(map[string]int, len(r.in.Data.Classes))
	for i, c := range r.in.Data.Classes {
		at[c] = i
	}
	known := 0
	for c := range k {
		i, ok := at[table.Class(s.Label(c))]
		if !ok {
			i = -1
		} else {
			known++
		}
		m.class = append(m.class, i)
	}
	if known == 0 {
		return fmt.Errorf("its classes are numbered 0 to %d, and the data has %s; name them in serving.labels of its model.json", k-1, some(r.in.Data.Classes))
	}
	return nil
}

// values is the output of numbers.
func values(out []infer.Tensor) *infer.Tensor {
	if t := (&infer.Response{Outputs: out}).Output(infer.OutputValues); t != nil {
		return t
	}
	if len(out) == 1 && len(out[0].Shape) <= 2 {
		return &out[0]
	}
	return nil
}

func names(out []infer.Tensor) string {
	s := ""
	for i, t := range out {
		if i > 0 {
			s += ", "
		}
		s += strconv.Quote(t.Name) + " " + infer.FormatShape(t.Shape)
	}
	return s
}

// time asks the models for one row at a time, taking turns, so that what else the machine
// does hits all alike.
func (r *runner) time(ctx context.Context) error {
	for asked := 0; asked < timed; asked += turn {
		for i := range r.models {
			if asked >= timedMin && r.spent(i) > timedFor {
				continue
			}
			if err := r.turn(ctx, i, asked, asked+turn); err != nil {
				return fmt.Errorf("model %s: timing it: %w", r.plan.Models[i].Name, err)
			}
		}
	}
	return nil
}

func (r *runner) spent(i int) time.Duration {
	sum := 0.0
	for _, s := range r.in.Models[i].Seconds {
		sum += s
	}
	return time.Duration(sum * float64(time.Second))
}

func (r *runner) turn(ctx context.Context, i, from, to int) error {
	m, n := &r.models[i], len(r.table.Rows)
	for at := from - warming; at < to; at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := (at + n*warming) % n
		row := r.rows(m, j, j+1)
		before := r.deps.Now()
		_, err := m.model.Rows(row, 1)
		took := r.deps.Now().Sub(before)
		if err != nil {
			return err
		}
		if at >= from {
			r.in.Models[i].Seconds = append(r.in.Models[i].Seconds, took.Seconds())
		}
	}
	return nil
}
