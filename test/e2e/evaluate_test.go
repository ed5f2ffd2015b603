//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

const evaluateLimit = 4 * time.Minute

// digitRows are the images of the example, and the lines that they are.
func digitRows(t testing.TB) (pixels [][]float32, labels []int, lines []string) {
	t.Helper()
	text, err := os.ReadFile("../../examples/data/digits/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(strings.TrimSpace(string(text)), "\n")
	all, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range all {
		var row []float32
		for _, s := range record {
			v, err := strconv.ParseFloat(s, 32)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, float32(v))
		}
		pixels, labels = append(pixels, row[:64]), append(labels, int(row[64]))
	}
	return pixels, labels, lines
}

// centroids is a classifier by the nearest mean image of a class, as a linear layer.
func centroids(pixels [][]float32, labels []int) []byte {
	means, count := make([][]float64, 10), make([]float64, 10)
	for i, row := range pixels {
		if means[labels[i]] == nil {
			means[labels[i]] = make([]float64, 64)
		}
		for j, v := range row {
			means[labels[i]][j] += float64(v)
		}
		count[labels[i]]++
	}
	w, b := make([]float32, 640), make([]float32, 10)
	for c, m := range means {
		b[c] = -1e6 // of a class that nobody has seen
		if m == nil {
			continue
		}
		b[c] = 0
		for j := range m {
			mean := m[j] / count[c]
			w[j*10+c] = float32(mean / 50) // scaled, so that logits are neither all nor nothing
			b[c] -= float32(mean * mean / 100)
		}
	}
	return infertest.Graph{
		Inputs:  []infertest.Value{{Name: "x", Type: infertest.Float, Shape: []int64{-1, 64}}},
		Outputs: []infertest.Value{{Name: infer.OutputLogits, Type: infertest.Float, Shape: []int64{-1, 10}}},
		Weights: []infertest.Weight{{Name: "w", Shape: []int64{64, 10}, Data: w}, {Name: "b", Shape: []int64{10}, Data: b}},
		Nodes: []infertest.Node{
			{Op: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"xw"}},
			{Op: "Add", Inputs: []string{"xw", "b"}, Outputs: []string{infer.OutputLogits}},
		},
	}.Bytes()
}

