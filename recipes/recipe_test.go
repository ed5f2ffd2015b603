//go:build torch

package recipes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// python is the distribution's own, whose torch is what the runtime pytorch-cpu has.
const python = "/usr/bin/python3"

// place is where one recipe runs: as a worker finds it.
type place struct {
	t   *testing.T
	dir string
	env []string
}

// at makes a place with data: sources by name, each a directory, or a file's text by NAME/FILE.
func at(t *testing.T, data map[string]string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), env: []string{"PYTHONDONTWRITEBYTECODE=1"}}
	for name, what := range data {
		to := filepath.Join(p.dir, "data", name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name, "/") {
			if err := os.Symlink(what, to); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(to, []byte(what), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *place) command(recipe string, parameters ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), python, recipe+".py")
	cmd.Env = append(os.Environ(), p.env...)
	for k, v := range map[string]string{"DATA_DIR": "data", "CHECKPOINT_DIR": "checkpoints", "OUTPUT_DIR": "output", "METRICS_FILE": "metrics/metrics.jsonl"} {
		cmd.Env = append(cmd.Env, "POLDER_"+k+"="+filepath.Join(p.dir, v))
	}
	for _, s := range parameters {
		cmd.Env = append(cmd.Env, "POLDER_PARAM_"+s)
	}
	return cmd
}

// run runs a recipe, which must end well, and returns its final figures.
func (p *place) run(recipe string, parameters ...string) map[string]float64 {
	p.t.Helper()
	if out, err := p.command(recipe, parameters...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", recipe, err, out)
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "metrics/metrics.jsonl"))
	if err != nil {
		p.t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	var last struct {
		Event   string
		Metrics map[string]float64
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Event != "end" {
		p.t.Fatalf("%s: the last line of the metrics is %s: %v", recipe, lines[len(lines)-1], err)
	}
	return last.Metrics
}

// fails runs a recipe that must refuse, in one sentence with these words and no traceback.
func (p *place) fails(want, recipe string, parameters ...string) {
	p.t.Helper()
	out, err := p.command(recipe, parameters...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "Traceback") {
		p.t.Errorf("%s %v: %v, want %q:\n%s", recipe, parameters, err, want, out)
	}
}

func (p *place) output() string { return filepath.Join(p.dir, "output") }

func (p *place) file(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.output(), name))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// digits parts the images: each fifth is judged by.
func digits(t *testing.T) (train, held string) {
	t.Helper()
	b, err := os.ReadFile("../examples/data/digits/digits.csv")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.SplitAfter(string(b), "\n") {
		if i%5 == 4 {
			held += line
		} else {
			train += line
		}
	}
	return train, held
}

// TestATeacherAndItsStudent: the student sees no label and is nearly as good, and both
// leave what can be served.
func TestATeacherAndItsStudent(t *testing.T) {
	train, held := digits(t)
	teacher := at(t, map[string]string{"data/d.csv": train, "held/d.csv": held})
	if m := teacher.run("teacher", "NET=conv", "HIDDEN=128", "EPOCHS=10"); m["test_accuracy"] < 0.965 || m["parameters"] != 151306 {
		t.Fatalf("the teacher's figures are %v", m)
	}
	unlabelled := ""
	for line := range strings.Lines(train) {
		unlabelled += line[:strings.LastIndex(line, ",")] + "\n"
	}
	answers := at(t, map[string]string{"teacher": teacher.output(), "data/d.csv": unlabelled})
	if m := answers.run("answer", "MADE=mixup,shift", "BLOCK=4000"); m["answers"] != 1438*9 {
		t.Fatalf("there are %v", m)
	}
	if m := answers.run("answer", "MADE=mixup,shift", "BLOCK=4000"); m["answers_kept"] != 1438*9 {
		t.Errorf("answers are given again: %v", m)
	}
	student := at(t, map[string]string{"answers": answers.output(), "data/d.csv": unlabelled, "held/d.csv": held})
	if m := student.run("logits", "EPOCHS=25"); m["test_accuracy"] < 0.95 || m["parameters"] != 2410 || m["labels"] != 0 {
		t.Errorf("the student's figures are %v", m)
	}
	var about struct {
		Serving struct {
			Task   string
			Labels []string
		}
	}
	if err := json.Unmarshal(student.file("model.json"), &about); err != nil || about.Serving.Task != "classification" || len(about.Serving.Labels) != 10 {
		t.Errorf("model.json says %+v, %v", about, err)
	}
	if len(student.file("model.onnx")) < 2410*4 || len(student.file("model.safetensors")) < 2410*4 {
		t.Error("the weights are not there")
	}
	student.fails("the data has no labels", "logits", "LABELS=10")
}

