package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"polder.dev/polder/model/eval"
)

// report judges three models of digits; names are the models'.
func report(t *testing.T, names ...string) *eval.Report {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	const n, k = 360, 10
	in := &eval.Input{Task: eval.TaskClassification, Seed: 1, CostPerHour: 0.12, Slices: []eval.Column{{Name: "scanner"}, {Name: "year"}}}
	in.Data = eval.Data{File: "held.csv", Label: "digit", Digest: "sha256:" + strings.Repeat("ab", 32)}
	for c := range k {
		in.Data.Classes = append(in.Data.Classes, fmt.Sprint(c))
	}
	for i := range n {
		in.Rows, in.Expected = append(in.Rows, int64(i)), append(in.Expected, r.IntN(k))
		in.Slices[0].Values = append(in.Slices[0].Values, []string{"flatbed", "handheld", "fax"}[min(i*3/n, 2)])
		in.Slices[1].Values = append(in.Slices[1].Values, []string{"2024", "2025", "2026"}[min(r.IntN(40)/19, 2)])
	}
	for m, name := range names {
		a := eval.Answered{Name: name, Digest: "sha256:" + strings.Repeat(fmt.Sprint(m), 64), RowsPerSecond: 250000 / float64(m+1)}
		for i, e := range in.Expected {
			sure := []float64{3.2, 4.2, 2.2}[m%3]
			if m == 0 && i > n*2/3 {
				sure = 2
			}
			p := make([]float64, k)
			sum := 0.0
			for c := range p {
				x := r.NormFloat64()
				if c == e {
					x += sure
				}
				p[c] = math.Exp(1.3 * x)
				sum += p[c]
			}
			best := 0
			for c := range p {
				a.Probability = append(a.Probability, float32(p[c]/sum))
				if p[c] > p[best] {
					best = c
				}
			}
			a.Predicted = append(a.Predicted, best)
		}
		for range 1000 {
			a.Seconds = append(a.Seconds, []float64{4e-6, 9e-5, 8e-6}[m%3]*math.Exp(0.25*r.NormFloat64()))
		}
		in.Models = append(in.Models, a)
	}
	low, high := 0.9, 0.001
	in.Requirements = []eval.Requirement{{Metric: eval.Accuracy, Min: &low}, {Metric: eval.LatencyP99, Max: &high}}
	if len(names) > 1 {
		in.Requirements = append(in.Requirements, eval.Requirement{Metric: eval.F1, NotWorseThan: names[1]})
	}
	in.Contamination = &eval.Contamination{TrainRows: 1437}
	out, err := eval.Judge(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var outside = regexp.MustCompile(`(?i)(src|href)\s*=|url\(|@import|<script|<link|<iframe|javascript:`)

// whole checks that a page is one, and that it loads nothing.
func whole(t *testing.T, text string) {
	t.Helper()
	if m := outside.FindString(text); m != "" {
		t.Errorf("the page loads something: %q", m)
	}
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "<svg")
		if !ok {
			break
		}
		body, next, _ := strings.Cut(after, "</svg>")
		d := xml.NewDecoder(strings.NewReader("<svg" + body + "</svg>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("a picture is not well-formed: %v", err)
			}
		}
		if strings.Contains(body, "NaN") || strings.Contains(body, "Inf") {
			t.Error("a picture has a point that is nowhere")
		}
		rest = next
	}
}

func TestHTML(t *testing.T) {
	r := report(t, "student", "teacher", "labels-only")
	for l, want := range map[Language][]string{
		English: {"Evaluation of student", "student is worse than teacher", "Not passed", "accuracy", "Slices", "scanner = fax", "None of the rows is among the 1437"},
		Chinese: {"student 的评测", "student 劣于 teacher", "未通过", "准确率", "分片", `lang="zh"`},
	} {
		var out bytes.Buffer
		if err := HTML(&out, r, l); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: the page does not say %q", l, w)
			}
		}
		if strings.Contains(text, "%!") {
			t.Errorf("%s: a sentence lacks a word", l)
		}
		if n := strings.Count(text, "<svg"); n != 5 {
			t.Errorf("%s: %d pictures, want 5", l, n)
		}
		whole(t, text)
		var again bytes.Buffer
		if err := HTML(&again, r, l); err != nil || again.String() != text {
			t.Errorf("%s: the same report gives another page (%v)", l, err)
		}
		keep(t, "report-"+string(l)+".html", out.Bytes())
	}
}

func TestServices(t *testing.T) {
	r := report(t, "forms", "half", "quarter")
	r.Models[0].Digest, r.Models[0].Route = "", "forms"
	r.Models[0].By = []eval.Origin{{Target: "small", Revision: "half-1", Digest: "sha256:" + strings.Repeat("cd", 32), Rows: 300}, {Target: "large", Rows: 60}}
	r.Models[1].Digest, r.Models[1].Service = "", "<b>half"
	r.Models[1].By = []eval.Origin{{Rows: 360}}
	for l, want := range map[Language][]string{
		English: {"forms (route)", "half (service)", "route forms; 300 by small half-1 cdcdcdcdcd", "60 by large", "service &lt;b&gt;half<"},
		Chinese: {"forms(路由)", "half(服务)", "路由 forms; 300 行由 small half-1", "服务 &lt;b&gt;half<"},
	} {
		var out bytes.Buffer
		if err := HTML(&out, r, l); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: the page does not say %q", l, w)
			}
		}
		whole(t, out.String())
		keep(t, "services-"+string(l)+".html", out.Bytes())
	}
	var out bytes.Buffer
	if err := PNG(&out, r); err != nil {
		t.Fatal(err)
	}
	keep(t, "services.png", out.Bytes())
}