func (c *cloud) evaluation(t testing.TB, name string) *v1alpha1.Evaluation {
	t.Helper()
	var e v1alpha1.Evaluation
	if err := c.api(t).Get(brief(t), kube.Key("default", name), &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// TestEvaluate judges two models of the digits as a stranger would: the one that has seen
// more is better, the report comes back as a page and a picture, and the controllers are
// killed on the way.
func TestEvaluate(t *testing.T) {
	c := shared(t)
	pixels, labels, lines := digitRows(t)
	const seen = 1437
	c.onnx(t, "evaluate-more", centroids(pixels[:seen], labels[:seen]), `{"serving":{"task":"classification"}}`)
	c.onnx(t, "evaluate-few", centroids(pixels[:15], labels[:15]), `{"serving":{"task":"classification"}}`)
	dir := t.TempDir()
	held := write(t, filepath.Join(dir, "held.csv"), strings.Join(lines[seen:], "\n")+"\n")
	train := write(t, filepath.Join(dir, "train.csv"), strings.Join(lines[:seen], "\n")+"\n")
	c.must(t, "bucket", "create", "evaluate")
	c.must(t, "cp", held, "s3://evaluate/held/held.csv")
	c.must(t, "cp", train, "s3://evaluate/train/train.csv")
	data := []string{"--data", "s3://evaluate/held/held.csv", "--trained", "s3://evaluate/train/", "--memory", "512Mi"}

	out := c.must(t, append([]string{"evaluate", "evaluate-more", "--against", "evaluate-few", "--name", "judge", "--follow",
		"--require", "accuracy>=0.8", "--require", "accuracy>=evaluate-few", "--require", "latency_p99_seconds<=0.1", "--cost-per-hour", "0.1"}, data...)...)
	if !strings.Contains(out, "evaluate-more is better than evaluate-few") {
		t.Errorf("it says:\n%s", out)
	}
	e := c.evaluation(t, "judge")
	right := 0.0
	for i, row := range pixels[seen:] {
		if nearest(pixels[:seen], labels[:seen], row) == labels[seen+i] {
			right++
		}
	}
	if got, want := e.Status.Models[0].Metrics["accuracy"].Value, right/float64(len(lines)-seen); !e.Status.Passed || e.Status.Rows != int64(len(lines)-seen) {
		t.Errorf("status %+v", e.Status)
	} else if v, err := strconv.ParseFloat(got, 64); err != nil || v < want-0.006 || v > want+0.006 { // two rows: sums of another order may part ties
		t.Errorf("accuracy is %s, want %.4f", got, want)
	}
	t.Run("report", func(t *testing.T) { c.evaluationReport(t, e) })
	t.Run("not passed", func(t *testing.T) {
		c.says(t, 1, []string{"does not pass", "evaluate-few is worse than evaluate-more"},
			append([]string{"evaluate", "evaluate-few", "--against", "evaluate-more", "--name", "judge-few", "--follow", "--require", "accuracy>=evaluate-more"}, data...)...)
		if e := c.evaluation(t, "judge-few"); e.Status.State != v1alpha1.StateSucceeded || e.Status.Passed || len(e.Status.Unmet) != 1 {
			t.Errorf("status %+v", e.Status)
		}
	})
	t.Run("bad data", func(t *testing.T) {
		c.says(t, 1, []string{"held.csv: label: there is no column 99; there are 1 to 65"},
			"evaluate", "evaluate-more", "--name", "judge-bad", "--follow", "--data", "s3://evaluate/held/held.csv", "--label", "99")
	})
	t.Run("program", func(t *testing.T) { c.evaluateProgram(t, data) })
	t.Run("killed", func(t *testing.T) { c.evaluateKilled(t, data) })
	for _, args := range [][]string{{"evaluation", "ls"}, {"evaluation", "show", "judge"}} {
		if out := c.must(t, args...); !strings.Contains(out, "judge") || !strings.Contains(out, "Succeeded") {
			t.Errorf("polder %s:\n%s", strings.Join(args, " "), out)
		}
	}
	c.must(t, "evaluation", "rm", "judge")
}

// nearest is the class whose mean image is the nearest.
func nearest(pixels [][]float32, labels []int, row []float32) int {
	var sum [10][64]float64
	var count [10]float64
	for i, p := range pixels {
		for j, v := range p {
			sum[labels[i]][j] += float64(v)
		}
		count[labels[i]]++
	}
	best, least := -1, 0.0
	for k := range sum {
		d := 0.0
		for j, v := range row {
			x := float64(v) - sum[k][j]/count[k]
			d += x * x
		}
		if best < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

// evaluationReport fetches the report, which lies with the model, in each of its forms.
func (c *cloud) evaluationReport(t *testing.T, e *v1alpha1.Evaluation) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"r.json", "r.html", "r.png"} {
		c.must(t, "evaluation", "report", e.Name, "-o", file(name))
	}
	text, err := os.ReadFile(file("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Models []struct {
			Digest  string
			Answers struct {
				Margin  []float64
				Correct string
			}
		}
		Contamination *struct{ TrainRows int64 }
		Machine       struct{ Sandbox string }
	}
	if err := json.Unmarshal(text, &r); err != nil || len(r.Models) != 2 {
		t.Fatalf("%v: %.200s", err, text)
	}
	if r.Models[0].Digest != e.Status.Models[0].Model.Digest || len(r.Models[0].Answers.Margin) != int(e.Status.Rows) || r.Contamination == nil || r.Contamination.TrainRows != 1437 || r.Machine.Sandbox != "gvisor" {
		t.Errorf("report of %s with %d margins, contamination %+v, machine %+v", r.Models[0].Digest, len(r.Models[0].Answers.Margin), r.Contamination, r.Machine)
	}
	page, err := os.ReadFile(file("r.html"))
	if err != nil || !strings.Contains(string(page), "evaluate-more is better than evaluate-few") || !strings.Contains(string(page), "<svg") {
		t.Errorf("the page, %d bytes: %v", len(page), err)
	}
	f, err := os.Open(file("r.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 1000 {
		t.Errorf("the picture: %v", err)
	}
	if out := c.must(t, "evaluation", "report", e.Name); !json.Valid([]byte(out)) {
		t.Error("on the standard output it is no JSON")
	}
	c.says(t, 2, []string{"in English"}, "evaluation", "report", e.Name, "-o", file("zh.png"), "--lang", "zh")
}

// judgeProgram gives a point for a right answer, and half of one for a neighbour.
const judgeProgram = `import json, os, sys
assert not os.path.exists("/polder/models") and not os.path.exists("/polder/state"), "it sees what is not its own"
for line in sys.stdin:
    a = json.loads(line)
    far = abs(int(a["expected"]) - int(a["answer"]))
    print(json.dumps({"row": a["row"], "model": a["model"], "score": {0: 1, 1: 0.5}.get(far, 0)}))
`

// evaluateProgram has a program judge, and one that fails.
func (c *cloud) evaluateProgram(t *testing.T, data []string) {
	c.pytorch(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "judge.py"), judgeProgram)
	args := append([]string{"evaluate", "evaluate-more", "--against", "evaluate-few", "--follow", "--program-dir", dir}, data...)
	c.must(t, append(args, "--name", "judge-program", "--program", "python3 judge.py", "--require", "score>=0.8", "--require", "score>=evaluate-few")...)
	e := c.evaluation(t, "judge-program")
	if s, a := e.Status.Models[0].Metrics["score"], e.Status.Models[0].Metrics["accuracy"]; !e.Status.Passed || s.Low == "" || s.Value <= a.Value || len(e.Status.Comparisons) != 1 || e.Status.Comparisons[0].Test != "permutation" {
		t.Errorf("status %+v", e.Status)
	}
	c.says(t, 1, []string{"the program that judges ended with exit code 2", "No such file"}, append(args, "--name", "judge-nothing", "--program", "python3 nothing.py")...)
}

// evaluateKilled kills the controllers with SIGKILL while a pod judges.
func (c *cloud) evaluateKilled(t *testing.T, data []string) {
	c.must(t, append([]string{"evaluate", "evaluate-more", "--against", "evaluate-few", "--name", "judge-killed"}, data...)...)
	waitFor(t, evaluateLimit, "the Job of judge-killed", func(context.Context) error {
		if e := c.evaluation(t, "judge-killed"); len(e.Status.Models) == 0 {
			return fmt.Errorf("it is %+v", e.Status)
		}
		return nil
	})
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	controllers, err := s.component("controllers")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(controllers.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, evaluateLimit, "the end of judge-killed", func(ctx context.Context) error {
		var e v1alpha1.Evaluation
		if err := c.api(t).Get(ctx, kube.Key("default", "judge-killed"), &e); err != nil {
			return err
		}
		if e.Status.State == v1alpha1.StateSucceeded {
			return nil
		}
		return fmt.Errorf("it is %s: %s", e.Status.State, e.Status.Message)
	})
}