// TestKilledInTheMiddle: a job that is killed and started again ends with the same weights
// as one that was not.
func TestKilledInTheMiddle(t *testing.T) {
	train, held := digits(t)
	data := map[string]string{"data/d.csv": train, "held/d.csv": held}
	whole := at(t, data)
	whole.run("teacher", "EPOCHS=12")
	broken := at(t, data)
	cmd := broken.command("teacher", "EPOCHS=12")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if found, _ := filepath.Glob(filepath.Join(broken.dir, "checkpoints/epoch-00004.pt.sha256")); len(found) > 0 {
			break
		}
		if cmd.ProcessState != nil || t.Context().Err() != nil {
			t.Fatal("it ended before its fourth epoch")
		}
		time.Sleep(5 * time.Millisecond) // looks again at a condition
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	broken.run("teacher", "EPOCHS=12")
	if !bytes.Equal(whole.file("model.safetensors"), broken.file("model.safetensors")) {
		t.Error("the weights differ")
	}
	b, err := os.ReadFile(filepath.Join(broken.dir, "metrics/metrics.jsonl"))
	if err != nil || !strings.Contains(string(b), `"resumed_from": `) || strings.Count(string(b), `"event": "start"`) != 2 {
		t.Errorf("the metrics do not tell of it: %v", err)
	}
}

// TestTwoWorkers: they learn together, and one of them leaves the model.
func TestTwoWorkers(t *testing.T) {
	train, held := digits(t)
	p := at(t, map[string]string{"data/d.csv": train, "held/d.csv": held})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	p.env = append(p.env, "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", fmt.Sprintf("MASTER_PORT=%d", port))
	other := p.command("teacher", "EPOCHS=8")
	other.Env = append(other.Env, "RANK=1")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "RANK=0")
	if m := p.run("teacher", "EPOCHS=8"); m["test_accuracy"] < 0.9 {
		t.Errorf("together they reach %v", m)
	}
	if err := other.Wait(); err != nil {
		t.Errorf("the other worker: %v", err)
	}
}

func TestModelsGoOnLearning(t *testing.T) {
	train, held := digits(t)
	data := map[string]string{"data/d.csv": train, "held/d.csv": held}
	first := at(t, data)
	was := first.run("teacher", "EPOCHS=2", "LABELS=100")["test_accuracy"]
	data["from"] = first.output()
	for _, recipe := range []string{"finetune", "lora"} {
		m := at(t, data).run(recipe, "EPOCHS=15", "LR=0.002")
		if m["before_accuracy"] != was || m["test_accuracy"] < was+0.05 {
			t.Errorf("%s: from %v to %v", recipe, was, m)
		}
		if recipe == "lora" && m["parameters_learned"] > m["parameters"]/3 || recipe == "finetune" && m["parameters_learned"] != m["parameters"] {
			t.Errorf("%s: learned %v of %v parameters", recipe, m["parameters_learned"], m["parameters"])
		}
	}
}

