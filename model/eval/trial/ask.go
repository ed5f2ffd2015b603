package trial

import (
	"context"
	"fmt"
	"slices"
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
	if _, err := m.model.Rows(ctx, r.rows(m, 0, 1), len(m.order), 1); err != nil { // what comes first takes longer
		return err
	}
	var spent time.Duration
	joules := r.deps.Meter.Joules()
	for from := 0; from < n; from += m.batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := min(from+m.batch, n)
		out, sent, err := r.ask(ctx, i, from, to)
		spent += sent.Took
		if err == nil {
			r.by(i, sent.By)
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
	if !r.plan.Models[i].Remote() { // what a service uses is not this machine's
		a.JoulesPerRow = (r.deps.Meter.Joules() - joules) / float64(n)
	}
	return nil
}

// ask asks model i about rows, and says how long that took.
func (r *runner) ask(ctx context.Context, i, from, to int) ([]infer.Tensor, Sent, error) {
	m := &r.models[i]
	rows := r.rows(m, from, to)
	before := r.deps.Now()
	out, err := m.model.Rows(ctx, rows, len(m.order), batch)
	sent := Sent{Took: r.deps.Now().Sub(before)}
	if s, ok := m.model.(Service); ok && err == nil {
		sent = s.Sent()
		r.again[i] += int64(sent.Again)
	}
	return out, sent, err
}

// by counts who has answered rows of model i.
func (r *runner) by(i int, by []eval.Origin) {
	a := &r.in.Models[i]
	for _, o := range by {
		at := slices.IndexFunc(a.By, func(k eval.Origin) bool {
			return k.Target == o.Target && k.Revision == o.Revision && k.Digest == o.Digest
		})
		if at < 0 {
			a.By, at = append(a.By, eval.Origin{Target: o.Target, Revision: o.Revision, Digest: o.Digest}), len(a.By)
		}
		a.By[at].Rows += o.Rows
	}
}

// tell notes what a reader must know of services.
func (r *runner) tell() {
	remote := false
	for i := range r.plan.Models {
		e := &r.plan.Models[i]
		remote = remote || e.Remote()
		if n := r.again[i]; n > 0 {
			r.in.Notes = append(r.in.Notes, fmt.Sprintf("Requests to %s were asked again %d times after an error; latencies are of those that were answered.", e.Name, n))
		}
	}
	if remote {
		r.in.Notes = append(r.in.Notes, "Services and routes were asked through the gateway, one request at a time: their latencies hold its part and the network's, and their replicas run on machines that are not told here.")
	}
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
		if said := words(out, n); said != nil {
			return r.takeWords(i, said)
		}
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

// words are the classes that an answer names without telling how likely they are: its only
// output, of strings or whole numbers, one for each of n rows; nil if it is no such answer.
func words(out []infer.Tensor, n int) []string {
	if len(out) != 1 || out[0].Len() != n {
		return nil
	}
	var said []string
	switch d := out[0].Data.(type) {
	case [][]byte:
		for _, b := range d {
			said = append(said, string(b))
		}
	case []int64, []int32, []int16, []int8, []uint64, []uint32, []uint16, []uint8:
		v, _ := out[0].Float64s() // they are numbers
		for _, x := range v {
			said = append(said, strconv.FormatFloat(x, 'f', -1, 64))
		}
	}
	return said
}

// takeWords keeps classes that model i names. A number counts among its labels, if it has
// any.
func (r *runner) takeWords(i int, said []string) error {
	s := r.models[i].model.Serving()
	a := &r.in.Models[i]
	for _, w := range said {
		if n, err := strconv.Atoi(w); err == nil && s != nil && len(s.Labels) > 0 {
			if n < 0 || n >= len(s.Labels) {
				return fmt.Errorf("it answers class %d, and has %d labels", n, len(s.Labels))
			}
			w = s.Labels[n]
		}
		a.Predicted = append(a.Predicted, slices.Index(r.in.Data.Classes, table.Class(w)))
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
	n := len(r.table.Rows)
	for at := from - warming; at < to; at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		j := (at + n*warming) % n
		_, sent, err := r.ask(ctx, i, j, j+1)
		if err != nil {
			return err
		}
		if at >= from {
			a := &r.in.Models[i]
			a.Seconds = append(a.Seconds, sent.Took.Seconds())
			a.Cost += sent.Cost
		}
	}
	return nil
}