// keep leaves what a test has made in the directory that POLDER_PAGES names, for eyes.
func keep(t *testing.T, name string, b []byte) {
	t.Helper()
	if dir := os.Getenv("POLDER_PAGES"); dir != "" {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPNG(t *testing.T) {
	var out bytes.Buffer
	if err := PNG(&out, report(t, "student", "teacher", "labels-only")); err != nil {
		t.Fatal(err)
	}
	keep(t, "report.png", out.Bytes())
	img, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != (width+72)*zoom || b.Dy() < 1000 {
		t.Errorf("the picture is %v", b)
	}
	dark := 0
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			if c, _, _, _ := img.At(x, y).RGBA(); c < 0x8000 {
				dark++
			}
		}
	}
	if dark < 20000 {
		t.Errorf("only %d pixels are dark: the picture is empty", dark)
	}
}

// What comes from people and models is no markup.
func TestForeignWords(t *testing.T) {
	evil := `<script>alert("x")</script>`
	r := report(t, "a", "b")
	r.Models[0].Name, r.Data.File, r.Comparisons[0].With = evil, evil, evil
	r.Models[1].Slices, r.Models[0].Slices = nil, []eval.Slice{{Column: evil, Value: strings.Repeat("漢", 300), Rows: 5, Few: true, Metrics: map[string]eval.Metric{eval.Accuracy: {Value: 1}}}}
	r.Regressions = []eval.Regression{{Column: evil, Value: evil, With: evil}}
	r.Notes, r.Data.Classes[0], r.Machine = []string{evil}, evil, &eval.Machine{Processor: evil}
	var out bytes.Buffer
	if err := HTML(&out, r, English); err != nil {
		t.Fatal(err)
	}
	whole(t, out.String())
	if !strings.Contains(out.String(), "&lt;script&gt;") {
		t.Error("the word is not there at all")
	}
	if err := PNG(io.Discard, r); err != nil {
		t.Fatal(err)
	}
}

// The least that a report may have makes a page, too.
func TestBareReports(t *testing.T) {
	for _, task := range []string{eval.TaskClassification, eval.TaskRegression, eval.TaskForecast, eval.TaskGeneration} {
		r := &eval.Report{Version: eval.Version, Task: task, Metric: eval.MAE, Data: eval.Data{Rows: 1}, Models: []eval.Model{{Name: "m"}}}
		for _, l := range []Language{English, Chinese} {
			var out bytes.Buffer
			if err := HTML(&out, r, l); err != nil {
				t.Fatal(err)
			}
			whole(t, out.String())
		}
		if err := PNG(io.Discard, r); err != nil {
			t.Fatal(err)
		}
	}
	zero := report(t, "alone")
	zero.Models[0].Latency = &eval.Latency{Bounds: []float64{1e-3}, Counts: []int64{3, 0}}
	zero.Models[0].Metrics[eval.Accuracy] = eval.Metric{Value: 1}
	if err := PNG(io.Discard, zero); err != nil {
		t.Fatal(err)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{seconds(1.234e-6), "1.23 µs"}, {seconds(0.01234), "12.3 ms"}, {seconds(12), "12 s"}, {shown(eval.Accuracy, 0.96512), "0.965"},
		{shown(eval.MAE, 12.34567), "12.35"}, {shown(eval.CostPer1K, 0.0000003), "0.0000003"}, {signed(eval.Accuracy, -0.0213), "-2.1"}, {signed(eval.MAE, 0.5), "+0.5"},
		{short("a\nb", 5), "a b"}, {short("abcdef", 4), "abc…"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for _, c := range []struct{ low, high float64 }{{0, 1}, {0.91, 0.99}, {-3, 1e6}, {1e-9, 2e-9}, {5, 5}} {
		got := ticks(c.low, c.high, 5)
		if len(got) == 0 || len(got) > 12 {
			t.Errorf("%g to %g: %v", c.low, c.high, got)
		}
		for _, v := range got {
			if v < c.low-1e-9*math.Abs(c.low) || v > c.high+1e-9*math.Abs(c.high) {
				t.Errorf("%g to %g: %g is outside", c.low, c.high, v)
			}
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"version":1,"task":"classification","metric":"accuracy","data":{"rows":1,"classes":["a","b"]},"models":[{"name":"m","metrics":{"accuracy":{"value":1,"low":0,"high":1}},"confusion":[[1,0],[0,0]],"latency":{"requests":1,"bounds":[0.1],"counts":[1,0]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := eval.Decode(b)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := HTML(&out, r, Chinese); err != nil {
			t.Fatal(err)
		}
		whole(t, out.String())
	})
}
