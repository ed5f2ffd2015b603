package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"polder.dev/polder/model/sheet"
	"polder.dev/polder/recipes"
)

// python is the distribution's own, with its torch: what the runtime pytorch-cpu holds.
const python = "/usr/bin/python3"

// digitsFile is the data, and digitsLabel the column of the digit.
const (
	digitsFile  = "examples/data/digits/digits.csv"
	digitsLabel = 64
)

// Networks: the teacher of 151,306 parameters, and the student of 2,410.
var (
	largeNet = []string{"net=conv", "channels=32,64", "hidden=128", "dropout=0.3", "epochs=20"}
	smallNet = []string{"net=mlp", "hidden=32"}
)

// measureDistil: what students of the digits reach, with few labels and with none, by the
// recipes as they are in jobs. Each seed has rows to judge by of its own, which no model
// has seen. With -answers it writes what a cascade is learned from, instead.
func measureDistil(ctx context.Context, b *bench) error {
	w, err := newWorkshop(b)
	if err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if b.answers != "" {
		return w.cascade(ctx, b.answers)
	}
	labels := []int{50, 150, 200, -1}
	var teacher, student []float64
	few := map[int][]float64{}
	for seed := 1; seed <= 5; seed++ {
		s, err := w.split(seed, []float64{0.2}, "train", "held")
		if err != nil {
			return err
		}
		large, err := w.learn(ctx, s, "large", "teacher", "train", "held", largeNet...)
		if err != nil {
			return err
		}
		answers := s.at("answers")
		if _, err := w.run(ctx, "answer", answers, map[string]string{"teacher": s.at("large"), "data": s.at("data-unlabelled")}, seed, "made=mixup"); err != nil {
			return err
		}
		small, err := w.run(ctx, "logits", s.at("small"), map[string]string{"answers": answers, "data": s.at("data-unlabelled"), "held": s.at("data-held")}, seed, append([]string{"epochs=60"}, smallNet...)...)
		if err != nil {
			return err
		}
		teacher, student = append(teacher, large), append(student, small)
		for _, n := range labels {
			v, err := w.learn(ctx, s, fmt.Sprintf("few%d", n), "teacher", "train", "held", append([]string{"labels=" + strconv.Itoa(n), "epochs=200", "lr=0.003"}, smallNet...)...)
			if err != nil {
				return err
			}
			few[n] = append(few[n], v)
		}
	}
	b.add("digits: teacher of 151,306 parameters, all labels of the rows to learn from", "accuracy", teacher, "")
	b.add("digits: student of 2,410 parameters, no labels, taught by it", "accuracy", student, fmt.Sprintf("mean %.4f; must reach a mean of 0.96", mean(student)))
	for _, n := range labels {
		name := fmt.Sprintf("%d labels", n)
		if n < 0 {
			name = "all labels"
		}
		b.add("digits: the same student, "+name+", no teacher", "accuracy", few[n], fmt.Sprintf("mean %.4f", mean(few[n])))
	}
	return nil
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// workshop is where recipes run.
type workshop struct{ dir, programs string }

func newWorkshop(b *bench) (*workshop, error) {
	if out, err := exec.Command(python, "-c", "import torch, numpy").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s cannot learn: %w: %s; install python3-torch", python, err, out)
	}
	dir, err := os.MkdirTemp("", "distil")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: dir, programs: filepath.Join(dir, "recipes")}
	return w, os.CopyFS(w.programs, recipes.Files)
}

// place is where what belongs to one seed lies.
type place struct {
	dir  string
	seed int
	rows map[string]*sheet.Sheet
}

func (p *place) at(name string) string { return filepath.Join(p.dir, name) }

// split parts the digits by a seed into the first name and one for each part.
func (w *workshop) split(seed int, parts []float64, names ...string) (*place, error) {
	f, err := os.Open(digitsFile)
	if err != nil {
		return nil, fmt.Errorf("the digits are read where the repository lies: %w", err)
	}
	defer f.Close()
	all, err := sheet.Read(f)
	if err != nil {
		return nil, err
	}
	sheets, err := all.Split(digitsLabel, parts, uint64(seed))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(w.dir, fmt.Sprintf("seed%d-", seed))
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, seed: seed, rows: map[string]*sheet.Sheet{}}
	for i, n := range append(names, "unlabelled") {
		s := &sheet.Sheet{}
		if n == "unlabelled" {
			for _, r := range sheets[0].Rows {
				s.Rows = append(s.Rows, r[:digitsLabel])
			}
		} else {
			s = sheets[i]
		}
		p.rows[n] = s
		if err := writeSheet(filepath.Join(p.at("data-"+n), n+".csv"), s); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func writeSheet(path string, s *sheet.Sheet) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(s.Write(f), f.Close())
}

