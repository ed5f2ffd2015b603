//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// TestDefrag has two jobs of one device each on two nodes of two, and a third that waits
// for both devices of one: a move makes the room, and the job that is moved goes on from
// its checkpoint. The nodes are emulated, so the test stands in for what would run there.
func TestDefrag(t *testing.T) {
	c := shared(t)
	c.anyChip(t)
	c.trusted(t, "default")
	nodes := []string{"west", "east"}
	for _, n := range nodes {
		c.emulate(t, n, dumpOf(t, 2, "nvidia", "NVIDIA H100 80GB HBM3", 81559))
	}
	small := []string{"move-one", "move-two"}
	stand := c.standIn(t, nodes, small...)
	c.fragment(t, small, nodes)
	big := c.onGPUs("move-big", 2)
	c.submit(t, big)
	c.awaitJob(t, big.Name, "waiting for room", jobLimit, func(j *v1alpha1.TrainJob) bool { return strings.Contains(j.Status.Message, "nodes") })

	t.Run("a plan", func(t *testing.T) {
		p := c.plan(t)
		if len(p.Moves) != 1 || p.Before.UselessDevices != 1 || p.After.UselessDevices != 0 {
			t.Fatalf("the plan is %+v", p)
		}
		text := c.must(t, "defrag", "--plan") // of either job: they cost the same
		if !strings.Contains(text, "default/move-") || !strings.Contains(text, "2 of 4 devices are idle, 1 of them of no use") {
			t.Errorf("it is shown as\n%s", text)
		}
		t.Log(text)
	})
	t.Run("who may", func(t *testing.T) { c.movers(t) })
	t.Run("is made", func(t *testing.T) {
		began := time.Now()
		out, errs, code := c.run("defrag", "--apply", "-o", "json")
		t.Logf("polder defrag --apply took %.1f s:\n%s", time.Since(began).Seconds(), errs)
		var did struct {
			Planned, Left planned
			Done          []moveDone
		}
		if err := json.Unmarshal([]byte(out), &did); code != 0 || err != nil || len(did.Done) != 1 || did.Done[0].State != v1alpha1.MoveMoved || did.Left.Before.UselessDevices != 0 {
			t.Fatalf("exit code %d, %v\n%s", code, err, out)
		}
		m := did.Done[0]
		_, name, _ := strings.Cut(m.Job, "/")
		if !strings.Contains(errs, "Job "+m.Job+" runs on "+m.To[0]) {
			t.Errorf("it is told\n%s", errs)
		}
		c.movedTo(t, name, m.To[0], 1)
		stand.resumed(t, name, 1)
		j := c.awaitJob(t, big.Name, "being placed", jobLimit, func(j *v1alpha1.TrainJob) bool { return j.Status.Devices != "" })
		if !strings.HasPrefix(j.Status.Devices, "2 x ") || !strings.HasSuffix(j.Status.Devices, "on node "+m.From[0]+" (emulated)") {
			t.Errorf("the job that waited has %q, want 2 on node %s", j.Status.Devices, m.From[0])
		}
		if out := c.must(t, "defrag", "--plan"); !strings.Contains(out, "No move would gain") {
			t.Errorf("there is something left to do:\n%s", out)
		}
	})
	c.gone(t, big.Name)
	t.Run("one by hand, and one whose polder is killed", func(t *testing.T) {
		c.move(t, small[0], c.other(t, small[1], nodes))
		stand.killedPolder(t)
	})
	t.Run("a place that is taken", func(t *testing.T) { c.takenPlace(t, small, nodes) })
	for _, name := range small {
		c.finish(t, name)
		j := c.awaitJob(t, name, "succeeding", jobLimit, inState(v1alpha1.StateSucceeded))
		if j.Status.Restarts != j.Status.Moves {
			t.Errorf("%s was restarted %d times and moved %d times", name, j.Status.Restarts, j.Status.Moves)
		}
	}
}

// movers may plan moves; others are told what it takes.
func (c *cloud) movers(t *testing.T) {
	for group, want := range map[string]int{"polder:movers": 0, "students": 1} {
		file := c.kubeconfigAs(t, map[string]any{"as": "somebody", "as-groups": []string{group, "system:authenticated"}})
		if _, errs, code := c.run("defrag", "--plan", "--kubeconfig", file); code != want || code != 0 && !strings.Contains(errs, "ClusterRole polder:defrag") {
			t.Errorf("of the group %s: exit code %d, %s", group, code, errs)
		}
	}
	if _, errs, code := c.run("defrag", "--plan", "-n", "nowhere"); code != 2 || !strings.Contains(errs, "--namespace nowhere is none of this cloud") {
		t.Errorf("a namespace that is not there: exit code %d, %s", code, errs)
	}
}

