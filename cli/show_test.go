package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/term"
)

func TestLosses(t *testing.T) {
	long := `{"event":"epoch","epoch":2,"loss":0.5,"note":"` + strings.Repeat("x", 100_000) + `"}`
	for name, tc := range map[string]struct {
		text string
		want []float64
	}{
		"nothing":               {"", nil},
		"one by one":            {`{"event":"epoch","epoch":1,"loss":2}` + "\n" + `{"event":"epoch","epoch":2,"loss":1}`, []float64{2, 1}},
		"other events and junk": {"junk\n" + `{"event":"step","epoch":1,"loss":9}` + "\n" + `{"event":"epoch","epoch":1,"loss":2}` + "\n{", []float64{2}},
		"no loss":               {`{"event":"epoch","epoch":1}`, nil},
		"what came after a restart counts": {
			`{"event":"epoch","epoch":1,"loss":3}` + "\n" + `{"event":"epoch","epoch":2,"loss":2}` + "\n" + `{"event":"epoch","epoch":3,"loss":1}` + "\n" + `{"event":"epoch","epoch":2,"loss":1.5}`,
			[]float64{3, 1.5},
		},
		"a gap is left out":       {`{"event":"epoch","epoch":1,"loss":3}` + "\n" + `{"event":"epoch","epoch":5,"loss":2}`, []float64{3}},
		"epochs count from 1":     {`{"event":"epoch","epoch":0,"loss":3}` + "\n" + `{"event":"epoch","epoch":-1,"loss":3}`, nil},
		"a line may be very long": {`{"event":"epoch","epoch":1,"loss":1}` + "\n" + long + "\n" + `{"event":"epoch","epoch":3,"loss":0.1}`, []float64{1, 0.5, 0.1}},
	} {
		if d := cmp.Diff(tc.want, losses([]byte(tc.text))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func FuzzLosses(f *testing.F) {
	f.Add([]byte(`{"event":"epoch","epoch":1,"loss":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := losses(b); len(got) > bytes.Count(b, []byte("\n"))+1 {
			t.Errorf("%d losses of %d lines", len(got), bytes.Count(b, []byte("\n"))+1)
		}
	})
}

func TestBarLeft(t *testing.T) {
	at := time.Unix(1000, 0)
	b := &bar{}
	for _, s := range []struct {
		name   string
		epoch  int64
		second int
		want   time.Duration
	}{
		{"the first epoch that is seen says nothing", 3, 0, 0},
		{"nor does it while it lasts", 3, 5, 0},
		{"one epoch in 10 s: 6 are left", 4, 10, 60 * time.Second},
		{"two in 30 s: 5 are left", 5, 30, 75 * time.Second},
		{"the workers began again", 2, 40, 0},
		{"and are measured anew", 4, 44, 12 * time.Second},
		{"the end", 10, 60, 0},
	} {
		p := &v1alpha1.Progress{Epoch: s.epoch, Epochs: 10}
		if got := b.left(p, at.Add(time.Duration(s.second)*time.Second)); got != s.want {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
}

func TestBarText(t *testing.T) {
	began := time.Unix(1000, 0)
	j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Name: "j"}, Spec: v1alpha1.TrainJobSpec{Workers: 2}}
	b := &bar{began: began}
	if got := b.text(j, began.Add(7*time.Second)); got != "j  Pending 0/2  7s" {
		t.Errorf("before there is progress: %q", got)
	}
	j.Status = v1alpha1.TrainJobStatus{State: v1alpha1.StateRunning, Ready: 2, Progress: &v1alpha1.Progress{Epoch: 5, Epochs: 10, Loss: "0.123456789"}}
	want := "j  Running 2/2  " + strings.Repeat("█", 12) + strings.Repeat("░", 12) + " epoch 5/10  loss 0.12345"
	if got := b.text(j, began); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	j.Status.Progress.Epoch = 6
	if got := b.text(j, began.Add(10*time.Second)); !strings.HasSuffix(got, "about 40s left") {
		t.Errorf("with time left: %q", got)
	}
}

func TestBarKeepsMessages(t *testing.T) {
	var w bytes.Buffer
	b := &bar{line: term.NewLine(&w), w: &w, began: time.Now()}
	j := &v1alpha1.TrainJob{Status: v1alpha1.TrainJobStatus{State: v1alpha1.StateRestarting, Message: "worker 1 died"}}
	b.show(j)
	b.show(j)
	if n := strings.Count(w.String(), "Restarting: worker 1 died\n"); n != 1 {
		t.Errorf("the message is there %d times: %q", n, w.String())
	}
}

func TestLines(t *testing.T) {
	var w bytes.Buffer
	l := &lines{w: &w}
	j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Name: "j"}, Spec: v1alpha1.TrainJobSpec{Workers: 2}}
	l.show(j)
	l.show(j)
	j.Status.State, j.Status.Ready = v1alpha1.StateRunning, 2
	l.show(j)
	want := `{"job":"j","state":"Pending","workers":2,"ready":0,"restarts":0}
{"job":"j","state":"Running","workers":2,"ready":2,"restarts":0}
`
	if d := cmp.Diff(want, w.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestJobRow(t *testing.T) {
	now := time.Unix(1e9, 0)
	j := &v1alpha1.TrainJob{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))}, Spec: v1alpha1.TrainJobSpec{Workers: 2}}
	if d := cmp.Diff([]string{"n", "j", "Pending", "0/2", "-", "-", "0", "60s", ""}, jobRow(j, now)); d != "" {
		t.Error(d)
	}
	j.Status = v1alpha1.TrainJobStatus{State: v1alpha1.StateFailed, Message: "one\ntwo", Restarts: 1, Progress: &v1alpha1.Progress{Epoch: 3, Loss: "1.5e-10123"}}
	if d := cmp.Diff([]string{"n", "j", "Failed", "0/2", "3", "1.5e-10123", "1", "60s", "one"}, jobRow(j, now)); d != "" {
		t.Error(d)
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{"test_accuracy": "Test accuracy", "": "", "a": "A"} {
		if got := metricName(in); got != want {
			t.Errorf("metricName(%q) = %q, want %q", in, got, want)
		}
	}
	for _, tc := range []struct {
		metrics map[string]string
		want    string
	}{
		{nil, "-"}, {map[string]string{"z": "1", "b": "2"}, "b=2"}, {map[string]string{"a": "1", "loss": "0.5"}, "loss=0.5"},
		{map[string]string{"loss": "0.5", "test_accuracy": "0.98765432"}, "test_accuracy=0.98765"},
	} {
		if got := mainMetric(tc.metrics); got != tc.want {
			t.Errorf("mainMetric(%v) = %q, want %q", tc.metrics, got, tc.want)
		}
	}
}

func TestCopyLines(t *testing.T) {
	long := strings.Repeat("x", lineBytesMax+10)
	for in, want := range map[string]string{
		"":           "",
		"a\nb":       "> a\n> b\n",
		"a\r\n\nb\n": "> a\n> \n> b\n",
		long + "\nb": "> " + long[:lineBytesMax] + "\n> " + long[lineBytesMax:] + "\n> b\n",
	} {
		var w bytes.Buffer
		if err := copyLines(strings.NewReader(in), "> ", &lineWriter{w: &w}); err != nil || w.String() != want {
			t.Errorf("%.20q: %.40q, %v; want %.40q", in, w.String(), err, want)
		}
	}
}
