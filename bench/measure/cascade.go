package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/route"
)

// escalationMax of the cascade that is measured.
const escalationMax = 0.3

// measureCascade: what a cascade of a student that has seen 150 labels and its teacher gives
// on rows that nothing was learned or chosen on. The threshold is learned on validation
// rows alone, by what the controller of routes learns with; all numbers are of test rows.
func measureCascade(ctx context.Context, b *bench) (err error) {
	file := b.answers
	if _, serr := os.Stat(file); file == "" || serr != nil {
		w, err := newWorkshop(b)
		if err != nil {
			return err
		}
		defer os.RemoveAll(w.dir)
		file = filepath.Join(w.dir, "answers.csv")
		if err := w.cascade(ctx, file); err != nil {
			return err
		}
	}
	seeds, err := readAnswers(file)
	if err != nil {
		return err
	}
	var small, large, cascade, on, mix, gain, expected []float64
	for _, seed := range sortedKeys(seeds) {
		s := seeds[seed]
		l, err := route.Learn(s["validation"], route.Goal{Escalation: escalationMax}, route.Costs{}, route.Seed)
		if err != nil {
			return fmt.Errorf("seed %s: %w", seed, err)
		}
		m := apply(s["test"], l.Threshold)
		small, large = append(small, m.small), append(large, m.large)
		cascade, on, mix = append(cascade, m.cascade), append(on, m.on), append(mix, m.mix)
		gain, expected = append(gain, 100*(m.cascade-m.mix)), append(expected, l.Expected.Quality)
	}
	add := func(what, unit string, runs []float64, note string) {
		b.add("digits, cascade: "+what, unit, runs, fmt.Sprintf("mean %.4f%s", mean(runs), note))
	}
	add("student of 150 labels alone", "accuracy", small, "")
	add("teacher alone", "accuracy", large, "")
	add("student, and teacher when it is not sure", "accuracy", cascade, "; must reach a mean of 0.965")
	add("share of rows that went on", "of the rows", on, "; at most 0.30")
	add("random mix at the same cost", "accuracy", mix, "")
	add("cascade above the mix", "points", gain, "; must reach a mean of 3")
	add("accuracy that was expected by cross-fitting on the validation rows", "accuracy", expected, "")
	return nil
}

// measured are shares of one seed's test rows.
type measured struct{ small, large, cascade, on, mix float64 }

// apply sends on what is below a threshold.
func apply(rows []route.Sample, threshold float64) measured {
	var m measured
	n := float64(len(rows))
	for _, r := range rows {
		right := r.Specialist
		if r.Margin < threshold {
			m.on += 1 / n
			right = r.General
		}
		for _, one := range []struct {
			is bool
			to *float64
		}{{r.Specialist, &m.small}, {r.General, &m.large}, {right, &m.cascade}} {
			if one.is {
				*one.to += 1 / n
			}
		}
	}
	m.mix = m.small + m.on*(m.large-m.small)
	return m
}

// readAnswers reads what both models have answered: seed, split, row, label, the student's
// probability of each class, the teacher's. The result is by seed and split.
func readAnswers(file string) (map[string]map[string][]route.Sample, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading answers: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil || len(head) < 8 || len(head)%2 != 0 {
		return nil, fmt.Errorf("%s: the first line must be seed, split, row, label, and two probabilities of each class (%v)", file, err)
	}
	classes := (len(head) - 4) / 2
	out := map[string]map[string][]route.Sample{}
	for {
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		label, err := strconv.Atoi(line[3])
		if err != nil {
			return nil, fmt.Errorf("%s: label %q is no number of a class", file, line[3])
		}
		s, err := likeliest(line[4:4+classes], line[4+classes:])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		seed, split := line[0], line[1]
		if out[seed] == nil {
			out[seed] = map[string][]route.Sample{}
		}
		out[seed][split] = append(out[seed][split], route.Sample{
			Margin: s[0].Margin, Specialist: s[0].Class == label, General: s[1].Class == label, Agree: s[0].Class == s[1].Class,
		})
	}
}

// likeliest reads both models' probabilities of one row.
func likeliest(both ...[]string) (out [2]infer.Row, err error) {
	for i, texts := range both {
		p := make([]float64, len(texts))
		for c, text := range texts {
			if p[c], err = strconv.ParseFloat(text, 64); err != nil {
				return out, fmt.Errorf("probability %q is no number", text)
			}
		}
		out[i] = infer.Likeliest(p)
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