// learn trains on the rows called train, and returns the accuracy on those called held.
func (w *workshop) learn(ctx context.Context, p *place, out, recipe, train, held string, parameters ...string) (float64, error) {
	return w.run(ctx, recipe, p.at(out), map[string]string{"data": p.at("data-" + train), "held": p.at("data-" + held)}, p.seed, parameters...)
}

// run runs a recipe, whose output is out, and returns the accuracy that it tells last.
func (w *workshop) run(ctx context.Context, recipe, out string, data map[string]string, seed int, parameters ...string) (float64, error) {
	work, err := os.MkdirTemp(w.dir, recipe)
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(filepath.Join(work, "data"), 0o755); err != nil {
		return 0, err
	}
	for name, dir := range data {
		if err := os.Symlink(dir, filepath.Join(work, "data", name)); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, python, recipe+".py")
	cmd.Dir = w.programs
	cmd.Env = append(os.Environ(), "POLDER_DATA_DIR="+filepath.Join(work, "data"), "POLDER_CHECKPOINT_DIR="+filepath.Join(work, "checkpoints"),
		"POLDER_OUTPUT_DIR="+out, "POLDER_METRICS_FILE="+filepath.Join(work, "metrics.jsonl"), "POLDER_PARAM_SEED="+strconv.Itoa(seed))
	for _, s := range parameters {
		name, value, _ := strings.Cut(s, "=")
		cmd.Env = append(cmd.Env, "POLDER_PARAM_"+strings.ToUpper(name)+"="+value)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", recipe, err, text)
	}
	text, err := os.ReadFile(filepath.Join(work, "metrics.jsonl"))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var last struct{ Metrics map[string]float64 }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		return 0, fmt.Errorf("reading what %s tells last: %w", recipe, err)
	}
	return last.Metrics["test_accuracy"], nil
}

// cascade writes what a student that has seen 150 labels and its teacher answer to rows
// that neither has seen: validation, to choose a threshold by, and test. Five seeds, one
// file: seed, split, row, label, the student's probability of each digit, the teacher's.
func (w *workshop) cascade(ctx context.Context, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := csv.NewWriter(f)
	head := []string{"seed", "split", "row", "label"}
	for _, who := range []string{"small", "large"} {
		for c := range 10 {
			head = append(head, fmt.Sprintf("%s_%d", who, c))
		}
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for seed := 1; seed <= 5; seed++ {
		p, err := w.split(seed, []float64{0.2, 0.2}, "train", "test", "validation")
		if err != nil {
			return err
		}
		if _, err := w.learn(ctx, p, "large", "teacher", "train", "test", largeNet...); err != nil {
			return err
		}
		if _, err := w.learn(ctx, p, "small", "teacher", "train", "test", append([]string{"labels=150", "epochs=200", "lr=0.003"}, smallNet...)...); err != nil {
			return err
		}
		for _, split := range []string{"validation", "test"} {
			if err := w.scores(ctx, out, p, split); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// scores writes what both models answer to the rows of a split.
func (w *workshop) scores(ctx context.Context, out *csv.Writer, p *place, split string) error {
	var both [2][][]string
	for i, who := range []string{"small", "large"} {
		to := p.at("scores-" + who + "-" + split)
		if _, err := w.run(ctx, "answer", to, map[string]string{"teacher": p.at(who), "data": p.at("data-" + split)}, p.seed, "csv=1", "data_label=65"); err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(to, "scores.csv"))
		if err != nil {
			return err
		}
		rows, err := csv.NewReader(f).ReadAll()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		both[i] = rows
	}
	for n, r := range p.rows[split].Rows {
		line := []string{strconv.Itoa(p.seed), split, strconv.Itoa(n), r[digitsLabel]}
		if err := out.Write(append(append(line, both[0][n]...), both[1][n]...)); err != nil {
			return err
		}
	}
	return nil
}
