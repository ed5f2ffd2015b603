package route

import (
	"fmt"

	"polder.dev/polder/model/eval"
)

// Samples reads the rows of a report that the models called specialist and general in it
// have both answered.
func Samples(r *eval.Report, specialist, general string) ([]Sample, error) {
	small, err := answersOf(r, specialist)
	if err != nil {
		return nil, err
	}
	large, err := answersOf(r, general)
	if err != nil {
		return nil, err
	}
	n := len(small.Correct)
	switch {
	case n == 0 || len(large.Correct) != n:
		return nil, fmt.Errorf("the report does not say row by row what %s and %s have right; evaluate them with the task classification", specialist, general)
	case len(small.Margin) != n:
		return nil, fmt.Errorf("the report has no margins of %s, which gave no probabilities; a cascade needs them from the specialist", specialist)
	}
	out := make([]Sample, n)
	for i := range out {
		out[i] = Sample{Margin: small.Margin[i], Specialist: small.Correct[i], General: large.Correct[i]}
		if len(small.Predicted) == n && len(large.Predicted) == n {
			out[i].Agree = small.Predicted[i] == large.Predicted[i]
		} else {
			out[i].Agree = small.Correct[i] && large.Correct[i]
		}
	}
	return out, nil
}

func answersOf(r *eval.Report, name string) (*eval.Answers, error) {
	for i := range r.Models {
		if r.Models[i].Name != name {
			continue
		}
		if r.Models[i].Answers == nil {
			return nil, fmt.Errorf("the report does not have the answers of %s row by row", name)
		}
		return r.Models[i].Answers, nil
	}
	return nil, fmt.Errorf("the report judges no model called %s", name)
}
