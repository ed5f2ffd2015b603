package sim

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/sched"
	"polder.dev/polder/sched/trace"
)

var update = flag.Bool("update", false, "record what the policies do with the made-up trace")

// madeUp is a small trace that was made up for these tests.
func madeUp(t *testing.T) Plan {
	t.Helper()
	nodes, err := trace.NodesOf("testdata/nodes.csv")
	if err != nil {
		t.Fatal(err)
	}
	pods, err := trace.PodsOf("testdata/pods.csv")
	if err != nil {
		t.Fatal(err)
	}
	return Plan{Nodes: nodes, Pods: pods, Tune: 1.3}
}

func played(t *testing.T, p Plan, trial Trial) Result {
	t.Helper()
	r, err := Run(t.Context(), p, trial)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPlacements: each policy places the made-up trace where it always did, to the
// device. A change here is a change of what users see.
func TestPlacements(t *testing.T) {
	p := madeUp(t)
	for _, policy := range sched.PolicyNames() {
		t.Run(policy, func(t *testing.T) {
			var b strings.Builder
			r := played(t, p, Trial{Policy: policy, Seed: 42, Placed: func(p trace.Pod, d *sched.Decision) {
				if d == nil {
					fmt.Fprintln(&b, p.Name, "has no room")
					return
				}
				_, node, _ := strings.Cut(d.Node, "-")
				fmt.Fprintln(&b, p.Name, node, d.Devices)
			}})
			at, _ := r.At(100)
			fmt.Fprintf(&b, "at 100 %% arrived: %.3f %% allocated, %.3f %% fragmented\n", at.Allocation, at.Fragmentation)
			file := filepath.Join("testdata", "placed_"+policy+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("run the test with -update if this is meant:\n%s", diff)
			}
		})
	}
}

func TestASeedMakesTheSameRun(t *testing.T) {
	p := madeUp(t)
	var trials []Trial
	for _, policy := range []string{"random", "polder"} {
		for seed := range int64(3) {
			trials = append(trials, Trial{Policy: policy, Seed: seed}, Trial{Policy: policy, Seed: seed, Departures: true})
		}
	}
	done := 0
	one, err := Each(t.Context(), p, trials, 1, func(Trial) { done++ })
	if err != nil || done != len(trials) {
		t.Fatalf("%d of %d were done, %v", done, len(trials), err)
	}
	many, err := Each(t.Context(), p, trials, 4, func(Trial) {})
	if err != nil || !reflect.DeepEqual(one, many) {
		t.Errorf("four at a time differ: %v", err)
	}
	if reflect.DeepEqual(one[0], one[2]) {
		t.Error("two seeds make the same run")
	}
}

// TestWaiting: on one device, a pod of 100 s, then three that wait for it, of which the
// one that wants little of what is left does not.
func TestWaiting(t *testing.T) {
	nodes, err := trace.Nodes(strings.NewReader("sn,cpu_milli,memory_mib,gpu,model\nn,8000,8192,1,A\n"), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	pods, err := trace.Pods(strings.NewReader(`name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time
a,1000,1,1,700,0,100
b,1000,1,1,1000,10,60
c,1000,1,1,1000,20,30
d,1000,1,1,300,30,130
never,9000,1,0,0,40,50
`), "pods")
	if err != nil {
		t.Fatal(err)
	}
	var starts []string
	r := played(t, Plan{Nodes: nodes, Pods: pods}, Trial{Policy: "polder", Departures: true, Placed: func(p trace.Pod, d *sched.Decision) {
		if d != nil {
			starts = append(starts, p.Name)
		}
	}})
	// a runs to 100 and d to 130; then b runs to 180, and c.
	if got := strings.Join(starts, " "); got != "a d b c" {
		t.Errorf("started in the order %s", got)
	}
	if want := (&Waits{Use: (700*30 + 1000*10) / 40.0 / 10, Mean: (120.0 + 160) / 4, P50: 0, P90: 120, P99: 120}); r.Refused != 1 || !reflect.DeepEqual(r.Waits, want) {
		t.Errorf("%d never started, waits are %+v, want %+v", r.Refused, r.Waits, want)
	}
}

func TestWhatIf(t *testing.T) {
	p := madeUp(t)
	base := capacity(p.Nodes)
	for _, c := range []struct {
		change     string
		nodes, per int
		cores      int64
		model      string
	}{
		{"add=16xX8", 2, 8, 96, "X8"},  // as there are
		{"add=8xX8/4", 2, 4, 48, "X8"}, // half as large
		{"add=4xY2", 2, 2, 64, "Y2"},
		{"add=16xH100", 2, 8, 8 * 680 / 41, "H100"}, // as the cluster is on average
	} {
		q, err := p.WhatIf(c.change)
		if err != nil {
			t.Fatal(err)
		}
		added := q.Nodes[len(p.Nodes):]
		if len(added) != c.nodes || len(added[0].Devices) != c.per || added[0].Size.CPU/1000 != c.cores || added[0].Devices[0].Model != c.model || q.Base != base {
			t.Errorf("%s added %d nodes, the first %+v", c.change, len(added), added[0])
		}
		if again, err := q.WhatIf(c.change); err != nil || again.Base != base {
			t.Errorf("%s twice: base %d, %v", c.change, again.Base, err)
		} else if before, after := played(t, p, Trial{Policy: "fgd", Seed: 1}), played(t, again, Trial{Policy: "fgd", Seed: 1}); after.Pods != before.Pods || after.Refused >= before.Refused {
			t.Errorf("%s: of %d pods %d are refused, before of %d %d", c.change, after.Pods, after.Refused, before.Pods, before.Refused)
		}
	}
	for change, want := range map[string]string{
		"8xH100":        Grammar,
		"add=H100":      Grammar,
		"add=x/2":       Grammar,
		"add=0xX8":      "1 to 1000000",
		"add=9xX8":      "9 devices do not fill nodes of 8",
		"add=8xX8/0":    "1 to 1024 devices",
		"add=8xX8/9999": "1 to 1024 devices",
	} {
		if _, err := p.WhatIf(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
}

func TestAPlanThatCannotBePlayed(t *testing.T) {
	p := madeUp(t)
	bare := p.Nodes[len(p.Nodes)-1:]
	for want, q := range map[string]Plan{
		"no nodes":             {Pods: p.Pods},
		"no pods":              {Nodes: p.Nodes},
		"no node has a device": {Nodes: bare, Pods: p.Pods},
		"tune is -1":           {Nodes: p.Nodes, Pods: p.Pods, Tune: -1},
		"none to double":       {Nodes: p.Nodes, Pods: []trace.Pod{{Name: "x"}}, Tune: 1},
	} {
		if _, err := Run(t.Context(), q, Trial{Policy: "fgd"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := Run(t.Context(), Plan{Nodes: p.Nodes, Pods: []trace.Pod{{Name: "x"}}}, Trial{Policy: "fgd", Departures: true}); err == nil || !strings.Contains(err.Error(), "pod x has no times") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Each(ctx, p, []Trial{{Policy: "fgd"}}, 2, func(Trial) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is called off: %v", err)
	}
	if _, err := Each(t.Context(), p, []Trial{{Policy: "none", Seed: 7}}, 2, func(Trial) {}); err == nil || !strings.Contains(err.Error(), "policy none, seed 7: policy \"none\" is not known") {
		t.Errorf("an unknown policy: %v", err)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	p := madeUp(t)
	var b bytes.Buffer
	curves := []Curve{{"fgd & <co>", played(t, p, Trial{Policy: "fgd", Seed: 1})}, {"empty", Result{}}}
	if err := Plot(&b, "made-up <trace>", curves); err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for d := xml.NewDecoder(&b); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			texts[string(c)] = true
		}
	}
	for _, want := range []string{"made-up <trace>", "fgd & <co>", "empty", "100", "allocated, % of devices"} {
		if !texts[want] {
			t.Errorf("%q is not in the picture", want)
		}
	}
}
