package sim

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/sched/trace"
)

func TestExp(t *testing.T) {
	dir := "/work/shared/data/openb/"
	nodes, err := trace.NodesOf(dir + "openb_node_list_gpu_node.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range strings.Fields(os.Getenv("TRACES")) {
		pods, err := trace.PodsOf(dir + "openb_pod_list_" + tr + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		p := Plan{Nodes: nodes, Pods: pods, Tune: 1.3}

		if i := 0; len(os.Getenv("NK")) > 0 {
			fmt.Println(tr, len(p.Workload().Kinds), i)
		}
		for _, pol := range strings.Fields(os.Getenv("POL")) {
			began := time.Now()
			seeds := 10
			fmt.Sscan(os.Getenv("SEEDS"), &seeds)
			res := make([]Result, seeds)
			var wg sync.WaitGroup
			sem := make(chan int, 2)
			for s := range res {
				wg.Go(func() {
					sem <- 1
					defer func() { <-sem }()
					res[s], err = Run(context.Background(), p, Trial{Policy: pol, Seed: int64(42 + s), Departures: os.Getenv("DEP") != ""})
					if err != nil {
						panic(err)
					}
				})
			}
			wg.Wait()
			out := fmt.Sprintf("%-12s %-10s", tr, pol)
			for _, at := range []int{80, 90, 95, 100, 130} {
				a, f, n := 0., 0., 0.
				for _, r := range res {
					for _, b := range r.Buckets {
						if b.Arrived == at {
							a += b.Allocation
							f += b.Fragmentation
							n++
						}
					}
				}
				out += fmt.Sprintf("  %d: %.2f/%.2f", at, a/n, f/n)
			}
			fmt.Println(out, time.Since(began))
		}
	}
}
