// Package evaluate judges models in ONNX, and services that it asks: it is what the pod of an Evaluation runs. The
// plan is in the environment, progress and the report go to the output
// (polder.dev/polder/model/eval/trial has both), and only the program polder-onnx imports
// it.
package evaluate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/remote"
	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/tools/onnx/session"
)

// Run does what the plan in the environment says, or the part of it that is meant where a
// program stands between the answers and the verdict.
func Run(ctx context.Context, out io.Writer, env func(string) string) error {
	plan, err := trial.Decode(env(trial.PlanVariable))
	if err != nil {
		return err
	}
	stage := env(trial.StageVariable)
	if stage == trial.StageJudge {
		return judge(out, trial.DirState, trial.DirScores)
	}
	d, err := deps(plan, out)
	if err != nil {
		return err
	}
	in, err := trial.Ask(ctx, plan, *d)
	if ctx.Err() != nil {
		return &trial.Trouble{Err: fmt.Errorf("the evaluation was told to end: %w", ctx.Err())}
	}
	if err != nil {
		return err
	}
	if stage == trial.StageAnswer {
		return leave(in, trial.DirState, trial.DirAnswers)
	}
	return say(out, in)
}

// deps starts what the entrants need: the library where there are models, the gateway where
// there are services.
func deps(p *trial.Plan, out io.Writer) (*trial.Deps, error) {
	var g *remote.Gateway
	if slices.ContainsFunc(p.Models, func(e trial.Entrant) bool { return e.Remote() }) {
		var err error
		if g, err = remote.New(filepath.Join(trial.DirGateway, trial.FileCA), filepath.Join(trial.DirGateway, trial.FileToken), time.Now); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(p.Models, func(e trial.Entrant) bool { return e.Dir != "" }) {
		if err := session.Start(); err != nil {
			return nil, &trial.Trouble{Err: err}
		}
	}
	return &trial.Deps{
		Open: func(ctx context.Context, e trial.Entrant) (trial.Model, error) {
			switch {
			case e.Remote():
				return g.Open(ctx, p.Task, e)
			case e.Dir == "":
				return nil, errors.New("it is no model in ONNX")
			}
			s, err := session.Open(e.Dir, session.Options{Threads: p.Threads})
			return local{s}, err
		},
		Writer: func(_ context.Context, e trial.Entrant) (trial.Writer, error) {
			if !e.Remote() {
				return nil, errors.New("a model in ONNX writes no text; name a service or route that speaks OpenAI's API")
			}
			return g.Writer(p, e), nil
		},
		Now: time.Now, Tell: trial.Teller(out, time.Now), Meter: trial.NewMeter("/"),
	}, nil
}

// local is a model that is run here.
type local struct{ *session.Session }

// Rows implements trial.Model.
func (l local) Rows(_ context.Context, rows []float32, _, batch int) ([]infer.Tensor, error) {
	return l.Session.Rows(rows, batch)
}

func say(out io.Writer, in *eval.Input) error {
	report, err := eval.Judge(in)
	if err != nil {
		return err
	}
	return trial.Say(out, report)
}

// leave writes answers for the program, and for the part that comes after it.
func leave(in *eval.Input, state, answers string) error {
	err := write(filepath.Join(answers, trial.FileAnswers), func(w io.Writer) error { return trial.WriteAnswers(w, in) })
	if err != nil {
		return err
	}
	return write(filepath.Join(state, trial.FileState), func(w io.Writer) error { return trial.Save(w, in) })
}

func write(name string, do func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return &trial.Trouble{Err: err}
	}
	if err := errors.Join(do(f), f.Close()); err != nil {
		return &trial.Trouble{Err: err}
	}
	return nil
}

// judge reads what the program has written.
func judge(out io.Writer, state, scores string) error {
	f, err := os.Open(filepath.Join(state, trial.FileState))
	if err != nil {
		return &trial.Trouble{Err: err}
	}
	defer f.Close()
	in, err := trial.Load(f)
	if err != nil {
		return err
	}
	s, err := os.Open(filepath.Join(scores, trial.FileScores))
	if err != nil {
		return fmt.Errorf("the program left no scores: %w", err)
	}
	defer s.Close()
	if err := trial.ReadScores(s, in); err != nil {
		return err
	}
	return say(out, in)
}

// Final reports whether running it again would end alike: then what is wrong is in the
// plan, the data or a model.
func Final(err error) bool { return !errors.As(err, new(*trial.Trouble)) }
