package trace

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"polder.dev/polder/sched"
)

// Limits of what is read.
const (
	nodesMax   = 200_000
	podsMax    = 5_000_000
	bytesMax   = 1 << 30
	modelsMax  = 64
	devicesMax = 4_000_000 // of all nodes
	// podsPerNode is how many pods a node of a trace may run, as in the published runs.
	podsPerNode = 1001
	milliMax    = 1 << 40 // of a node's or pod's CPU
	mebiMax     = 1 << 40 // of its memory
	timeMax     = 1 << 40 // seconds
)

// Pod is what somebody ran.
type Pod struct {
	Name    string
	Request sched.Request
	// Created and Deleted are seconds since the trace began; Timed is false if the
	// table does not tell.
	Created, Deleted int64
	Timed            bool
}

// Nodes reads a table with the columns sn, cpu_milli, memory_mib, gpu and model. name
// is what errors call it.
func Nodes(in io.Reader, name string) ([]sched.Node, error) {
	t, err := open(in, name, "sn", "cpu_milli", "memory_mib", "gpu", "model")
	if err != nil {
		return nil, err
	}
	var out []sched.Node
	devices := int64(0)
	seen := map[string]bool{}
	for t.next() {
		if len(out) == nodesMax {
			return nil, t.errorf("sn", "this is node %d; at most %d are read", nodesMax+1, nodesMax)
		}
		n := sched.Node{Name: t.name("sn", seen)}
		n.Size = sched.Amount{CPU: t.number("cpu_milli", milliMax), Memory: t.number("memory_mib", mebiMax) << 20, Pods: podsPerNode}
		n.Free = n.Size
		count, model := t.number("gpu", sched.CountMax), t.intern(clean(t.text("model")))
		if devices += count; devices > devicesMax {
			return nil, t.errorf("gpu", "the nodes have more than %d devices up to here; no more are read", devicesMax)
		}
		if count > 0 && model == "" && t.err == nil {
			return nil, t.errorf("model", "it is empty; name the model of the node's %d devices", count)
		}
		for range count {
			n.Devices = append(n.Devices, sched.Device{Model: model, Free: sched.Whole})
		}
		out = append(out, n)
	}
	if t.err == nil && len(out) == 0 {
		return nil, fmt.Errorf("%s has no nodes below its header", name)
	}
	return out, t.err
}

// Pods reads a table with the columns name, cpu_milli, memory_mib, num_gpu and
// gpu_milli, and, where they are, gpu_spec, creation_time and deletion_time.
func Pods(in io.Reader, name string) ([]Pod, error) {
	t, err := open(in, name, "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
	if err != nil {
		return nil, err
	}
	var out []Pod
	seen := map[string]bool{}
	timed := t.has("creation_time") && t.has("deletion_time")
	for t.next() {
		if len(out) == podsMax {
			return nil, t.errorf("name", "this is pod %d; at most %d are read", podsMax+1, podsMax)
		}
		p := Pod{Name: t.name("name", seen), Timed: timed}
		p.Request = t.request()
		if timed {
			p.Created, p.Deleted = t.number("creation_time", timeMax), t.number("deletion_time", timeMax)
		}
		if t.err == nil && p.Deleted < p.Created {
			return nil, t.errorf("deletion_time", "it is %d, before the creation at %d", p.Deleted, p.Created)
		}
		out = append(out, p)
	}
	if t.err == nil && len(out) == 0 {
		return nil, fmt.Errorf("%s has no pods below its header", name)
	}
	return out, t.err
}

// request reads what a row's pod wants.
func (t *table) request() sched.Request {
	r := sched.Request{CPU: t.number("cpu_milli", milliMax), Memory: t.number("memory_mib", mebiMax) << 20}
	r.Count = int(t.number("num_gpu", sched.CountMax))
	r.Share = int(t.number("gpu_milli", sched.Whole))
	if r.Count == 0 {
		r.Share = 0 // nothing of no device
	}
	if t.err == nil && r.Count > 0 && r.Share == 0 {
		t.err = t.errorf("gpu_milli", "it is 0 for %d devices; write 1 to %d", r.Count, sched.Whole)
	}
	if t.has("gpu_spec") && r.Count > 0 {
		r.Models = t.models("gpu_spec")
	}
	return r
}

// models reads "A|B"; a model may be there twice, and "nan" is how empty fields are
// written by some.
func (t *table) models(column string) []string {
	text := clean(t.text(column))
	if text == "" {
		return nil
	}
	list := strings.Split(text, "|")
	if len(list) > modelsMax {
		t.err = t.errorf(column, "it lists %d models; at most %d are read", len(list), modelsMax)
		return nil
	}
	slices.Sort(list)
	list = slices.Compact(list)
	for i := range list {
		list[i] = t.intern(list[i])
	}
	if list[0] == "" {
		t.err = t.errorf(column, "%q has an empty model; write MODEL or MODEL|MODEL", text)
	}
	return list
}

func clean(s string) string {
	if strings.EqualFold(s, "nan") {
		return ""
	}
	return s
}

// NodesOf reads a file of nodes.
func NodesOf(file string) ([]sched.Node, error) { return of(file, Nodes) }

// PodsOf reads a file of pods.
func PodsOf(file string) ([]Pod, error) { return of(file, Pods) }

func of[T any](file string, read func(io.Reader, string) ([]T, error)) ([]T, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, file)
}
