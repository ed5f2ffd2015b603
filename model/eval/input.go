package eval

import (
	"fmt"
	"math"
	"slices"
)

// Input is what a judgement needs: right answers, what models answered, and a seed.
type Input struct {
	Task string
	Seed int64
	// Data as the report is to tell of it; Rows and Classes are those of the answers.
	Data Data
	// Rows by their number in the table, from 0, rising.
	Rows []int64
	// Expected: of a classification each row's class, by its number in Data.Classes.
	Expected []int
	// ExpectedValues of a regression [rows], or of a forecast [rows × Horizon].
	ExpectedValues []float64
	// ExpectedText of a generation.
	ExpectedText []string
	// Horizon: values in a row of a forecast; 0 and 1 mean one.
	Horizon int
	// Slices are columns by whose values quality is told apart.
	Slices []Column
	// Models that answered; the first is the candidate.
	Models []Answered
	// Prompts of a generation, for a program that judges.
	Prompts []string
	// Scored: the answers' Scores were given by a program, and verdicts are about them.
	Scored bool
	// Requirements of the candidate.
	Requirements []Requirement
	// CostPerHour of what models ran on that are no service; 0: not told.
	CostPerHour float64
	// Contamination, Machine and Notes are taken into the report as they are.
	Contamination *Contamination
	Machine       *Machine
	Notes         []string
}

// Column is a slice column: the value of each row.
type Column struct {
	Name   string
	Values []string
}

// Answered is what one model answered to the rows, in their order.
type Answered struct {
	Name, Reference, Digest, Service, Route string
	// By says who has answered, of a service or route.
	By []Origin
	// Predicted class of each row, by its number in Data.Classes; -1: none of them.
	Predicted []int
	// Probability of each class, [rows × classes]; empty where the model tells none.
	Probability []float32
	// Values of a regression [rows] or forecast [rows × Horizon].
	Values []float64
	// Text of a generation.
	Text []string
	// Scores of the program.
	Scores []float64
	// Seconds that requests with one row took, each, and what they cost together; 0: not
	// told.
	Seconds []float64
	Cost    float64
	// CostPerHour of what answered; 0: not told.
	CostPerHour float64
	// RowsPerSecond with many rows in a request; 0: not measured.
	RowsPerSecond float64
	// TokensPerSecond of texts; 0: not told by the service.
	TokensPerSecond float64
	// JoulesPerRow; 0: not told by the machine.
	JoulesPerRow float64
}

// check says what is missing in the input, or is no number.
func (in *Input) check() error {
	n := len(in.Rows)
	if n == 0 {
		return fmt.Errorf("there are no rows to judge")
	}
	if k := len(in.Models); k < 1 || k > ModelsMax {
		return fmt.Errorf("there are %d models, it must be 1 to %d", k, ModelsMax)
	}
	switch in.Task {
	case TaskClassification:
		if len(in.Expected) != n {
			return fmt.Errorf("%d rows have %d labels", n, len(in.Expected))
		}
		if k := len(in.Data.Classes); k == 0 || k > ClassesMax {
			return fmt.Errorf("there are %d classes, it must be 1 to %d; is the label a column of classes?", k, ClassesMax)
		}
		if i := slices.IndexFunc(in.Expected, func(c int) bool { return c < 0 || c >= len(in.Data.Classes) }); i >= 0 {
			return fmt.Errorf("row %d has no label", in.Rows[i])
		}
	case TaskRegression, TaskForecast:
		if err := in.numbers("the label", in.ExpectedValues, n*in.horizon()); err != nil {
			return err
		}
	case TaskGeneration:
		if len(in.ExpectedText) != n && !in.Scored {
			return fmt.Errorf("%d rows have %d expected texts", n, len(in.ExpectedText))
		}
	default:
		return fmt.Errorf("there is no task %q", cut(in.Task))
	}
	for _, c := range in.Slices {
		if len(c.Values) != n {
			return fmt.Errorf("slice column %s has %d values for %d rows", c.Name, len(c.Values), n)
		}
	}
	for i := range in.Models {
		if err := in.checkAnswers(&in.Models[i]); err != nil {
			return fmt.Errorf("model %s: %w", in.Models[i].Name, err)
		}
	}
	return nil
}

func (in *Input) checkAnswers(m *Answered) error {
	n, k := len(in.Rows), len(in.Data.Classes)
	switch in.Task {
	case TaskClassification:
		if len(m.Predicted) != n {
			return fmt.Errorf("there are %d answers to %d rows", len(m.Predicted), n)
		}
		if i := slices.IndexFunc(m.Predicted, func(c int) bool { return c < -1 || c >= k }); i >= 0 {
			return fmt.Errorf("the answer to row %d is class %d of %d", in.Rows[i], m.Predicted[i], k)
		}
		if len(m.Probability) != 0 && len(m.Probability) != n*k {
			return fmt.Errorf("there are %d probabilities for %d rows of %d classes", len(m.Probability), n, k)
		}
		for i, p := range m.Probability {
			if !(p >= -1e-3 && p <= 1+1e-3) {
				return fmt.Errorf("the answer to row %d is no probability: %g", in.Rows[i/k], p)
			}
		}
	case TaskRegression, TaskForecast:
		if err := in.numbers("the answer", m.Values, n*in.horizon()); err != nil {
			return err
		}
	case TaskGeneration:
		if len(m.Text) != n && !in.Scored {
			return fmt.Errorf("there are %d answers to %d rows", len(m.Text), n)
		}
	}
	if in.Scored {
		if err := in.numbers("the score", m.Scores, n); err != nil {
			return err
		}
	}
	if !finite(m.Cost, m.CostPerHour, m.RowsPerSecond, m.TokensPerSecond, m.JoulesPerRow) || !finite(m.Seconds...) {
		return fmt.Errorf("a measured time is not a number")
	}
	return nil
}

// numbers checks that there are n, and that all are finite.
func (in *Input) numbers(what string, v []float64, n int) error {
	if len(v) != n {
		return fmt.Errorf("%s: there are %d numbers, %d are needed (%d rows of %d)", what, len(v), n, len(in.Rows), in.horizon())
	}
	for i, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%s of row %d is not a number (%g)", what, in.Rows[i/max(n/len(in.Rows), 1)], x)
		}
	}
	return nil
}

// horizon is how many values a row has.
func (in *Input) horizon() int { return max(in.Horizon, 1) }
