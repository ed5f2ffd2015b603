package table

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const named = `age,region,income,risk
31,north,1.5,good
44,south,-2,bad
50, north ,0,good
`

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		o    Options
		want Table
	}{
		"csv with names": {named, Options{Format: CSV, Slices: []string{"region"}}, Table{
			Head: Head{Features: []string{"age", "income"}, Width: 2, Label: "risk"}, Rows: []int64{0, 1, 2}, Data: []float32{31, 1.5, 44, -2, 50, 0},
			Labels: []string{"good", "bad", "good"}, Slices: [][]string{{"north", "south", "north"}},
		}},
		"a label by name": {named, Options{Format: CSV, Label: "age", Slices: []string{"risk", "region"}}, Table{
			Head: Head{Features: []string{"income"}, Width: 1, Label: "age"}, Rows: []int64{0, 1, 2}, Data: []float32{1.5, -2, 0},
			Labels: []string{"31", "44", "50"}, Slices: [][]string{{"good", "bad", "good"}, {"north", "south", "north"}},
		}},
		"csv without names": {"\xef\xbb\xbf1;2;3.0\r\n4;5;06\r\n", Options{Format: CSV}, Table{
			Head: Head{Width: 2, Label: "3"}, Rows: []int64{0, 1}, Data: []float32{1, 2, 4, 5}, Labels: []string{"3", "6"}, Slices: [][]string{},
		}},
		"a label by number": {"3,1,2\n6,4,5\n", Options{Format: CSV, Label: "1"}, Table{
			Head: Head{Width: 2, Label: "1"}, Rows: []int64{0, 1}, Data: []float32{1, 2, 4, 5}, Labels: []string{"3", "6"}, Slices: [][]string{},
		}},
		"some rows": {named, Options{Format: CSV, Slices: []string{"region"}, From: 1, To: 2}, Table{
			Head: Head{Features: []string{"age", "income"}, Width: 2, Label: "risk"}, Rows: []int64{1}, Data: []float32{44, -2},
			Labels: []string{"bad"}, Slices: [][]string{{"south"}},
		}},
		"a forecast": {"a,b,t1,t2\n1,2,3,4\n5,6,7,8.5\n", Options{Format: CSV, Label: "t1", Many: true}, Table{
			Head: Head{Features: []string{"a", "b"}, Width: 2, Label: "t1"}, Rows: []int64{0, 1}, Data: []float32{1, 2, 5, 6}, Values: []float64{3, 4, 7, 8.5}, Horizon: 2, Slices: [][]string{},
		}},
		"json lines": {`{"pixels":[[1,2],[3,4]],"old":true,"kind":"a"}

{"kind":7.0,"old":false,"pixels":[5,6,7,8]}`, Options{Format: JSONLines}, Table{
			Head: Head{Features: []string{"pixels[0]", "pixels[1]", "pixels[2]", "pixels[3]", "old"}, Width: 5, Label: "kind"}, Rows: []int64{0, 1},
			Data: []float32{1, 2, 3, 4, 1, 5, 6, 7, 8, 0}, Labels: []string{"a", "7"}, Slices: [][]string{},
		}},
		"json lines from a row on": {"{\"x\":1,\"y\":2}\n{\"x\":3,\"y\":4}\n{\"x\":5,\"y\":6}\n", Options{Format: JSONLines, From: 1}, Table{
			Head: Head{Features: []string{"x"}, Width: 1, Label: "y"}, Rows: []int64{1, 2}, Data: []float32{3, 5}, Labels: []string{"4", "6"}, Slices: [][]string{},
		}},
		"a forecast in json lines": {`{"x":1,"next":[2,3]}`, Options{Format: JSONLines, Many: true}, Table{
			Head: Head{Features: []string{"x"}, Width: 1, Label: "next"}, Rows: []int64{0}, Data: []float32{1}, Values: []float64{2, 3}, Horizon: 2, Slices: [][]string{},
		}},
		"text": {`{"prompt":" 3.0 + 1","topic":"sums","answer":"4.0 "}`, Options{Format: JSONLines, Text: true, Slices: []string{"topic"}}, Table{
			Head: Head{Label: "answer"}, Rows: []int64{0}, Labels: []string{"4.0"}, Text: []string{"3.0 + 1"}, Slices: [][]string{{"sums"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.text), c.o)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(c.text))
			c.want.Digest = "sha256:" + hex.EncodeToString(sum[:])
			if d := cmp.Diff(c.want, *got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		o    Options
		want string
	}{
		"nothing":                {"", Options{Format: CSV}, "has no rows"},
		"only names":             {"a,b\n", Options{Format: CSV}, "has no rows"},
		"too few rows":           {named, Options{Format: CSV, Slices: []string{"region"}, From: 9}, "ends before row 9"},
		"no such label":          {named, Options{Format: CSV, Label: "colour"}, `label: there is no column "colour"; there are age, region, income, risk`},
		"a name without names":   {"1,2\n", Options{Format: CSV, Label: "risk"}, "no line of names"},
		"a number out of range":  {"1,2\n", Options{Format: CSV, Label: "3"}, "there are 1 to 2"},
		"no such slice":          {named, Options{Format: CSV, Slices: []string{"colour"}}, "slices: there is no column"},
		"a slice twice":          {named, Options{Format: CSV, Slices: []string{"age", "age"}}, "there twice"},
		"the label as slice":     {named, Options{Format: CSV, Slices: []string{"risk"}}, "column risk is a label"},
		"words among numbers":    {named, Options{Format: CSV}, `line 2: column region is "north", not a finite number`},
		"an empty cell":          {"a,b\n1,x\n,y\n", Options{Format: CSV}, "line 3: column a is empty"},
		"not a number":           {"a,b\nNaN,x\n", Options{Format: CSV}, "line 2: column a is \"NaN\""},
		"too large a number":     {"a,b\n1e39,x\n", Options{Format: CSV}, "line 2: column a is \"1e39\""},
		"no label":               {"a,b\n1,\n", Options{Format: CSV}, "line 2: column b has no label"},
		"a row too short":        {"a,b\n1\n", Options{Format: CSV}, "wrong number of fields"},
		"a quote not closed":     {"a,b\n\"" + strings.Repeat("x,\n", RowBytesMax/3+40000), Options{Format: CSV}, "a quote not closed"},
		"a name twice":           {"a,a,b\n1,2,3\n", Options{Format: CSV}, "the name of column 2"},
		"only a label":           {"a\n1\n", Options{Format: CSV}, "no column beside the label"},
		"rows upside down":       {named, Options{Format: CSV, From: 3, To: 2}, "are none"},
		"no object":              {"[1]", Options{Format: JSONLines}, "line 1: it is no JSON object"},
		"two objects":            {`{"a":1,"b":2}{"a":1}`, Options{Format: JSONLines}, "something after"},
		"a field missing":        {"{\"a\":1,\"b\":2}\n{\"a\":1}", Options{Format: JSONLines}, "line 2: there are 1 fields, the first line has 2"},
		"another field":          {"{\"a\":1,\"b\":2}\n{\"a\":1,\"c\":2}", Options{Format: JSONLines}, `line 2: there is no field "b"`},
		"a list of another size": {"{\"a\":[1],\"b\":2}\n{\"a\":[1,2],\"b\":2}", Options{Format: JSONLines}, "line 2: field a has 2 numbers"},
		"text in a list":         {`{"a":["x"],"b":2}`, Options{Format: JSONLines}, "line 1: field a: x is no number"},
		"an object in a field":   {`{"a":{"x":1},"b":2}`, Options{Format: JSONLines}, "an object is no number"},
		"a label that is a list": {`{"a":1,"b":[2]}`, Options{Format: JSONLines}, "field b: it is neither text nor a number"},
		"a field twice":          {`{"a":1,"a":2,"b":2}`, Options{Format: JSONLines}, "there twice"},
		"too many texts":         {`{"a":"x","b":"y","c":"z"}`, Options{Format: JSONLines, Text: true}, "text needs one"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Read(strings.NewReader(c.text), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want an error about %q", got, err, c.want)
			}
		})
	}
	if _, err := FormatOf("a/b.parquet"); err == nil {
		t.Error("parquet passes for a table")
	}
}

