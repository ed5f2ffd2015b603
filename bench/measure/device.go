package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/emulate"
	"polder.dev/polder/internal/kube"
)

// How much is emulated, and how much of it falls ill.
const (
	nodeCount   = 1000
	perNode     = 8
	illCount    = nodeCount * perNode / 100 // 1 %, on as many nodes
	publishTime = 5 * time.Minute
)

// measureDevice: the benchmarks of the rooms that find, compile and prepare, and then
// a thousand emulated nodes on a cloud.
func measureDevice(ctx context.Context, b *bench) error {
	for _, m := range []struct{ what, room, name, metric, unit string }{
		{"discovery of a node with 16 accelerators from a copy of its files", "./device/discovery", "BenchmarkDiscover", "median-ms", "ms"},
		{"a requirement compiled to a claim", "./device/claim", "BenchmarkCompile", "ns/op", "ns"},
		{"claim of 8 devices prepared to its CDI file, 99th percentile", "./device/dra", "BenchmarkPrepare", "p99-ms", "ms"},
	} {
		runs, err := goBench(ctx, m.room, m.name, m.metric, b.runs)
		if err != nil {
			return err
		}
		b.add(m.what, m.unit, runs, "go test -bench "+m.name+" "+m.room)
	}
	return b.thousand(ctx)
}

// goBench runs a Go benchmark and returns one of its metrics, by run.
func goBench(ctx context.Context, room, name, metric string, runs int) ([]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+strings.ReplaceAll(name, "/", "$/^")+"$", "-count", strconv.Itoa(runs), room)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -mod=readonly -buildvcs=false -gcflags=all=-dwarf=false")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w: %s", err, out)
	}
	var found []float64
	value := regexp.MustCompile(`([0-9.]+) ` + regexp.QuoteMeta(metric))
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if m := value.FindStringSubmatch(lines.Text()); m != nil && strings.HasPrefix(lines.Text(), "Benchmark") {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return nil, err
			}
			found = append(found, n)
		}
	}
	if len(found) != runs {
		return nil, fmt.Errorf("%s printed %d results of %d: %s", name, len(found), runs, out)
	}
	return found, nil
}

// thousand publishes a thousand nodes, has 1 % of their devices fall ill, and counts
// what is written.
func (b *bench) thousand(ctx context.Context) error {
	if err := b.cloud.reset(ctx); err != nil {
		return err
	}
	k, err := b.cloud.prepare(ctx)
	if err != nil {
		return err
	}
	dump, err := b.dump()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.cloud.do(ctx, "node", "add", "--emulate", dump, "--count", strconv.Itoa(nodeCount), "--name", "n"); err != nil {
		return err
	}
	if err := b.published(ctx, k, func(all map[string][]resourcev1.Device) error {
		if len(all) < nodeCount {
			return fmt.Errorf("%d nodes of %d have published", len(all), nodeCount)
		}
		return nil
	}); err != nil {
		return err
	}
	b.add("1,000 emulated nodes of 8 devices, until all are published", "s", []float64{time.Since(began).Seconds()}, "once; the nodes are made one by one")
	var took, writes []float64
	for i := range b.runs {
		seconds, n, err := b.illness(ctx, k, i)
		if err != nil {
			return err
		}
		took, writes = append(took, seconds), append(writes, n)
	}
	note := fmt.Sprintf("%d devices on as many nodes; each run others", illCount)
	b.add("1 % of the devices fall ill, until all slices are right", "s", took, note)
	b.add("writes of slices for that", "requests", writes, "of apiserver_request_total")
	return nil
}

// dump writes an inventory for the nodes.
func (b *bench) dump() (string, error) {
	var v device.Inventory
	for i := range perNode {
		v.Devices = append(v.Devices, device.Device{Kind: device.GPU, Vendor: "nvidia", Product: "L4", UUID: fmt.Sprintf("made-up-%d", i), Form: device.Whole, Software: "cuda",
			PCI: &device.Function{Address: fmt.Sprintf("0000:%02x:00.0", 0x10+i), Vendor: "10de", Device: "27b8", Class: "030200"}, Memory: 24 << 30, Health: device.Health{State: device.Healthy}})
	}
	device.Names(v.Devices)
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(b.cloud.dir), "node.json")
	return file, os.WriteFile(file, text, 0o644)
}

// illness makes one device ill on each of illCount nodes, and undoes what the run
// before did by being other nodes.
func (b *bench) illness(ctx context.Context, k *kube.Client, run int) (seconds, writes float64, err error) {
	before, err := sliceWrites(ctx, k)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	want := map[string]string{}
	for i := range illCount {
		name := fmt.Sprintf("n-%d", (run*illCount+i)%nodeCount)
		var n corev1.Node
		if err := k.Get(ctx, kube.Key("", name), &n); err != nil {
			return 0, 0, err
		}
		old := n.DeepCopy()
		ill := fmt.Sprintf("gpu-0000-%02x-00-0", 0x10+i%perNode)
		n.Annotations[emulate.AnnotationFaults] = ill + "=gpu-lost"
		if err := k.Patch(ctx, &n, kube.Changes(old)); err != nil {
			return 0, 0, err
		}
		want[name] = ill
	}
	err = b.published(ctx, k, func(all map[string][]resourcev1.Device) error {
		for node, ill := range want {
			for _, d := range all[node] {
				if (len(d.Taints) > 0) != (d.Name == ill) {
					return fmt.Errorf("device %s of node %s has %d taints", d.Name, node, len(d.Taints))
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	seconds = time.Since(began).Seconds()
	after, err := sliceWrites(ctx, k)
	return seconds, after - before, err
}

// published waits until the slices, by node, are as they should be.
func (b *bench) published(ctx context.Context, k *kube.Client, right func(map[string][]resourcev1.Device) error) error {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	var last error
	for {
		var list resourcev1.ResourceSliceList
		if err := k.List(ctx, &list); err != nil {
			return errors.Join(err, last)
		}
		all := map[string][]resourcev1.Device{}
		for _, s := range list.Items {
			if s.Spec.NodeName != nil && strings.HasPrefix(*s.Spec.NodeName, "n-") {
				all[*s.Spec.NodeName] = append(all[*s.Spec.NodeName], s.Spec.Devices...)
			}
		}
		if last = right(all); last == nil {
			return nil
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return errors.Join(err, last)
		}
	}
}

var requestTotal = regexp.MustCompile(`(?m)^apiserver_request_total\{[^}]*resource="resourceslices"[^}]*\} ([0-9.e+]+)$`)

// sliceWrites counts the requests by which slices were written since the API server
// started.
func sliceWrites(ctx context.Context, k *kube.Client) (float64, error) {
	text, err := k.Raw(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, m := range requestTotal.FindAllStringSubmatch(string(text), -1) {
		verb := regexp.MustCompile(`verb="([A-Z]+)"`).FindStringSubmatch(m[0])
		if verb == nil || verb[1] == "GET" || verb[1] == "LIST" || verb[1] == "WATCH" {
			continue
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
