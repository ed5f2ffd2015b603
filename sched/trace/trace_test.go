package trace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/sched"
)

const (
	nodeHead = "sn,cpu_milli,memory_mib,gpu,model\n"
	podHead  = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time\n"
)

func TestColumnsAreFoundByName(t *testing.T) {
	nodes, err := Nodes(strings.NewReader("\ufeffmodel,gpu,extra,memory_mib,cpu_milli,sn\nT4,2,x,1024,96000,b\nnan,0,,2048,32000,a\n"), "n.csv")
	if err != nil {
		t.Fatal(err)
	}
	b := sched.Amount{CPU: 96000, Memory: 1 << 30, Pods: podsPerNode}
	a := sched.Amount{CPU: 32000, Memory: 2 << 30, Pods: podsPerNode}
	t4 := sched.Device{Model: "T4", Free: sched.Whole}
	if diff := cmp.Diff([]sched.Node{{Name: "b", Size: b, Free: b, Devices: []sched.Device{t4, t4}}, {Name: "a", Size: a, Free: a}}, nodes); diff != "" {
		t.Error(diff)
	}
	pods, err := Pods(strings.NewReader(podHead+"x,6000,512,1,460,V100M16|V100M32|V100M32,LS,5,9\ny,1000,0,0,0,nan,BE,0,0\n"), "p.csv")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Pod{
		{"x", sched.Request{CPU: 6000, Memory: 512 << 20, Count: 1, Share: 460, Models: []string{"V100M16", "V100M32"}}, 5, 9, true},
		{"y", sched.Request{CPU: 1000}, 0, 0, true},
	}, pods); diff != "" {
		t.Error(diff)
	}
	pods, err = Pods(strings.NewReader("name,cpu_milli,memory_mib,num_gpu,gpu_milli\nx,6000,512,8,1000\n"), "p.csv")
	if err != nil || len(pods) != 1 || pods[0].Timed || pods[0].Request.Milli() != 8000 {
		t.Errorf("five columns: %+v, %v", pods, err)
	}
}

func TestBadTables(t *testing.T) {
	nodes := func(s string) error { _, err := Nodes(strings.NewReader(s), "f.csv"); return err }
	pods := func(s string) error { _, err := Pods(strings.NewReader(s), "f.csv"); return err }
	for _, c := range []struct {
		name string
		err  error
		want []string
	}{
		{"an empty file", nodes(""), []string{"f.csv is empty", "sn, cpu_milli"}},
		{"no rows", nodes(nodeHead), []string{"f.csv has no nodes"}},
		{"no pods", pods(podHead), []string{"f.csv has no pods"}},
		{"a missing column", nodes("sn,cpu_milli,memory_mib,gpu\na,1,1,1\n"), []string{"f.csv: column model is missing"}},
		{"a missing column of pods", pods("name,cpu_milli,memory_mib,num_gpu\na,1,1,1\n"), []string{"f.csv: column gpu_milli is missing"}},
		{"a column twice", nodes("sn,sn,cpu_milli,memory_mib,gpu,model\n"), []string{"column sn is there twice"}},
		{"no number", nodes(nodeHead + "a,1,1,1,T4\nb,many,1,1,T4\n"), []string{"f.csv:3: column cpu_milli", `"many"`}},
		{"a negative number", nodes(nodeHead + "a,1,-1,1,T4\n"), []string{"f.csv:2: column memory_mib"}},
		{"too many devices", nodes(nodeHead + "a,1,1,1025,T4\n"), []string{"column gpu", "0 to 1024"}},
		{"no model", nodes(nodeHead + "a,1,1,4,\n"), []string{"f.csv:2: column model", "4 devices"}},
		{"a name twice", nodes(nodeHead + "a,1,1,1,T4\na,1,1,1,T4\n"), []string{"f.csv:3: column sn"}},
		{"no name", pods(podHead + ",1,1,1,1,,,0,0\n"), []string{"f.csv:2: column name"}},
		{"a short row", nodes(nodeHead + "a,1\n"), []string{"reading f.csv", "line 2", "wrong number of fields"}},
		{"more than a device", pods(podHead + "a,1,1,1,1001,,,0,0\n"), []string{"f.csv:2: column gpu_milli", "0 to 1000"}},
		{"nothing of a device", pods(podHead + "a,1,1,2,0,,,0,0\n"), []string{"f.csv:2: column gpu_milli", "2 devices"}},
		{"an empty model", pods(podHead + "a,1,1,1,1,T4||P100,,0,0\n"), []string{"f.csv:2: column gpu_spec", "MODEL|MODEL"}},
		{"too many models", pods(podHead + "a,1,1,1,1," + strings.Repeat("x|", 64) + "y,,0,0\n"), []string{"f.csv:2: column gpu_spec", "65 models"}},
		{"an end before its beginning", pods(podHead + "a,1,1,1,1,,,5,4\n"), []string{"f.csv:2: column deletion_time"}},
		{"a file that is not there", func() error { _, err := NodesOf(t.TempDir() + "/none"); return err }(), []string{"none: no such file"}},
	} {
		if c.err == nil || strings.Contains(c.err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, c.err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(c.err.Error(), w) {
				t.Errorf("%s: %v does not say %q", c.name, c.err, w)
			}
		}
	}
}

// FuzzTables: whatever is read is something that a board can be made of.
func FuzzTables(f *testing.F) {
	f.Add(nodeHead+"a,1,1,1,T4\n", podHead+"x,6000,512,1,460,T4|T4,LS,5,9\n")
	f.Add("\ufeff\"s\"\"n\",\n", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1.0,1,8,1000")
	f.Fuzz(func(t *testing.T, nodes, pods string) {
		read, err := Nodes(strings.NewReader(nodes), "nodes")
		if err == nil {
			s := sched.Snapshot{Nodes: read}
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		}
		all, err := Pods(strings.NewReader(pods), "pods")
		for i := range all {
			if e := all[i].Request.Check(); err == nil && (e != nil || all[i].Deleted < all[i].Created) {
				t.Error(fmt.Errorf("%+v: %w", all[i], e))
			}
		}
	})
}