// TestNumbersGoOnLearning: a model of numbers, which nobody has to tell what its task is.
func TestNumbersGoOnLearning(t *testing.T) {
	var table strings.Builder
	for i := range 400 {
		a, b := float64(i%20), float64(i/20)
		fmt.Fprintf(&table, "%g,%g,%g\n", a, b, 3*a-b*b/4)
	}
	data := map[string]string{"data/t.csv": table.String()}
	first := at(t, data)
	was := first.run("teacher", "TASK=regression", "EPOCHS=2", "LABELS=50")["test_mae"]
	data["from"] = first.output()
	for _, recipe := range []string{"finetune", "lora"} {
		if m := at(t, data).run(recipe, "EPOCHS=20", "LR=0.003"); m["before_mae"] != was || m["test_mae"] > was/2 {
			t.Errorf("%s: from %v to %v", recipe, was, m)
		}
	}
}

// TestAPolicyGoesOn: from a model that classifies, with rows that have no label.
func TestAPolicyGoesOn(t *testing.T) {
	train, held := digits(t)
	first := at(t, map[string]string{"data/d.csv": train, "held/d.csv": held})
	first.run("teacher", "EPOCHS=1", "LABELS=100")
	bare := func(table string) string {
		var out strings.Builder
		for line := range strings.Lines(table) {
			out.WriteString(line[:strings.LastIndex(line, ",")] + "\n")
		}
		return out.String()
	}
	program := "def reward(row, label, action):\n    assert label is None\n    return float(action == ('1' if sum(row[:32]) > sum(row[32:]) else '0'))\n"
	p := at(t, map[string]string{"from": first.output(), "data/d.csv": bare(train), "data/judge.py": program, "held/d.csv": bare(held)})
	if m := p.run("reinforce", "REWARD=judge.py", "EPOCHS=12", "LR=0.01"); m["test_reward"] < 0.7 || m["test_reward"] <= m["before_reward"] || m["test_reward"] <= m["test_constant_reward"] {
		t.Errorf("rewards are %v", m)
	}
	p.fails("leave actions out", "reinforce", "REWARD=judge.py", "ACTIONS=a,b")
}

// TestRewards: a policy learns from a program that rewards, which is not about labels.
func TestRewards(t *testing.T) {
	train, held := digits(t)
	program := "def reward(row, label, action):\n    return 1.0 if (int(label) % 2 == 1) == (action == 'odd') else -0.5\n"
	p := at(t, map[string]string{"data/d.csv": train, "data/judge.py": program, "held/d.csv": held})
	if m := p.run("reinforce", "REWARD=judge.py", "ACTIONS=odd,even", "EPOCHS=15"); m["test_reward"] < 0.75 || m["test_constant_reward"] > 0.4 {
		t.Errorf("rewards are %v", m)
	}
	bad := at(t, map[string]string{"data/d.csv": train, "data/judge.py": "def reward(row, label, action):\n    return float('nan')\n"})
	bad.fails("finite numbers", "reinforce", "REWARD=judge.py", "ACTIONS=a,b", "EPOCHS=1")
}

// endpoint speaks OpenAI's API, as badly as some do.
type endpoint struct {
	mu     sync.Mutex
	asked  map[string]int
	broken bool
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var q struct{ Messages []struct{ Content string } }
	if json.Unmarshal(b, &q) != nil || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer hush" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	text := q.Messages[len(q.Messages)-1].Content
	e.mu.Lock()
	e.asked[text]++
	n, all := e.asked[text], len(e.asked)
	broken := e.broken
	e.mu.Unlock()
	switch {
	case broken && all > 60:
		http.Error(w, "overloaded", http.StatusServiceUnavailable)
	case n == 1 && all%7 == 0:
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case n == 1 && all%11 == 0:
		fmt.Fprint(w, "<html>")
	case n == 1 && all%13 == 0:
		<-r.Context().Done() // until the client has had enough
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{"message": map[string]any{"content": "the answer to " + text + " is " + strings.ToUpper(text)}}}})
	}
}

