package advice

import (
	"slices"
	"strings"
	"testing"
)

// pair is an evaluation of a specialist that is a tenth as dear.
func pair(verdict string) *Pair {
	return &Pair{
		Evaluation: "ev", Specialist: "small", General: "big", Metric: "accuracy", Quality: [2]float64{0.96, 0.98},
		Difference: -0.02, Low: -0.04, High: 0, Verdict: verdict, Seconds: [2]float64{0.0001, 0.001}, Cost: [2]float64{0.1, 1}, Margins: true,
	}
}

func none() Facts {
	return Facts{Rows: Unknown, Labelled: Unknown, Held: Unknown, Classes: Unknown, PerDay: Unknown, Hours: Unknown}
}

func TestGive(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *Facts)
		choice Choice
		says   string
	}{
		"nothing is known": {func(*Facts) {}, Evaluate, "Nothing is known"},
		"too few to judge": {func(f *Facts) { f.Rows, f.Labelled, f.Classes = 1000, 60, 2 }, Label, "too few labels"},
		"all labels":       {func(f *Facts) { f.Rows, f.Labelled, f.Classes, f.Teacher = 1797, 1797, 10, true }, Train, "will not help: you have all labels"},
		"few labels and a teacher": {func(f *Facts) { f.Rows, f.Labelled, f.Held, f.Classes, f.Teacher = 5000, 500, 400, 10, true },
			Distil, "have no labels"},
		"few labels and no teacher": {func(f *Facts) { f.Rows, f.Labelled, f.Held, f.Classes = 5000, 500, 400, 10 }, Label, "no model that could teach"},
		"some labels":               {func(f *Facts) { f.Rows, f.Labelled, f.Classes = 2000, 800, 2 }, Train, "Train a specialist"},
		"better":                    {func(f *Facts) { f.Pair = pair("better") }, Specialist, "significantly better"},
		"no difference":             {func(f *Facts) { f.Pair = pair("none") }, Specialist, "No significant difference"},
		"no difference and dearer":  {func(f *Facts) { f.Pair = pair("none"); f.Pair.Cost = [2]float64{2, 1} }, General, "costs more"},
		"worse, nothing learned":    {func(f *Facts) { f.Pair = pair("worse") }, Cascade, "may be"},
		"worse, no margins":         {func(f *Facts) { f.Pair = pair("worse"); f.Pair.Margins = false }, General, "how sure"},
		"worse, cascade wins": {func(f *Facts) {
			f.Pair, f.Route = pair("worse"), &Route{"r", 0.969, 0.289, 0.935, "better"}
		}, Cascade, "29 %"},
		"worse, mix wins": {func(f *Facts) { f.Pair, f.Route = pair("worse"), &Route{"r", 0.93, 0.289, 0.935, "none"} }, General, "not better than sending"},
	} {
		t.Run(name, func(t *testing.T) {
			f := none()
			tc.change(&f)
			a := Give(f)
			if a.Choice != tc.choice || !strings.Contains(a.Summary, tc.says) {
				t.Errorf("it advises %s: %s; want %s, %q", a.Choice, a.Summary, tc.choice, tc.says)
			}
			if len(a.Reasons) == 0 && len(a.Unknown) == 0 {
				t.Error("it says neither why nor what is not known")
			}
		})
	}
}

// TestSavings: what goes on to the general model costs both.
func TestSavings(t *testing.T) {
	f := none()
	f.Pair, f.PerDay = pair("none"), 10_000
	if a := Give(f); !slices.Contains(a.Reasons, "at 10000 requests a day that saves 9 a day") {
		t.Errorf("%q", a.Reasons)
	}
	f.Pair, f.Route = pair("worse"), &Route{"r", 0.969, 0.3, 0.935, "better"}
	if a := Give(f); !slices.Contains(a.Reasons, "1,000 requests cost 0.4, with the general model 1") {
		t.Errorf("%q", a.Reasons)
	}
}
