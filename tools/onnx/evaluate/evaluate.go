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
	"time"

	"polder.dev/polder/model/eval/trial"
	"polder.dev/polder/tools/onnx/session"
)

// Run does what the plan in the environment says.
func Run(ctx context.Context, out io.Writer, env func(string) string) error {
	plan, err := trial.Decode(env(trial.PlanVariable))
	if err != nil {
		return err
	}
	if err := session.Start(); err != nil {
		return &trial.Trouble{Err: err}
	}
	report, err := trial.Run(ctx, plan, trial.Deps{
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
	return trial.Say(out, report)
}

// Final reports whether running it again would end alike: then what is wrong is in the
// plan, the data or a model.
func Final(err error) bool { return !errors.As(err, new(*trial.Trouble)) }
