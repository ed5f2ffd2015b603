package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// halvedCloud is a cloud of one node with two devices, of each of which a job has one
// half, while another job waits for one device.
func halvedCloud() *paperCloud {
	c := newPaperCloud()
	c.world.Nodes, c.world.Slices = c.world.Nodes[:1], nil
	var all []device.Device
	for i := range 2 {
		all = append(all, device.Device{Name: fmt.Sprintf("gpu-%d", i), UUID: fmt.Sprint("u", i), Kind: device.GPU, Vendor: "nvidia", Product: "H100", Form: device.Whole, Software: "cuda", Memory: 80 << 30,
			Partitions: []device.Partition{{Profile: "half", Count: 2, Memory: 40 << 30, Share: 500}}})
	}
	name := "a"
	for _, p := range profile.Pool(all, true) {
		c.world.Slices = append(c.world.Slices, resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{
			Driver: profile.Domain, NodeName: &name, Devices: p.Devices, SharedCounters: p.Counters, Pool: resourcev1.ResourcePool{Name: name, ResourceSliceCount: 2}}})
	}
	for i, half := range []string{"gpu-0-half-0", "gpu-1-half-1"} {
		job := []string{"one", "two"}[i]
		c.find(job).Spec.Accelerators.Share = true
		c.worker(job, "a", half)
	}
	c.find("big").Spec.Accelerators.Count = 1
	return c
}

// TestAMoveWithinANode is shown, asked for by the names of the devices, and done once.
func TestAMoveWithinANode(t *testing.T) {
	c := halvedCloud()
	c.turn = becomes(v1alpha1.MoveSaving, v1alpha1.MovePlacing, v1alpha1.MoveMoved)
	became := c.turn
	c.turn = func(c *paperCloud, j *v1alpha1.TrainJob) {
		became(c, j)
		if s := j.Status.Move; s != nil && s.State == v1alpha1.MoveMoved {
			c.worker(j.Name, "a", "gpu-1-half-0")
		}
	}
	d, told := c.defragger()
	var out bytes.Buffer
	if err := d.applyAndShow(t.Context(), &out, "json"); err != nil {
		t.Fatal(err)
	}
	if len(c.asks) != 1 || !cmp.Equal(c.asks[0].Nodes, []string{"a"}) || !cmp.Equal(c.asks[0].Devices, []string{"u1/half/0"}) {
		t.Fatalf("asked for %+v", c.asks)
	}
	var got struct {
		Planned, Left struct {
			Moves []struct {
				Job         string
				To, Named   []string
				GainDevices float64
			}
			After struct{ UselessDevices float64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Planned.Moves) != 1 || got.Planned.Moves[0].Job != "lab/one" || !cmp.Equal(got.Planned.Moves[0].Named, []string{"u1/half/0"}) {
		t.Errorf("%v, %s", err, out.String())
	}
	if len(got.Left.Moves) != 0 || got.Left.After.UselessDevices >= 1 {
		t.Errorf("there is left %+v", got.Left)
	}
	for _, want := range []string{"Moving job lab/one from a to other devices of a", "Job lab/one runs on other devices of a, after epoch 7"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q does not say %q", told.String(), want)
		}
	}

	d, _ = halvedCloud().defragger()
	p, err := d.propose(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := p.show(&text, ""); err != nil || !strings.Contains(text.String(), "other devices of a") || !strings.Contains(text.String(), "▄▄") || !strings.Contains(text.String(), "░█") {
		t.Errorf("%v, the plan is\n%s", err, text.String())
	}
}

// TestAMoveWithinANodeThatIsTaken meanwhile is not made.
func TestAMoveWithinANodeThatIsTaken(t *testing.T) {
	c := halvedCloud()
	c.before = func(c *paperCloud, n int) {
		if n == 3 { // after the plan, before its first move
			c.job("three", "a", "gpu-1-half-0")
		}
	}
	d, told := c.defragger()
	d.flags.movesMax = 1
	var out bytes.Buffer
	if err := d.applyAndShow(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	if len(c.asks) > 0 || !strings.Contains(told.String(), "the other devices of node a have no room for it any more") {
		t.Errorf("asked for %+v; told:\n%s", c.asks, told.String())
	}
}
