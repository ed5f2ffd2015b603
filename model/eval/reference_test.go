package eval

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// reference is what other people's libraries say; testdata/reference.py wrote it.
type reference struct {
	Classification []struct {
		Expected, Predicted []int
		Probability         []float32
		Classes             int
		Accuracy, F1, AUC   float64
	}
	Regression struct {
		Expected, Answered []float64
		MAE, RMSE          float64
	}
	Wilson []struct {
		Hits, N   int64
		Low, High float64
	}
	McNemar []struct {
		Gained, Lost int64
		P            float64
	}
	Permutation struct {
		A, B []float64
		P    float64
	}
}

func readReference(t *testing.T) reference {
	t.Helper()
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref reference
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	return ref
}

func same(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %.12g, want %.12g", what, got, want)
	}
}

func TestMetricsAsScikitLearn(t *testing.T) {
	ref := readReference(t)
	for _, c := range ref.Classification {
		n := len(c.Expected)
		hits := 0
		for i := range c.Expected {
			if c.Expected[i] == c.Predicted[i] {
				hits++
			}
		}
		same(t, "accuracy", float64(hits)/float64(n), c.Accuracy, 1e-12)
		same(t, "f1", f1Of(c.Expected, c.Predicted, c.Classes)(ones(n)), c.F1, 1e-12)
		// Upstream's multiclass input is scaled to sum to one in double precision, which may
		// part a tie or two.
		same(t, "auc", aucOf(c.Expected, c.Probability, c.Classes)(ones(n)), c.AUC, map[bool]float64{true: 1e-12, false: 1e-4}[c.Classes == 2])
	}
	in := &Input{Task: TaskRegression, Rows: make([]int64, len(ref.Regression.Expected)), ExpectedValues: ref.Regression.Expected}
	abs, square := in.errors(&Answered{Values: ref.Regression.Answered}, 0, 1)
	same(t, "mae", meanOf(abs)(ones(len(abs))), ref.Regression.MAE, 1e-12)
	same(t, "rmse", rootOf(square)(ones(len(abs))), ref.Regression.RMSE, 1e-12)
}

func TestIntervalsAndTestsAsSciPy(t *testing.T) {
	ref := readReference(t)
	for _, c := range ref.Wilson {
		low, high := Wilson(c.Hits, c.N)
		same(t, "wilson low", low, c.Low, 1e-9)
		same(t, "wilson high", high, c.High, 1e-9)
	}
	for _, c := range ref.McNemar {
		same(t, "mcnemar", McNemar(c.Gained, c.Lost), c.P, 1e-9)
	}
	p := permutation(chance(1, "test"), len(ref.Permutation.A), 1, meansSwapped(ref.Permutation.A, ref.Permutation.B))
	same(t, "permutation", p, ref.Permutation.P, 4*math.Sqrt(ref.Permutation.P/9999)) // four standard errors of the draw
}
