//go:build e2e

package e2e

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoSpecialist goes the whole way of a specialist with one command, and once more: by
// then all is there.
func TestDemoSpecialist(t *testing.T) {
	c := shared(t)
	c.pytorch(t)
	dir := filepath.Join(t.TempDir(), "report")
	t.Cleanup(func() { // others need the processors
		for _, args := range [][]string{{"route", "rm", "demo-digits"}, {"service", "rm", "demo-small"}, {"service", "rm", "demo-large"}} {
			if _, stderr, code := c.run(args...); code != 0 {
				t.Errorf("polder %s: %s", strings.Join(args, " "), stderr)
			}
		}
	})
	out := c.must(t, "demo", "specialist", "--report", dir)
	t.Log(out)
	for _, want := range []string{"$ polder distil run", "$ polder model promote demo-small production", "$ polder route create demo-digits", "ASKS THE TEACHER"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	var report struct {
		Passed bool
		Models []struct {
			Name    string
			Metrics map[string]struct{ Value float64 }
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	value := map[string]map[string]float64{}
	for _, m := range report.Models {
		value[m.Name] = map[string]float64{}
		for k, v := range m.Metrics {
			value[m.Name][k] = v.Value
		}
	}
	cascade, student, teacher := value["cascade"], value["student"], value["teacher"]
	if len(value) != 3 || cascade["accuracy"] < 0.95 || student["accuracy"] < 0.94 || teacher["accuracy"] < 0.95 {
		t.Errorf("they are right in %v", value)
	}
	if c := cascade["cost_per_1000"]; !(student["cost_per_1000"] < c && c < teacher["cost_per_1000"]) {
		t.Errorf("a thousand requests to the cascade cost %g, to the student %g, to the teacher %g", c, student["cost_per_1000"], teacher["cost_per_1000"])
	}
	f, err := os.Open(filepath.Join(dir, "report.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if cfg, err := png.DecodeConfig(f); err != nil || cfg.Width < 600 || cfg.Height < 400 {
		t.Errorf("the picture has %d x %d pixels: %v", cfg.Width, cfg.Height, err)
	}
	for name, want := range map[string]string{"report.html": "cascade", "report.zh.html": "准确率"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q: %v", name, want, err)
		}
	}
	if again := c.must(t, "demo", "specialist", "--report", dir); strings.Count(again, "It is there already.") < 8 {
		t.Errorf("run again it makes anew what was there:\n%s", again)
	}
}