func TestOrder(t *testing.T) {
	h := Head{Features: []string{"a", "b", "c"}, Width: 3}
	got, err := h.Order([]string{"c", "a"})
	if d := cmp.Diff([]int{2, 0}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := h.Order([]string{"c", "d"}); err == nil || !strings.Contains(err.Error(), `"d"`) {
		t.Errorf("a feature that is not there: %v", err)
	}
	bare := Head{Width: 2}
	if _, err := bare.Order([]string{"x"}); err == nil {
		t.Error("a model of one feature takes a table of two")
	}
	if got, err := bare.Order([]string{"x", "y"}); err != nil || len(got) != 2 {
		t.Errorf("a table without names: %v, %v", got, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(named), "", "region", byte(0))
	f.Add([]byte("1;2;3\n4;5;6\n"), "1", "", byte(0))
	f.Add([]byte(`{"x":[1,[2]],"y":"a"}`), "y", "", byte(1))
	f.Add([]byte("{\"x\":1,\"y\":[2,3]}\n{\"x\":1,\"y\":[2,3]}"), "", "", byte(3))
	f.Add([]byte(`{"p":"a","q":"b"}`), "", "", byte(5))
	f.Fuzz(func(t *testing.T, b []byte, label, slice string, how byte) {
		o := Options{Format: CSV + Format(how&1), Label: label, Many: how&2 != 0, Text: how&4 != 0}
		if slice != "" {
			o.Slices = []string{slice}
		}
		got, err := Read(strings.NewReader(string(b)), o)
		if err != nil {
			if s := err.Error(); strings.Count(s, "\n") > 1 || len(s) > 4096 {
				t.Errorf("a long error: %q", s)
			}
			return
		}
		n := len(got.Rows)
		if len(got.Data) != n*got.Width || len(got.Values) != n*got.Horizon || !o.Many && len(got.Labels) != n || o.Text && len(got.Text) != n {
			t.Errorf("%d rows of %d have %d numbers, %d labels", n, got.Width, len(got.Data), len(got.Labels))
		}
		for i := range got.Slices {
			if len(got.Slices[i]) != n {
				t.Errorf("slice %d has %d values for %d rows", i, len(got.Slices[i]), n)
			}
		}
		for _, v := range got.Data {
			if fmt.Sprint(v) == "NaN" {
				t.Error("NaN among the features")
			}
		}
	})
}