// TestAnEndpointThatFails: what was answered is kept when the job dies, and not asked for
// again; a student learns to write from it.
func TestAnEndpointThatFails(t *testing.T) {
	e := &endpoint{asked: map[string]int{}, broken: true}
	s := httptest.NewServer(e)
	defer s.Close()
	var prompts strings.Builder
	for _, a := range []string{"red", "blue", "old", "new", "big", "sad", "odd", "raw", "dry", "wet"} {
		for _, b := range []string{"house", "river", "stone", "garden", "window", "table", "lamp", "road", "bridge", "cloud"} {
			prompts.WriteString(a + " " + b + "\n")
		}
	}
	p := at(t, map[string]string{"data/prompts.txt": prompts.String()})
	p.env = append(p.env, "TEACHER_KEY=hush")
	parameters := []string{"URL=" + s.URL + "/v1", "MODEL=m", "TIMEOUT=1", "TRIES=2"}
	p.fails("the teacher does not answer: after 2 tries", "ask", parameters...)
	e.mu.Lock()
	e.broken = false
	e.mu.Unlock()
	m := p.run("ask", parameters...)
	if m["answers"] != 100 || m["answers_kept"] < 20 {
		t.Fatalf("there are %v", m)
	}
	again := 0
	for _, n := range e.asked {
		again += n - 1
	}
	if again > 60 {
		t.Errorf("%d questions were asked again", again)
	}
	for _, f := range []string{"answers.ndjson", "answers.json"} {
		if bytes.Contains(p.file(f), []byte("hush")) {
			t.Errorf("%s tells the key", f)
		}
	}
	writer := at(t, map[string]string{"answers": p.output()})
	if m := writer.run("sequence", "EPOCHS=20"); m["test_accuracy"] < 0.7 || m["test_majority_accuracy"] > 0.3 {
		t.Errorf("the writer's figures are %v", m)
	}
	// What has learned to write teaches in turn.
	second := at(t, map[string]string{"teacher": writer.output(), "data/prompts.txt": "red lamp\nwet stone\n"})
	if m := second.run("ask", "MAX_TOKENS=60"); m["answers"] != 2 || !bytes.Contains(second.file("answers.ndjson"), []byte("the answer")) {
		t.Errorf("it writes %s", second.file("answers.ndjson"))
	}
	refused := at(t, map[string]string{"data/prompts.txt": "x\n"})
	refused.fails("answers 403", "ask", parameters...)
}

// TestSequencesAreFiltered: by each of the reasons there are.
func TestSequencesAreFiltered(t *testing.T) {
	var b strings.Builder
	b.WriteString("prompt,answer\n")
	for i := range 30 {
		fmt.Fprintf(&b, "question about %c%c,an answer about %c\n", 'a'+i%26, 'a'+i/26, 'a'+i%26)
	}
	b.WriteString("question about aa,\n")
	b.WriteString("question about AA,An Answer about a!\n")
	b.WriteString("question about zz,SECRET\n")
	b.WriteString("question about yy," + strings.Repeat("long ", 30) + "\n")
	m := at(t, map[string]string{"data/d.csv": b.String()}).run("sequence", "EPOCHS=1", "REFUSE=SECRET", "LONGEST=100")
	if m["answers"] != 30 || m["dropped"] != 4 {
		t.Errorf("%v", m)
	}
}

// TestSimpleControlsWin: a series that nothing but its season explains.
func TestSimpleControlsWin(t *testing.T) {
	var b strings.Builder
	b.WriteString("lag_0,season_mean,label\n")
	state := uint64(1)
	for range 400 {
		state = state*6364136223846793005 + 1442695040888963407
		mean := float64(state>>33%7) * 10
		state = state*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%d,%v,%v\n", state>>40%50, mean, mean)
	}
	p := at(t, map[string]string{"data/d.csv": b.String()})
	if m := p.run("teacher", "TASK=forecast", "EPOCHS=1", "CONTROLS=persistence=lag_0,seasonal=season_mean"); m["test_seasonal_mae"] != 0 || m["test_mae"] <= 0 {
		t.Errorf("%v", m)
	}
	if !strings.Contains(string(p.file("README.md")), "seasonal") || !strings.Contains(string(p.file("README.md")), "Use the control") {
		t.Errorf("the model says of itself:\n%s", p.file("README.md"))
	}
}

