package metric

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, text string) Summary {
	t.Helper()
	var l Log
	if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write = %d, %v; want %d, nil", n, err, len(text))
	}
	return l.Summary()
}

func TestLog(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		name, text string
		want       Summary
	}{
		{"nothing", "", Summary{}},
		{"start", `{"time":"2026-03-01T10:00:00Z","event":"start","epochs":15,"resumed_from":0,"world_size":2}` + "\n",
			Summary{Epochs: 15, WorldSize: 2, Time: at, Starts: 1, Lines: 1}},
		{"epoch", `{"event":"epoch","epoch":3,"epochs":15,"step":120,"loss":0.410,"metrics":{"val_accuracy":0.93,"images_per_s":812.5}}` + "\n",
			Summary{Epoch: 3, Epochs: 15, Step: 120, Loss: "0.41", Lines: 1, Metrics: map[string]string{"val_accuracy": "0.93", "images_per_s": "812.5"}}},
		{"end keeps the last epoch's metrics beside its own", `{"event":"epoch","epoch":2,"loss":1,"metrics":{"val":0.5}}` + "\n" + `{"event":"end","metrics":{"test":0.75}}` + "\n",
			Summary{Epoch: 2, Loss: "1", Lines: 2, Ended: true, Metrics: map[string]string{"val": "0.5", "test": "0.75"}}},
		{"a resume goes back to the checkpoint", `{"event":"epoch","epoch":5,"step":50}` + "\n" + `{"event":"start","resumed_from":3,"epochs":9}` + "\n",
			Summary{Epoch: 3, Epochs: 9, ResumedFrom: 3, Starts: 1, Lines: 2}},
		{"torn last line waits", `{"event":"epoch","epoch":1}` + "\n" + `{"event":"epoch","epo`,
			Summary{Epoch: 1, Lines: 1}},
		{"Python's bare words", `{"event":"epoch","epoch":1,"loss":NaN,"metrics":{"a":Infinity,"b":-Infinity,"NaN \" NaN":1}}` + "\n",
			Summary{Epoch: 1, Loss: "NaN", Lines: 1, Metrics: map[string]string{"a": "Infinity", "b": "-Infinity", `NaN " NaN`: "1"}}},
		{"numbers as strings", `{"event":"epoch","epoch":1,"loss":"nan","metrics":{"a":"0.5","b":"much"}}` + "\n",
			Summary{Epoch: 1, Loss: "NaN", Lines: 1, Metrics: map[string]string{"a": "0.5"}}},
		{"a number no float holds", `{"event":"epoch","loss":1e999}` + "\n", Summary{Loss: "Infinity", Lines: 1}},
		{"whole floats count, others and negatives do not", `{"event":"epoch","epoch":3.0,"step":-1,"epochs":2.5}` + "\n", Summary{Epoch: 3, Lines: 1}},
		{"unknown events and keys are ignored", `{"event":"coffee","epoch":9}` + "\n" + `{"event":"epoch","epoch":1,"x":[1]}` + "\n", Summary{Epoch: 1, Lines: 2}},
		{"what is no object is refused", "hello\n[1]\n{\n\n" + `{"event":"epoch","epoch":1}` + "\n", Summary{Epoch: 1, Lines: 1, Refused: 3}},
		{"a line too long is refused, the next is read", `{"event":"epoch","epoch":7,"x":"` + strings.Repeat("a", LineBytesMax) + "\"}\n" + `{"event":"epoch","epoch":1}` + "\n",
			Summary{Epoch: 1, Lines: 1, Refused: 1}},
		{"corrupt checkpoint", `{"event":"checkpoint_corrupt","file":"epoch-00003.pt"}` + "\n", Summary{Corrupt: 1, CorruptFile: "epoch-00003.pt", Lines: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(t, tt.text)); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetricNamesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 3 * NamesMax {
		b.WriteString(`{"event":"epoch","metrics":{"m` + strings.Repeat("x", i) + `":1}}` + "\n")
	}
	s := read(t, b.String())
	if len(s.Metrics) != NamesMax {
		t.Errorf("%d metrics kept, want %d", len(s.Metrics), NamesMax)
	}
	for name := range s.Metrics {
		if len(name) > NameBytesMax {
			t.Errorf("name of %d bytes kept", len(name))
		}
	}
}

func TestSummaryIsACopy(t *testing.T) {
	var l Log
	l.Write([]byte(`{"event":"epoch","metrics":{"a":1}}` + "\n"))
	l.Summary().Metrics["a"] = "changed"
	if got := l.Summary().Metrics["a"]; got != "1" {
		t.Errorf("metric a = %q after its copy was changed, want 1", got)
	}
}

// FuzzLog holds a Log to its promises on any bytes: it takes them all, the way
// they are cut does not matter, and it keeps its bounds.
func FuzzLog(f *testing.F) {
	f.Add([]byte(`{"event":"epoch","epoch":1,"loss":NaN,"metrics":{"a":-Infinity}}`+"\n"), 3)
	f.Add([]byte(`{"event":"start","resumed_from":2}`+"\n"+`{"event":"end"`), 1)
	f.Add([]byte("\"\\\n{NaN\x00\n"), 7)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		var whole, cut Log
		whole.Write(text)
		if size < 1 {
			size = 1
		}
		for rest := text; len(rest) > 0; {
			n := min(size, len(rest))
			cut.Write(rest[:n])
			rest = rest[n:]
		}
		if diff := cmp.Diff(whole.Summary(), cut.Summary()); diff != "" {
			t.Fatalf("cut into %d bytes, the summary differs:\n%s", size, diff)
		}
		s := whole.Summary()
		if s.Epoch < 0 || s.Step < 0 || len(s.Metrics) > NamesMax || len(s.CorruptFile) > FileBytesMax || len(s.Loss) > NameBytesMax {
			t.Fatalf("out of bounds: %+v", s)
		}
		if int64(strings.Count(string(text), "\n")) < s.Lines {
			t.Fatalf("%d lines understood in %q", s.Lines, text)
		}
	})
}