// onGPUs is a job that wants so many, with its volume on the class that all reach.
func (c *cloud) onGPUs(name string, devices int32) *v1alpha1.TrainJob {
	j := tinyJob(name, 1, map[string]string{"epochs": "100000", "pace": "200ms"})
	j.Spec.Runtime, j.Spec.Accelerators = "any-chip", v1alpha1.Accelerators{Count: devices, Kinds: []string{"gpu"}}
	j.Spec.Checkpoints.StorageClass = "local"
	return j
}

// fragment starts one job on each node, and returns when they have saved their work.
func (c *cloud) fragment(t *testing.T, jobs, nodes []string) {
	t.Helper()
	for i, name := range jobs {
		c.cordon(t, nodes[1-i], true)
		c.submit(t, c.onGPUs(name, 1))
		c.awaitJob(t, name, "saving its work", jobLimit, pastEpoch(3))
		waitFor(t, time.Minute, "its worker bearing when it saved, for the scheduler", func(ctx context.Context) error {
			pods, err := c.workers(ctx, t, name)
			if err == nil && (len(pods) != 1 || pods[0].Annotations[v1alpha1.AnnotationSaved] == "") {
				err = fmt.Errorf("%d workers, and the mark is not there", len(pods))
			}
			return err
		})
		c.cordon(t, nodes[1-i], false)
		if on := c.nodeOf(t, name); on != nodes[i] {
			t.Fatalf("job %s is on node %q, not on %s", name, on, nodes[i])
		}
	}
}

func (c *cloud) cordon(t testing.TB, node string, on bool) {
	t.Helper()
	var n corev1.Node
	if err := c.api(t).Get(brief(t), kube.Key("", node), &n); err != nil {
		t.Fatal(err)
	}
	before := n.DeepCopy()
	n.Spec.Unschedulable = on
	if err := c.api(t).Patch(brief(t), &n, kube.Changes(before)); err != nil {
		t.Fatal(err)
	}
}

// nodeOf is where a job's worker is.
func (c *cloud) nodeOf(t testing.TB, job string) string {
	t.Helper()
	pods, err := c.workers(brief(t), t, job)
	if err != nil || len(pods) != 1 {
		t.Fatalf("job %s has %d workers (%v)", job, len(pods), err)
	}
	return pods[0].Spec.NodeName
}

// other is the node on which a job is not.
func (c *cloud) other(t testing.TB, job string, nodes []string) string {
	if c.nodeOf(t, job) == nodes[0] {
		return nodes[1]
	}
	return nodes[0]
}

// planned is what `polder defrag --plan -o json` prints.
type planned struct {
	Before, After struct{ UselessDevices float64 }
	Moves         []moveDone
}

// moveDone is a move that is planned or made.
type moveDone struct {
	Job      string
	From, To []string
	State    v1alpha1.MoveState
}

func (c *cloud) plan(t testing.TB, args ...string) (p planned) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.must(t, append([]string{"defrag", "--plan", "-o", "json"}, args...)...)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// movedTo sees that a job runs on a node after so many moves.
func (c *cloud) movedTo(t *testing.T, job, node string, moves int32) {
	t.Helper()
	j := c.awaitJob(t, job, "running on "+node, jobLimit, func(j *v1alpha1.TrainJob) bool {
		return j.Status.State == v1alpha1.StateRunning && j.Status.Moves == moves && j.Status.Move != nil && j.Status.Move.State == v1alpha1.MoveMoved
	})
	if on := c.nodeOf(t, job); on != node || j.Status.Restarts != moves {
		t.Errorf("job %s is on node %q after %d restarts; want %s, %d", job, on, j.Status.Restarts, node, moves)
	}
}

