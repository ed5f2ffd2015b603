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
	f.Add(math.MaxFloat64, -math.MaxFloat64, 0.0, 7)
	f.Add(math.SmallestNonzeroFloat64, 0.0, 0.0, 7)
	f.Fuzz(func(_ *testing.T, a, b, c float64, width int) { Curve([]float64{a, b, c}, width%200, 3) })
}

func TestBar(t *testing.T) {
	for done, want := range map[float64]string{-1: "░░░░", 0.5: "██░░", 2: "████"} {
		if got := Bar(done, 4); got != want {
			t.Errorf("Bar(%v) = %s, want %s", done, got, want)
		}
	}
}

func TestCurveOfTheWidestRange(t *testing.T) {
	out := Curve([]float64{math.MaxFloat64, 0, -math.MaxFloat64}, 3, 2)
	if strings.Count(out, "│") != 2 {
		t.Errorf("the curve is not 2 high:\n%s", out)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 50: "1.0 PiB", math.MaxInt64: "8192.0 PiB", -1: "-1 B",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 90 * time.Minute: "90m", 2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 240 * time.Hour: "10d",
	} {
		if got := Age(now.Add(-d), now); got != want {
			t.Errorf("Age of %v is %s, want %s", d, got, want)
		}
	}
	if got := Age(time.Time{}, now); got != "-" {
		t.Errorf("Age of never is %s", got)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, [][]string{{"NAME", "AGE"}, {"a", "1s"}, {"longer", "2d"}}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME    AGE\na       1s\nlonger  2d\n"; b.String() != want {
		t.Errorf("got\n%q, want\n%q", b.String(), want)
	}
}

func TestLine(t *testing.T) {
	var b strings.Builder
	l := NewLine(&b)
	l.Clear() // nothing to remove
	l.Set("one")
	l.Set("one") // drawn already
	l.Set(strings.Repeat("█", 200))
	l.Clear()
	want := "\r\033[Kone\r\033[K" + strings.Repeat("█", 79) + "\r\033[K"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if Is(&b) || Width(&b) != 80 {
		t.Error("a buffer is taken for a terminal")
	}
}