// TestNoiseIsNotLearned: labels that nothing explains, half of whose models have an AUC above 0.5.
func TestNoiseIsNotLearned(t *testing.T) {
	for seed := uint64(1); seed < 4; seed++ {
		chance := rand.New(rand.NewPCG(seed, 0))
		var b strings.Builder
		b.WriteString("a;b;label\n") // and parted by semicolons
		for range 200 {
			fmt.Fprintf(&b, "%.4f;%.4f;%s\n", chance.Float64(), chance.Float64(), []string{"no", "yes"}[chance.IntN(4)/3])
		}
		m := at(t, map[string]string{"data/d.csv": b.String()}).run("teacher", "EPOCHS=1", "HIDDEN=4")
		if !(m["test_auc_low"] < m["test_auc"] && m["test_auc_low"] < 0.5) || m["test_accuracy"] > m["test_majority_accuracy"] {
			t.Errorf("seed %d: %v", seed, m)
		}
	}
}

// TestAStudentOfNumbers: values are taught as classes are.
func TestAStudentOfNumbers(t *testing.T) {
	var train, held strings.Builder
	for i := range 600 {
		a, b := float64(i*37%101)/10, float64(i*53%89)/10
		w := &train
		if i%5 == 4 {
			w = &held
		}
		fmt.Fprintf(w, "%v,%v,%v\n", a, b, 2*a-b+50)
	}
	data := map[string]string{"data/d.csv": train.String(), "held/d.csv": held.String()}
	teacher := at(t, data)
	teacher.run("teacher", "TASK=regression", "EPOCHS=60")
	answers := at(t, map[string]string{"teacher": teacher.output(), "data/d.csv": train.String()})
	answers.run("answer", "MADE=noise", "TIMES=1")
	data["answers"] = answers.output()
	if m := at(t, data).run("logits", "HIDDEN=16", "EPOCHS=80"); m["test_mae"] > 0.8 || m["test_mean_mae"] < 4 {
		t.Errorf("the student's figures are %v", m)
	}
}

func TestBadInput(t *testing.T) {
	sound := "a,b,label\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n9,1,x\n2,3,y\n1,9,x\n4,4,y\n3,3,x\n8,1,y\n"
	for name, tc := range map[string]struct {
		table, parameter, want string
	}{
		"empty":             {"", "", "the table is empty"},
		"names alone":       {"a,b,label\n", "", "the table is empty"},
		"a word":            {"a,b,label\n1,2,x\n3,four,y\n", "", "row 1, column b: 'four' is not a number"},
		"not a number":      {"a,b,label\n1,nan,x\n", "", "is not a number"},
		"ragged":            {"a,b,label\n1,2,x\n3,y\n", "", "row 1 has 2 columns"},
		"one label":         {"a,b,label\n1,2,x\n3,4,x\n", "HOLD=0.5", "the only label is 'x'"},
		"label missing":     {sound + "1,2,\n", "", "empty cells"},
		"no such column":    {sound, "DATA_LABEL=nope", "there is no column 'nope'"},
		"no such file":      {sound, "DATA_FILE=other.csv", "there is no other.csv"},
		"outside":           {sound, "DATA_FILE=../../x.csv", "there is no ../../x.csv"},
		"epochs":            {sound, "EPOCHS=0", "parameter epochs: 0 must be at least 1"},
		"lr":                {sound, "LR=much", "parameter lr: 'much' is not of type float"},
		"lr without bounds": {sound, "LR=nan", "parameter lr: nan is not a finite number"},
		"task":              {sound, "TASK=magic", "parameter task: 'magic' is not known"},
		"hidden":            {sound, "HIDDEN=3,x", "parameter hidden"},
		"picture":           {sound, "NET=conv", "no square picture"},
		"words as numbers":  {sound, "TASK=regression", "the label 'x' is not a number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := at(t, map[string]string{"data/d.csv": tc.table})
			p.fails(tc.want, "teacher", strings.Fields(tc.parameter)...)
			if found, _ := filepath.Glob(filepath.Join(p.output(), "*")); len(found) > 0 {
				t.Errorf("it left %v", found)
			}
		})
	}
}
