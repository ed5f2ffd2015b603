package trial

import (
	"context"
	"errors"
	"fmt"
)

// write has services answer prompts, a request for each row: what is judged is what is
// timed. They take turns, so that what else the machine does hits all alike.
func (r *runner) write(ctx context.Context) error {
	if r.plan.Trained != nil {
		return errors.New("trained: texts are not looked for in training data; leave it out at the task generation")
	}
	r.in.ExpectedText, r.in.Prompts = r.table.Labels, r.table.Text
	n := len(r.table.Rows)
	writers := make([]Writer, len(r.plan.Models))
	counted := make([]tokens, len(writers))
	for i, e := range r.plan.Models {
		var err error
		if writers[i], err = r.deps.Writer(ctx, e); err == nil {
			_, err = writers[i].Write(ctx, r.table.Text[0]) // what comes first takes longer, above all where it wakes somebody
		}
		if err != nil {
			return fmt.Errorf("model %s: %w", e.Name, err)
		}
	}
	for from := 0; from < n; from += turn {
		for i, w := range writers {
			for row := from; row < min(from+turn, n); row++ {
				got, err := w.Write(ctx, r.table.Text[row])
				if err != nil {
					return fmt.Errorf("model %s: answering row %d: %w", r.plan.Models[i].Name, r.table.Rows[row], err)
				}
				r.wrote(i, &got)
				counted[i].add(&got)
			}
		}
	}
	for i := range writers {
		a := &r.in.Models[i]
		if s := r.spent(i); s > 0 {
			a.RowsPerSecond, a.TokensPerSecond = float64(n)/s.Seconds(), counted[i].told()/s.Seconds()
		}
	}
	return nil
}

// wrote keeps an answer of model i.
func (r *runner) wrote(i int, got *Written) {
	a := &r.in.Models[i]
	a.Text = append(a.Text, got.Text)
	a.Seconds = append(a.Seconds, got.Sent.Took.Seconds())
	a.Cost += got.Sent.Cost
	r.again[i] += int64(got.Sent.Again)
	r.by(i, got.Sent.By)
	r.done++
	r.deps.Tell(r.done, int64(len(r.table.Rows)*len(r.plan.Models)))
}

// tokens of all answers, if each has told its own.
type tokens struct {
	sum    int64
	untold bool
}

func (t *tokens) add(w *Written) {
	t.sum += w.Tokens
	t.untold = t.untold || w.Tokens == 0 && w.Text != ""
}

func (t *tokens) told() float64 {
	if t.untold {
		return 0
	}
	return float64(t.sum)
}