// resumed sees in what the trainer wrote that each start but the first went on from a
// checkpoint, and that no epoch is missing. A job that was moved no times began once.
func (s *standIn) resumed(t *testing.T, job string, times int) {
	t.Helper()
	var lines, starts []metricLine
	waitFor(t, time.Minute, fmt.Sprintf("word of job %s of %d starts", job, times+1), func(context.Context) error { // it runs before it says so
		lines = metricLines(t, filepath.Join(s.dirs[job], "metrics", "metrics.jsonl"))
		if starts = events(lines, "start"); len(starts) != times+1 {
			return fmt.Errorf("it began %d times", len(starts))
		}
		return nil
	})
	last := int64(0)
	for _, l := range lines {
		switch {
		case l.Event == "start" && l.ResumedFrom != last: // it saves before it tells, and is ended before the next
			t.Errorf("job %s began after epoch %d, and had done %d", job, l.ResumedFrom, last)
		case l.Event == "epoch" && l.Epoch != last+1:
			t.Errorf("job %s: epoch %d follows %d", job, l.Epoch, last)
		}
		last = max(l.Epoch, l.ResumedFrom)
	}
	if times > 0 && starts[times].ResumedFrom < 3 {
		t.Errorf("job %s went on from epoch %d, which shows nothing", job, starts[times].ResumedFrom)
	}
}

// move asks for a move as any client may, and waits for it.
func (c *cloud) move(t *testing.T, job, node string) {
	t.Helper()
	c.movedTo(t, job, node, c.ask(t, job, node, 120).Status.Moves+1)
}

// ask asks for a move, for which the place may be so long in coming.
func (c *cloud) ask(t *testing.T, job, node string, placeSeconds int64) *v1alpha1.TrainJob {
	t.Helper()
	j, err := c.job(brief(t), t, job)
	if err != nil {
		t.Fatal(err)
	}
	next := j.DeepCopy()
	next.Spec.Move = &v1alpha1.Move{Asked: metav1.NewTime(time.Now().Truncate(time.Second)), Restarts: j.Status.Restarts, Nodes: []string{node}, PlaceSeconds: &placeSeconds}
	if err := c.api(t).Patch(brief(t), next, kube.Changes(j)); err != nil {
		t.Fatal(err)
	}
	return j
}

// takenPlace has a job moved to a node whose devices others have: it is not left waiting.
func (c *cloud) takenPlace(t *testing.T, small, nodes []string) {
	full := c.nodeOf(t, small[1])
	free := c.other(t, small[1], nodes)
	c.move(t, small[0], free)
	c.cordon(t, free, true)
	third := c.onGPUs("move-third", 1)
	c.submit(t, third)
	c.awaitJob(t, third.Name, "being placed", jobLimit, func(j *v1alpha1.TrainJob) bool {
		return strings.HasSuffix(j.Status.Devices, "on node "+full+" (emulated)")
	})
	c.cordon(t, free, false)
	before := c.ask(t, small[0], full, 5)
	j := c.awaitJob(t, small[0], "running again", jobLimit, func(j *v1alpha1.TrainJob) bool {
		m := j.Status.Move
		return m != nil && m.State == v1alpha1.MoveElsewhere && j.Status.State == v1alpha1.StateRunning && j.Status.Ready == 1
	})
	if on := c.nodeOf(t, small[0]); on != free || !strings.Contains(j.Status.Move.Message, "no room on "+full) || j.Status.Moves != before.Status.Moves+2 {
		t.Errorf("it is on node %s, after %d moves: %s", on, j.Status.Moves, j.Status.Move.Message)
	}
	c.gone(t, third.Name)
}

// killedPolder kills --apply as soon as the cloud has answered: the move is completed
// without it, and another run has nothing to do.
func (s *standIn) killedPolder(t *testing.T) {
	c := s.c
	before := map[string]*v1alpha1.TrainJob{}
	for name := range s.dirs {
		j, err := c.job(brief(t), t, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = j
	}
	cmd := exec.Command(c.bin, "defrag", "--apply", "--for", "2", "--data-dir="+c.Dir)
	cmd.Env = c.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var moving *v1alpha1.TrainJob
	waitFor(t, time.Minute, "the cloud's answer", func(ctx context.Context) error {
		for name, was := range before {
			j, err := c.job(ctx, t, name)
			if err != nil {
				return err
			}
			if m := j.Status.Move; m != nil && (was.Status.Move == nil || !m.Asked.Equal(&was.Status.Move.Asked)) {
				moving = j
				return nil
			}
		}
		return errors.New("no job is being moved")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	out, errs, code := c.run("defrag", "--apply", "--for", "2")
	t.Logf("the run after one that was killed:\n%s%s", errs, out)
	if code != 0 || !strings.Contains(out, "No move would gain enough") {
		t.Errorf("exit code %d", code)
	}
	c.movedTo(t, moving.Name, moving.Status.Move.Nodes[0], before[moving.Name].Status.Moves+1)
	s.resumed(t, moving.Name, int(before[moving.Name].Status.Restarts)+1)
}
