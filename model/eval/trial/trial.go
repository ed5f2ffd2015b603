// Package trial runs models over a table and has their answers judged: it is what an
// evaluation does inside its pod. Programs that can open models import it, and the
// controller that tells them what to do and reads what they say.
//
// It opens no model itself: it is handed what opens one, so that it needs none of the
// libraries that run them. What it prints is for the controller: lines of progress, and at
// the end the report on one line.
//
// It refuses to go on with an answer that is missing or is no number, and it never asks a
// model anything that it does not ask the others.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/table"
	"polder.dev/polder/model/infer"
)

// A Model answers rows. Its methods are called one after the other.
type Model interface {
	// Width is how many numbers a row has; 0: that is not known.
	Width() (int, error)
	// Serving is what the model says of itself; nil where it says nothing.
	Serving() *infer.Serving
	// Rows answers rows of width numbers each, at most batch at a time.
	Rows(ctx context.Context, rows []float32, width, batch int) ([]infer.Tensor, error)
	Close()
}

// A Service is a Model that is asked over the network.
type Service interface {
	Model
	// Batch is how many rows of width numbers a request may have.
	Batch(width int) int
	// Sent tells of the latest answer.
	Sent() Sent
}

// A Writer answers prompts.
type Writer interface {
	Write(ctx context.Context, prompt string) (Written, error)
}

// Written is an answer to a prompt.
type Written struct {
	Text string
	// Tokens of the text; 0: not told.
	Tokens int64
	Sent   Sent
}

// Sent tells of a request that was answered.
type Sent struct {
	// Took is the time from when it was sent, the time that counts, to the end of the answer.
	Took time.Duration
	// Again is how often it was asked before without success.
	Again int
	// By says who has answered how many of the rows.
	By []eval.Origin
	// Cost of it, as the gateway tells; 0: not told.
	Cost float64
}

// Trouble is an error that may be over when the trial is run again; all others stay.
type Trouble struct{ Err error }

func (t *Trouble) Error() string { return t.Err.Error() }

// Unwrap returns the cause.
func (t *Trouble) Unwrap() error { return t.Err }

// Deps are what a trial works with.
type Deps struct {
	// Open opens the model of an entrant, a Service where it is one.
	Open func(ctx context.Context, e Entrant) (Model, error)
	// Writer returns what answers prompts for an entrant.
	Writer func(ctx context.Context, e Entrant) (Writer, error)
	// Now tells the time, for latencies.
	Now func() time.Time
	// Tell is told how many rows of all were answered.
	Tell func(done, total int64)
	// Meter tells the energy that the machine has used, where it does; see NewMeter.
	Meter *Meter
}

// Run does what the plan says.
func Run(ctx context.Context, p *Plan, d Deps) (*eval.Report, error) {
	in, err := Ask(ctx, p, d)
	if err != nil {
		return nil, err
	}
	return eval.Judge(in)
}

// Ask reads the data and has each model answer it. What it returns can be judged.
func Ask(ctx context.Context, p *Plan, d Deps) (*eval.Input, error) {
	t, file, err := read(p.Task, p.Data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	r := &runner{plan: p, deps: d, table: t, again: make([]int64, len(p.Models)), in: &eval.Input{
		Task: p.Task, Seed: p.Seed, Rows: t.Rows, Requirements: p.Requirements, CostPerHour: p.CostPerHour, Scored: p.Program,
		Data:    eval.Data{Digest: t.Digest, File: file, Label: t.Label, Features: t.Features},
		Machine: &eval.Machine{Processor: processor(), Threads: p.Threads, Sandbox: p.Sandbox},
	}}
	for i, name := range p.Data.Slices {
		r.in.Slices = append(r.in.Slices, eval.Column{Name: name, Values: t.Slices[i]})
	}
	for _, e := range p.Models {
		r.in.Models = append(r.in.Models, eval.Answered{
			Name: e.Name, Reference: e.Reference, Digest: e.Digest, Service: e.Service, Route: e.Route, CostPerHour: e.CostPerHour,
		})
	}
	if p.Task == eval.TaskGeneration {
		err = r.write(ctx)
	} else {
		err = r.judge(ctx)
	}
	if err != nil {
		return nil, err
	}
	r.tell()
	return r.in, nil
}

// judge has models answer rows.
func (r *runner) judge(ctx context.Context) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.close()
	if err := r.expect(); err != nil {
		return err
	}
	if err := r.contaminated(); err != nil {
		return fmt.Errorf("trained: %w", err)
	}
	for i := range r.models {
		if err := r.answer(ctx, i); err != nil {
			return fmt.Errorf("model %s: %w", r.plan.Models[i].Name, err)
		}
	}
	return r.time(ctx)
}

