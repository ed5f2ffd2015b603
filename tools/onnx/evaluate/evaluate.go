// Package evaluate judges models in ONNX: it is what the pod of an Evaluation runs. The
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
	"time"

	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
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
	if err := session.Start(); err != nil {
		return &trial.Trouble{Err: err}
	}
	in, err := trial.Ask(ctx, plan, trial.Deps{
		Open: func(_ context.Context, e trial.Entrant) (trial.Model, error) {
			if e.Dir == "" {
				return nil, errors.New("it is no model in ONNX")
			}
			return session.Open(e.Dir, session.Options{Threads: plan.Threads})
		},
		Now: time.Now, Tell: trial.Teller(out, time.Now), Meter: trial.NewMeter("/"),
	})
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
