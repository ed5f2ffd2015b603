package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
)

const (
	lookEvery = 250 * time.Millisecond
	// silenceMax is how long the API may be away: it is started again when it
	// dies, and the job goes on meanwhile.
	silenceMax = time.Minute
)

// follow shows the job's progress until it ends.
func (o *options) follow(cmd *cobra.Command, c *kube.Client, job *v1alpha1.TrainJob) error {
	out := cmd.OutOrStdout()
	person := term.Is(out) && !o.json()
	var v view = &lines{w: out}
	if person {
		v = &bar{line: term.NewLine(out), w: out, began: time.Now()}
	}
	last, err := watchJob(cmd.Context(), c, job, v.show)
	v.close()
	if err != nil {
		return err
	}
	if !person {
		return verdict(last)
	}
	return report(cmd.Context(), out, c, last)
}

// watchJob calls show with every state of the job until it has ended.
func watchJob(ctx context.Context, c *kube.Client, job *v1alpha1.TrainJob, show func(*v1alpha1.TrainJob)) (*v1alpha1.TrainJob, error) {
	var silent time.Time
	for {
		var now v1alpha1.TrainJob
		err := c.Get(ctx, kube.Key(job.Namespace, job.Name), &now)
		switch {
		case err == nil && now.UID != job.UID, apierrors.IsNotFound(err):
			return nil, fmt.Errorf("job %s was deleted", job.Name)
		case err == nil:
			silent = time.Time{}
			show(&now)
			if now.Status.State.Done() {
				return &now, nil
			}
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case silent.IsZero():
			silent = time.Now()
		case time.Since(silent) > silenceMax:
			return nil, fmt.Errorf("reading job %s: %w; it goes on, and `polder jobs` shows it when the cloud answers again", job.Name, err)
		}
		if err := pause(ctx, lookEvery); err != nil {
			return nil, err
		}
	}
}

// view shows states of a job.
type view interface {
	show(*v1alpha1.TrainJob)
	close()
}

// bar is a view for people: one line, drawn again and again.
type bar struct {
	line  *term.Line
	w     io.Writer
	began time.Time
	// The epoch that was seen first, and when: what is left is guessed from there.
	first   int64
	firstAt time.Time
	said    string
}

func (b *bar) show(j *v1alpha1.TrainJob) {
	if m := j.Status.Message; m != b.said && m != "" && !j.Status.State.Done() { // a message stays to be read
		b.said = m
		b.line.Clear()
		fmt.Fprintf(b.w, "%s: %s\n", state(j), m)
	}
	b.line.Set(b.text(j, time.Now()))
}

func (b *bar) text(j *v1alpha1.TrainJob, now time.Time) string {
	head := fmt.Sprintf("%s  %s %d/%d", j.Name, state(j), j.Status.Ready, j.Spec.Workers)
	p := j.Status.Progress
	if p == nil || p.Epochs == 0 {
		return fmt.Sprintf("%s  %ds", head, int(now.Sub(b.began).Seconds()))
	}
	text := fmt.Sprintf("%s  %s epoch %d/%d", head, term.Bar(float64(p.Epoch)/float64(p.Epochs), 24), p.Epoch, p.Epochs)
	if p.Loss != "" {
		text += "  loss " + shortNumber(p.Loss)
	}
	if left := b.left(p, now); left > 0 {
		text += fmt.Sprintf("  about %s left", left.Round(time.Second))
	}
	return text
}

// left guesses how long the rest will take, from the epochs seen so far.
func (b *bar) left(p *v1alpha1.Progress, now time.Time) time.Duration {
	if b.firstAt.IsZero() || p.Epoch < b.first { // the workers began again
		b.first, b.firstAt = p.Epoch, now
	}
	if p.Epoch <= b.first || p.Epoch >= p.Epochs {
		return 0
	}
	each := now.Sub(b.firstAt) / time.Duration(p.Epoch-b.first)
	return each * time.Duration(p.Epochs-p.Epoch)
}

func (b *bar) close() { b.line.Clear() }

// lines is a view for programs: a line of JSON whenever something changed.
type lines struct {
	w    io.Writer
	last string
}

// progressLine is one line of lines.
type progressLine struct {
	Job      string             `json:"job"`
	State    string             `json:"state"`
	Message  string             `json:"message,omitempty"`
	Workers  int32              `json:"workers"`
	Ready    int32              `json:"ready"`
	Restarts int32              `json:"restarts"`
	Progress *v1alpha1.Progress `json:"progress,omitempty"`
	// Model that came out; on the last line.
	Model *v1alpha1.ModelReference `json:"model,omitempty"`
}

func (l *lines) show(j *v1alpha1.TrainJob) {
	b, err := json.Marshal(progressLine{
		Job: j.Name, State: state(j), Message: j.Status.Message, Workers: j.Spec.Workers, Ready: j.Status.Ready,
		Restarts: j.Status.Restarts, Progress: j.Status.Progress, Model: j.Status.Model,
	})
	if err == nil && string(b) != l.last {
		l.last = string(b)
		fmt.Fprintf(l.w, "%s\n", b)
	}
}

func (*lines) close() {}

// verdict is nil when the job succeeded.
func verdict(j *v1alpha1.TrainJob) error {
	if j.Status.State == v1alpha1.StateSucceeded {
		return nil
	}
	return fmt.Errorf("job %s: %s: %s", j.Name, j.Status.State, j.Status.Message)
}

// report tells how the job ended and what can be done with its model.
func report(ctx context.Context, w io.Writer, c *kube.Client, j *v1alpha1.TrainJob) error {
	if err := verdict(j); err != nil {
		return err
	}
	if j.Status.Model == nil {
		return errors.New("the job succeeded but names no model")
	}
	var m v1alpha1.Model
	if err := c.Get(ctx, kube.Key(j.Namespace, j.Status.Model.Name), &m); err != nil {
		return fmt.Errorf("reading model %s: %w", j.Status.Model.Name, err)
	}
	rows := [][]string{{"Model", m.Name}, {"Digest", m.Spec.Digest}}
	for _, k := range slices.Sorted(maps.Keys(m.Spec.Metrics)) {
		rows = append(rows, []string{metricName(k), shortNumber(m.Spec.Metrics[k])})
	}
	if j.Status.StartTime != nil && j.Status.CompletionTime != nil {
		rows = append(rows, []string{"Trained in", j.Status.CompletionTime.Sub(j.Status.StartTime.Time).String()})
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nUse it:\n  polder model show %[1]s\n  polder model pull %[1]s DIR\n", m.Name)
	return nil
}

// metricName turns test_accuracy into "Test accuracy".
func metricName(s string) string {
	s = strings.ReplaceAll(s, "_", " ")
	return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):]
}
