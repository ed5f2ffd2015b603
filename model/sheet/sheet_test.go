package sheet

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, text string) *Sheet {
	t.Helper()
	s, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRead(t *testing.T) {
	s := read(t, "\ufeffage, city,bad\n30,Oslo,no\n")
	if diff := cmp.Diff(&Sheet{Names: []string{"age", "city", "bad"}, Rows: [][]string{{"30", "Oslo", "no"}}}, s); diff != "" {
		t.Error(diff)
	}
	if s := read(t, "0,1\n2,3\n"); s.Names != nil || len(s.Rows) != 2 {
		t.Errorf("%+v", s)
	}
	for _, text := range []string{"a;b\n1,5;2\n", "\ufeffa;b\n1,5;2\n", "a\tb\n1,5\t2\n"} {
		if s := read(t, strings.ReplaceAll(text, ",", ".")); s.Width() != 2 || s.Names[0] != "a" {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
	if s := read(t, "\ufeff1,2\n3,4\n"); s.Names != nil || s.Rows[0][0] != "1" {
		t.Errorf("a mark of the byte order is a part of the first cell: %+v", s)
	}
	for bad, want := range map[string]string{
		"": "the table is empty", "a,b\n": "the table is empty", "1,2\n3\n": "line 2 has 1 cells, and the first line has 2", "1,\"2\n": "reading table",
		"a,b\n1,gr\xf6n\n": "line 2 is not in UTF-8", "a,b,a\n1,2,3\n": `column 3 is empty or there twice: "a"`, "a,,b\n1,2,3\n": "column 2 is empty",
	} {
		if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

func TestColumn(t *testing.T) {
	s := read(t, "a,b\n1,2\n")
	for text, want := range map[string]int{"": 1, "a": 0, "2": 1} {
		if got, err := s.Column(text); got != want || err != nil {
			t.Errorf("%q is column %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"c", "0", "3", "-1"} {
		if _, err := s.Column(bad); err == nil {
			t.Errorf("%q is a column", bad)
		}
	}
}

// TestSplit: no row is lost, doubled or in two parts, and labels are shared alike.
func TestSplit(t *testing.T) {
	s := &Sheet{}
	for i := range 1000 {
		s.Rows = append(s.Rows, []string{fmt.Sprint(i), fmt.Sprint(i % 4 / 3)})
	}
	parts, err := s.Split(1, []float64{0.1, 0.2}, 7)
	if err != nil {
		t.Fatal(err)
	}
	if n := []int{len(parts[0].Rows), len(parts[1].Rows), len(parts[2].Rows)}; !slices.Equal(n, []int{700, 100, 200}) {
		t.Errorf("parts have %v rows", n)
	}
	seen := map[string]bool{}
	for _, p := range parts {
		if share := float64(p.Counts(1)["1"]) / float64(len(p.Rows)); math.Abs(share-0.25) > 0.001 {
			t.Errorf("a quarter of the labels became %g", share)
		}
		for _, r := range p.Rows {
			if seen[r[0]] {
				t.Fatalf("row %s is there twice", r[0])
			}
			seen[r[0]] = true
		}
	}
	again, err := s.Split(1, []float64{0.1, 0.2}, 7)
	if err != nil || cmp.Diff(parts, again) != "" {
		t.Error("the same seed parts otherwise")
	}
	for _, bad := range [][]float64{{0}, {1}, {0.5, 0.5}, {-1}, {math.NaN()}} {
		if _, err := s.Split(1, bad, 1); err == nil {
			t.Errorf("%v is a split", bad)
		}
	}
}

func TestEncode(t *testing.T) {
	s := read(t, "age,city,same,id,bad\n30,Oslo,x,a1,no\n,Bonn,x,a2,yes\n50,Oslo,x,a3,no\n")
	e, err := LearnEncoder(s, 4)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Apply(s)
	if err != nil {
		t.Fatal(err)
	}
	want := &Sheet{
		Names: []string{"age", "age missing", "city=Bonn", "city=Oslo", "id=a1", "id=a2", "id=a3", "label"},
		Rows:  [][]string{{"30", "0", "0", "1", "1", "0", "0", "no"}, {"50", "1", "1", "0", "0", "1", "0", "yes"}, {"50", "0", "0", "1", "0", "0", "1", "no"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if why := e.Dropped["same"]; why == "" {
		t.Error("a column that is the same everywhere is kept")
	}
	later := read(t, "bad,id,city,age\nyes,z,Rome,40\n")
	if got, err = e.Apply(later); err != nil || !slices.Equal(got.Rows[0], []string{"40", "0", "0", "0", "0", "0", "0", "yes"}) {
		t.Errorf("a later row with other words and order is %v, %v", got, err)
	}
	for _, text := range []string{"city,age,id\nOslo,30,a1\n", "age,city,id,bad\n30,Oslo,a1,\n", "age,bad,city,id\n30,?,Oslo,a1\n"} {
		if got, err = e.Apply(read(t, text)); err != nil || slices.Contains(got.Names, "label") || !slices.Equal(got.Rows[0], want.Rows[0][:7]) {
			t.Errorf("a row to be scored, %q, is %+v, %v", text, got, err)
		}
	}
	for name, bad := range map[string]string{
		"word for a number": "age,city,id,bad\nold,Oslo,a1,no\n", "a label missing": "age,city,id,bad\n3,Oslo,a1,\n4,Oslo,a1,no\n", "column missing": "age,id,bad\n3,a1,no\n",
	} {
		if _, err := e.Apply(read(t, bad)); err == nil {
			t.Errorf("%s is encoded", name)
		}
	}
}

// TestEncodeWithoutNames: columns are told apart by their place, and the label may be any.
func TestEncodeWithoutNames(t *testing.T) {
	e, err := LearnEncoder(read(t, "1,no,5\n2,yes,6\n"), 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Apply(read(t, "3,no,7\n"))
	if err != nil || cmp.Diff(&Sheet{Names: []string{"x1", "x3", "label"}, Rows: [][]string{{"3", "7", "no"}}}, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEncodeRefusesNamesThatMeet(t *testing.T) {
	if _, err := LearnEncoder(read(t, "label,bad\n1,no\n2,yes\n"), 1); err == nil || !strings.Contains(err.Error(), `there twice: "label"`) {
		t.Errorf("%v", err)
	}
}

func TestEncodeRefusesWhatItCannotTellApart(t *testing.T) {
	var b strings.Builder
	b.WriteString("street,name,bad\n")
	for i := range 200 {
		fmt.Fprintf(&b, "street %c%d,name %d,%d\n", 'a', i%50, i, i%2)
	}
	if _, err := LearnEncoder(read(t, b.String()), 2); err == nil || !strings.Contains(err.Error(), "column street has 50") {
		t.Errorf("%v", err)
	}
}

// TestCut: what is asked for is never seen, and no step to judge by is learned from.
func TestCut(t *testing.T) {
	s := &Sheet{Names: []string{"day", "other", "load"}}
	for i := range 400 {
		s.Rows = append(s.Rows, []string{fmt.Sprintf("day %d", i), fmt.Sprint(-i), fmt.Sprint(i)})
	}
	w, err := s.Cut(2, Shape{Lags: 3, Horizon: 2, Season: 7, Held: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"lag_0", "lag_1", "lag_2", "season_ago", "season_mean", "now_other", "label"}; !slices.Equal(w.Train.Names, want) {
		t.Errorf("columns are %v", w.Train.Names)
	}
	for _, r := range slices.Concat(w.Train.Rows, w.Held.Rows) {
		t0, _ := number(r[0])
		for i, want := range map[int]float64{1: t0 - 1, 2: t0 - 2, 3: t0 - 5, 5: -t0, 6: t0 + 2} {
			if v, _ := number(r[i]); v != want {
				t.Fatalf("row %v: column %d is %v, want %v", r, i, v, want)
			}
		}
	}
	last, _ := number(w.Train.Rows[len(w.Train.Rows)-1][6])
	first, _ := number(w.Held.Rows[0][0])
	if last >= 300 || first < 300 {
		t.Errorf("step %v is learned from, and %v judged by", last, first)
	}
	if w.Controls[ColumnLast] != 2 || w.Controls[ColumnSeasonAgo] != 7 {
		t.Errorf("controls are %v", w.Controls)
	}
	for name, bad := range map[string]Shape{
		"no lags": {0, 1, 0, 0.2}, "no horizon": {1, 0, 0, 0.2}, "beyond season": {1, 8, 7, 0.2}, "too long": {390, 1, 0, 0.2}, "nothing held": {1, 1, 0, 0},
		"no part": {1, 1, 0, math.NaN()}, "season behind": {1, 1, -1, 0.2},
	} {
		if _, err := s.Cut(2, bad); err == nil {
			t.Errorf("%s: it is cut", name)
		}
	}
	if _, err := s.Cut(0, Shape{1, 1, 0, 0.2}); err == nil || !strings.Contains(err.Error(), "column day") {
		t.Errorf("a series of words: %v", err)
	}
}

// TestLatest: the row of the last step is what Cut would have made of it.
func TestLatest(t *testing.T) {
	s := &Sheet{Names: []string{"day", "other", "load"}}
	for i := range 400 {
		s.Rows = append(s.Rows, []string{fmt.Sprintf("day %d", i), fmt.Sprint(-i), fmt.Sprint(i * i % 97)})
	}
	shape := Shape{Lags: 3, Horizon: 2, Season: 7, Held: 0.25}
	w, err := s.Cut(2, shape)
	if err != nil {
		t.Fatal(err)
	}
	cut := w.Held.Rows[len(w.Held.Rows)-1] // of the step before the last two
	got, err := w.Recipe.Latest(&Sheet{Names: s.Names, Rows: s.Rows[:398]})
	if err != nil {
		t.Fatal(err)
	}
	if want := (&Sheet{Names: w.Held.Names[:6], Rows: [][]string{cut[:6]}}); cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
	other := read(t, "load,other,x\n5,1,a\n6,2,b\n7,3,c\n8,4,d\n9,5,e\n1,6,f\n")
	if got, err := w.Recipe.Latest(other); err != nil || !slices.Equal(got.Rows[0][:3], []string{"1", "9", "8"}) || got.Rows[0][3] != "5" || got.Rows[0][5] != "6" {
		t.Errorf("%+v, %v", got, err)
	}
	for want, bad := range map[string]string{
		"5 steps are too few":       "load,other\n5,1\n6,2\n7,3\n8,4\n9,5\n",
		`no column "load"`:          "loads,other\n5,1\n",
		`no column "other"`:         "load,b\n5,1\n6,2\n7,3\n8,4\n9,5\n1,6\n",
		"row 6, column load":        "load,other\n5,1\n6,2\n7,3\n8,4\n9,5\n,6\n",
		"row 6, column other: \"\"": "load,other\n5,1\n6,2\n7,3\n8,4\n9,5\n1,\n",
	} {
		if _, err := w.Recipe.Latest(read(t, bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestSeasonWins: of a series that repeats, the season's mean is right and the last value not.
func TestSeasonWins(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	s := &Sheet{}
	for i := range 1000 {
		s.Rows = append(s.Rows, []string{fmt.Sprint(10*math.Sin(float64(i)/24*2*math.Pi) + chance.NormFloat64())})
	}
	w, err := s.Cut(0, Shape{Lags: 4, Horizon: 6, Season: 24, Held: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Controls
	if !(c[ColumnSeasonMean] < c[ColumnSeasonAgo] && c[ColumnSeasonAgo] < c[ColumnLast]) {
		t.Errorf("controls are %v", c)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "1,2\n3,4\n", "\"", "a\n\n,\n", "x,y,z\n1,,no\n2,b,yes\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		e, err := LearnEncoder(s, s.Width()-1)
		if err == nil {
			if out, err := e.Apply(s); err == nil && len(out.Rows) != len(s.Rows) {
				t.Errorf("%d rows became %d", len(s.Rows), len(out.Rows))
			}
		}
		_, _ = s.Split(0, []float64{0.2}, 1)
		_, _ = s.Cut(0, Shape{Lags: 2, Horizon: 1, Season: 3, Held: 0.2})
	})
}