// runner is one trial under way.
type runner struct {
	plan   *Plan
	deps   Deps
	table  *table.Table
	in     *eval.Input
	models []entered
	again  []int64 // requests to each model that were asked again
	done   int64
}

// entered is a model that takes part.
type entered struct {
	model Model
	batch int   // rows at a time
	order []int // of the table's features
	class []int // of each class of the model its number in the report; -1: none
}

// read reads the table that a plan names.
func read(task string, d Data) (*table.Table, string, error) {
	f, o, name, err := find(task, d)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	t, err := table.Read(f, o)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	return t, name, nil
}

// find opens the file of a table.
func find(task string, d Data) (fs.File, table.Options, string, error) {
	fail := func(err error) (fs.File, table.Options, string, error) { return nil, table.Options{}, "", err }
	root, err := os.OpenRoot(d.Dir) // links in it lead nowhere else
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	name := path.Clean(d.File)
	if d.File == "" {
		if name, err = only(root.FS()); err != nil {
			return fail(err)
		}
	}
	format, err := table.FormatOf(name)
	if err != nil {
		return fail(err)
	}
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("there is no file %q", d.File))
	}
	if err != nil {
		return fail(err)
	}
	return f, table.Options{
		Format: format, Label: d.Label, Slices: d.Slices, From: d.From, To: d.To,
		Many: task == eval.TaskForecast, Text: task == eval.TaskGeneration,
	}, name, nil
}

// only is the one table that there is.
func only(root fs.FS) (string, error) {
	const most = 8 // that are named
	var found []string
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if _, err := table.FormatOf(name); err == nil && len(found) <= most {
			found = append(found, name)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("looking for the table: %w", err)
	case len(found) == 0:
		return "", errors.New("there is no table: a file whose name ends in .csv or .jsonl")
	case len(found) > 1:
		return "", fmt.Errorf("there are several tables (%s); name one in data.file", strings.Join(found, ", "))
	}
	return found[0], nil
}

// open opens all models before any is asked.
func (r *runner) open(ctx context.Context) error {
	for _, e := range r.plan.Models {
		m, err := r.deps.Open(ctx, e)
		if err != nil {
			r.close()
			return fmt.Errorf("model %s: %w", e.Name, err)
		}
		r.models = append(r.models, entered{model: m, batch: batch})
		if err := r.fit(&r.models[len(r.models)-1]); err != nil {
			r.close()
			return fmt.Errorf("model %s: %w", e.Name, err)
		}
	}
	return nil
}

// fit finds the features that a model takes.
func (r *runner) fit(m *entered) error {
	width, err := m.model.Width()
	if err != nil {
		return err
	}
	s := m.model.Serving()
	if s != nil && s.Task != r.plan.Task {
		return fmt.Errorf("it is made for the task %s, the evaluation is of %s; change spec.task", s.Task, r.plan.Task)
	}
	var names []string
	if s != nil {
		names = s.Features
	}
	if m.order, err = r.table.Order(names); err != nil {
		return err
	}
	if s, ok := m.model.(Service); ok {
		m.batch = min(batch, max(1, s.Batch(len(m.order))))
	}
	if width != 0 && len(m.order) != width {
		return fmt.Errorf("it takes %d features, the table has %d; are data.label and data.slices right?", width, len(m.order))
	}
	return nil
}

