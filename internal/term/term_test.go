package term

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestCurve(t *testing.T) {
	out := Curve([]float64{4, 3, 2, 1}, 4, 2)
	lines := strings.Split(out, "\n")
	if !strings.Contains(lines[0], "4 │") || !strings.Contains(lines[1], "1 │") {
		t.Errorf("the range is not beside the curve:\n%s", out)
	}
	first, last := []rune(lines[0]), []rune(lines[1])
	if first[10] == 0x2800 || last[len(last)-1] == 0x2800 || last[10] != 0x2800 {
		t.Errorf("the curve does not fall from the upper left to the lower right:\n%s", out)
	}
	if Curve(nil, 4, 2) != "" || Curve([]float64{math.NaN()}, 4, 2) != "" {
		t.Error("a curve of nothing is not empty")
	}
}

func FuzzCurve(f *testing.F) {
	f.Add(1.0, math.Inf(1), math.NaN(), 7)
	f.Fuzz(func(_ *testing.T, a, b, c float64, width int) { Curve([]float64{a, b, c}, width%200, 3) })
}

func TestBar(t *testing.T) {
	for done, want := range map[float64]string{-1: "░░░░", 0.5: "██░░", 2: "████"} {
		if got := Bar(done, 4); got != want {
			t.Errorf("Bar(%v) = %s, want %s", done, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	if got := Bytes(1536); got != "1.5 KiB" {
		t.Error(got)
	}
	now := time.Unix(1e6, 0)
	if got := Age(now.Add(-90*time.Minute), now); got != "90m" {
		t.Error(got)
	}
}
