package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/sched"
)

const (
	simNodes = "../sched/sim/testdata/nodes.csv"
	simPods  = "../sched/sim/testdata/pods.csv"
)

func TestSimForPrograms(t *testing.T) {
	away(t)
	args := []string{"sim", "--nodes", simNodes, "--pods", simPods, "--seed", "42", "-o", "json", "--policy"}
	code, out, errs, _ := program(t, append(args, "fgd")...)
	var one struct{ Allocation, Fragmentation map[string]float64 }
	if err := json.Unmarshal([]byte(out), &one); code != 0 || errs != "" || err != nil {
		t.Fatalf("exit code %d, %q, %v", code, errs, err)
	}
	for _, key := range []string{"0", "50", "100", "130"} {
		a, ok := one.Allocation[key]
		f, also := one.Fragmentation[key]
		if !ok || !also || a < 0 || f < 0 || a+f > 100 {
			t.Errorf("at %s %% arrived: %v allocated, %v fragmented", key, a, f)
		}
	}
	_, again, _, _ := program(t, append(args, "fgd")...)
	if again != out {
		t.Error("the same seed says something else the second time")
	}
	_, out, _, _ = program(t, append(args, "fgd,polder")...)
	var several struct {
		Policies map[string]struct{ Allocation map[string]float64 }
	}
	if err := json.Unmarshal([]byte(out), &several); err != nil || len(several.Policies) != 2 || several.Policies["fgd"].Allocation["100"] != one.Allocation["100"] {
		t.Errorf("several policies: %v, of %.200s", err, out)
	}
}

func TestSimForPeople(t *testing.T) {
	dir := away(t)
	plot := filepath.Join(dir, "plot.svg")
	code, out, errs, _ := program(t, "sim", "--nodes", simNodes, "--pods", simPods, "--policy", "random,polder", "--seeds", "1..3", "--departures", "--tune", "3", "--what-if", "add=8xX8", "--what-if", "add=2xY2", "--plot", plot)
	rows := table(out)
	if code != 0 || errs != "" || len(rows) != 5 || !slices.Equal(rows[0], strings.Fields("CLUSTER POLICY ARRIVED ALLOCATED FRAGMENTED PODS NO ROOM IN USE WAIT MEAN P50 P90 P99")) {
		t.Fatalf("exit code %d, %q\n%s", code, errs, out)
	}
	if !strings.Contains(out, "add=8xX8 add=2xY2  polder") {
		t.Errorf("what was added is not named in\n%s", out)
	}
	text, err := os.ReadFile(plot)
	if err != nil || !strings.HasPrefix(string(text), "<svg") || !strings.Contains(string(text), "polder, add=8xX8 add=2xY2") {
		t.Errorf("the plot is %.80s, %v", text, err)
	}
}

// TestSimSaysWhy: a pod that no node of the trace can hold, and the reason.
func TestSimSaysWhy(t *testing.T) {
	dir := away(t)
	lay(t, dir, "pods.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\na,8000,1024,1,810,Z4|Y2\nb,200000,1024,8,1000,")
	code, out, errs, _ := program(t, "sim", "--nodes", simNodes, "--pods", dir+"/pods.csv", "--tune", "0")
	want := "  1 x 8 devices, 200 cores, 1 GiB\n    0 of 11 nodes: 7 have fewer than 8 such devices, 3 have too little CPU, 1 has no device\n"
	if code != 0 || errs != "" || !strings.HasSuffix(out, want) {
		t.Errorf("exit code %d, %q\n%s", code, errs, out)
	}
}

func TestSimMisuse(t *testing.T) {
	dir := away(t)
	lay(t, dir, "short.csv", "sn,cpu_milli,memory_mib,gpu\na,1,1,1")
	lay(t, dir, "untimed.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,1,1,500")
	both := []string{"--nodes", simNodes, "--pods", simPods}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no trace", nil, []string{"nodes", "pods"}},
		{"a file that is not there", []string{"--nodes", dir + "/none", "--pods", simPods}, []string{"--nodes", "none: no such file"}},
		{"a column that is not there", []string{"--nodes", dir + "/short.csv", "--pods", simPods}, []string{"short.csv: column model is missing"}},
		{"the files changed about", []string{"--nodes", simPods, "--pods", simNodes}, []string{"pods.csv: column sn is missing"}},
		{"no times", []string{"--nodes", simNodes, "--pods", dir + "/untimed.csv", "--departures"}, []string{"--departures: pod a has no times"}},
		{"an unknown policy", append(both, "--policy", "best"), []string{`--policy: "best"`, "random,dotprod"}},
		{"a policy twice", append(both, "--policy", "fgd,fgd"), []string{"fgd is there twice"}},
		{"no seeds", append(both, "--seeds", "9..1"), []string{"--seeds 9..1", "42..51"}},
		{"too many seeds", append(both, "--seeds", "0..1000"), []string{"at most 1000"}},
		{"both", append(both, "--seeds", "0..1", "--seed", "1"), []string{"seed", "seeds"}},
		{"what is not known", append(both, "--what-if", "remove=1"), []string{"--what-if", "add=COUNTxMODEL"}},
		{"tune", append(both, "--tune", "-1"), []string{"tune is -1"}},
		{"no speed", append(both, "--departures", "--faster", "-1"), []string{"faster is -1"}},
		{"speed where nobody leaves", append(both, "--faster", "2"), []string{"--departures"}},
		{"a plot nowhere", append(both, "--plot", dir+"/none/x.svg"), []string{"--plot", "there is no directory"}},
		{"another output", append(both, "-o", "yaml"), []string{"-o yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs, _ := program(t, append([]string{"sim"}, c.args...)...)
			if code != 2 || out != "" || strings.Count(errs, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q; want 2 and one line", code, out, errs)
			}
			for _, w := range c.want {
				if !strings.Contains(errs, w) {
					t.Errorf("%q does not say %q", errs, w)
				}
			}
		})
	}
}

func TestSimCompletesPolicies(t *testing.T) {
	away(t)
	_, out, _, _ := program(t, "__complete", "sim", "--policy", "fgd,po")
	if !strings.Contains(out, "fgd,polder") || strings.Contains(out, "fgd,fgd") {
		t.Errorf("completions of fgd,po are %q", out)
	}
	_, out, _, _ = program(t, "__complete", "sim", "--policy", "")
	for _, p := range sched.PolicyNames() {
		if !strings.Contains(out, p) {
			t.Errorf("%s is not offered in %q", p, out)
		}
	}
}