func (r *runner) close() {
	for _, m := range r.models {
		m.model.Close()
	}
	r.models = nil
}

// expect turns labels into what is expected.
func (r *runner) expect() error {
	switch r.plan.Task {
	case eval.TaskClassification:
		return r.classes()
	case eval.TaskRegression:
		for i, l := range r.table.Labels {
			v, err := strconv.ParseFloat(l, 64)
			if err != nil {
				return fmt.Errorf("data: the label of row %d is %q, not a number; is the task classification?", r.table.Rows[i], l)
			}
			r.in.ExpectedValues = append(r.in.ExpectedValues, v)
		}
	case eval.TaskForecast:
		r.in.ExpectedValues, r.in.Horizon = r.table.Values, r.table.Horizon
	default:
		return fmt.Errorf("the task %s is not one that these models can be asked", r.plan.Task)
	}
	return nil
}

// classes numbers the labels of the data and of the models.
func (r *runner) classes() error {
	known := map[string]bool{}
	for _, l := range r.table.Labels {
		known[l] = true
	}
	if n := len(known); n > eval.ClassesMax {
		return fmt.Errorf("data: the label has %d different values, the limit is %d; is the task regression?", n, eval.ClassesMax)
	}
	for i, m := range r.models {
		s := m.model.Serving()
		if s == nil || len(s.Labels) == 0 {
			continue
		}
		shared := 0
		for _, l := range s.Labels {
			if known[table.Class(l)] {
				shared++
			}
		}
		if shared == 0 {
			return fmt.Errorf("model %s: none of its labels (%s) is in the data, which has %s; set serving.labels in its model.json",
				r.plan.Models[i].Name, some(s.Labels), some(r.table.Labels))
		}
	}
	for _, m := range r.models { // after all were compared with the data alone
		if s := m.model.Serving(); s != nil {
			for _, l := range s.Labels {
				known[table.Class(l)] = true
			}
		}
	}
	r.number(known)
	return nil
}

// number gives each class its number.
func (r *runner) number(known map[string]bool) {
	classes := make([]string, 0, len(known))
	for l := range known {
		classes = append(classes, l)
	}
	slices.SortFunc(classes, eval.Natural)
	at := make(map[string]int, len(classes))
	for i, l := range classes {
		at[l] = i
	}
	r.in.Data.Classes = classes
	r.in.Expected = make([]int, len(r.table.Labels))
	for i, l := range r.table.Labels {
		r.in.Expected[i] = at[l]
	}
}

// some of the labels, each once.
func some(labels []string) string {
	var out []string
	for _, l := range labels {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
		if len(out) == 5 {
			return strings.Join(out, ", ") + " ..."
		}
	}
	return strings.Join(out, ", ")
}

// contaminated looks for judged rows in the training data.
func (r *runner) contaminated() error {
	if r.plan.Trained == nil {
		return nil
	}
	f, o, name, err := find(r.plan.Task, *r.plan.Trained)
	if err != nil {
		return err
	}
	defer f.Close()
	labels := r.table.Labels
	if o.Many {
		labels = make([]string, len(r.table.Rows))
	}
	finder := eval.NewFinder(r.table.Rows, labels, r.table.Data, r.table.Width)
	head, _, err := table.Scan(f, o, func(row *table.Row) error {
		if len(row.Features) != r.table.Width {
			return fmt.Errorf("a row has %d features, in the data that is judged it has %d", len(row.Features), r.table.Width)
		}
		finder.Train(row.Features, row.Label)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(head.Features) > 0 && len(r.table.Features) > 0 && !slices.Equal(head.Features, r.table.Features) {
		return fmt.Errorf("%s: its columns have other names, or another order, than those of the data that is judged", name)
	}
	var note string
	if r.in.Contamination, note = finder.Found(); note != "" {
		r.in.Notes = append(r.in.Notes, note)
	}
	return nil
}
