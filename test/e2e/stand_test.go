//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

// standIn plays the kubelets of emulated nodes, on which nothing runs: it runs the
// trainer of a job's pod as a process of this machine, as that pod's container would be,
// and says so in the pod's status. The jobs' volumes are directories that all of these
// nodes reach, as they would be of a class on the network.
type standIn struct {
	c       *cloud
	t       testing.TB
	probe   string
	dirs    map[string]string // of the volumes, by job
	pods    map[string]*played
	running sync.WaitGroup
}

// played is the container of one pod.
type played struct {
	cmd  *exec.Cmd
	done chan error
	told bool
}

// standFinalizer keeps a pod until its process has ended.
const standFinalizer = "e2e.polder.dev/stand-in"

// standIn begins to play, until the end of t. Jobs that have no volume by then are not
// run.
func (c *cloud) standIn(t testing.TB, nodes []string, jobs ...string) *standIn {
	t.Helper()
	dir, err := probeDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{c: c, t: t, probe: filepath.Join(dir, "probe"), dirs: map[string]string{}, pods: map[string]*played{}}
	for _, j := range jobs {
		s.dirs[j] = c.sharedVolume(t, j, nodes)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.running.Go(func() { s.play(ctx, nodes) })
	t.Cleanup(func() {
		stop()
		s.running.Wait()
	})
	return s
}

// sharedVolume makes the volume of a job before the job asks for it, which these nodes
// reach. The controllers of the cloud read it as one of this machine, which it is.
func (c *cloud) sharedVolume(t testing.TB, job string, nodes []string) string {
	t.Helper()
	s, err := c.status()
	if err != nil {
		t.Fatal(err)
	}
	name := "shared-" + job
	dir := c.Path("volumes", name)
	for _, sub := range []string{"checkpoints", "metrics", "output"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o770); err != nil {
			t.Fatal(err)
		}
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "polder.dev/local", "polder.dev/node": s.Node}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Mi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: "local", PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:               &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "default", Name: "train-" + job},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: nodes}}}}}},
		},
	}
	if err := c.api(t).Create(brief(t), pv); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		defer cancel()
		if err := c.api(t).Delete(ctx, pv); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("removing volume %s: %v", name, err)
		}
	})
	return dir
}

// play looks after the nodes' pods until ctx ends, and then lets them all go.
func (s *standIn) play(ctx context.Context, nodes []string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.look(ctx, nodes); err != nil && ctx.Err() == nil {
			s.t.Logf("standing in for kubelets: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	for _, p := range s.pods {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	}
	last, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	if pods, err := s.list(last, nodes); err == nil {
		for i := range pods {
			_ = s.release(last, &pods[i]) // what is left goes with the cloud
		}
	}
}

func (s *standIn) list(ctx context.Context, nodes []string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := s.c.api(s.t).List(ctx, &list, kube.InNamespace("default")); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return !slices.Contains(nodes, p.Spec.NodeName) || s.dirs[p.Labels[v1alpha1.LabelTrainJob]] == ""
	}), nil
}

func (s *standIn) look(ctx context.Context, nodes []string) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	pods, err := s.list(ctx, nodes)
	var errs []error
	for i := range pods {
		errs = append(errs, s.tend(ctx, &pods[i]))
	}
	return errors.Join(append(errs, err)...)
}

// tend does for one pod what is next.
func (s *standIn) tend(ctx context.Context, p *corev1.Pod) error {
	run := s.pods[string(p.UID)]
	switch {
	case run == nil && p.DeletionTimestamp != nil:
		return s.release(ctx, p)
	case run == nil && p.Status.Phase == corev1.PodPending:
		return s.start(ctx, p)
	case run == nil:
		return nil
	case p.DeletionTimestamp != nil && !run.told:
		run.told = true
		return run.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case err := <-run.done:
		delete(s.pods, string(p.UID))
		if p.DeletionTimestamp != nil {
			return s.release(ctx, p)
		}
		return s.ended(ctx, p, err)
	default:
		return nil
	}
}

// start runs the trainer as the pod's container would.
func (s *standIn) start(ctx context.Context, p *corev1.Pod) error {
	held := p.DeepCopy()
	held.Finalizers = append(held.Finalizers, standFinalizer)
	if err := s.c.api(s.t).Patch(ctx, held, kube.Changes(p)); err != nil {
		return err
	}
	dir := s.dirs[p.Labels[v1alpha1.LabelTrainJob]]
	cmd := exec.Command(s.probe, "train")
	for _, e := range p.Spec.Containers[0].Env {
		cmd.Env = append(cmd.Env, e.Name+"="+strings.ReplaceAll(e.Value, "/polder/", dir+"/"))
	}
	cmd.Env = append(cmd.Env, "RANK="+p.Annotations[kube.IndexAnnotation])
	if err := cmd.Start(); err != nil {
		return err
	}
	run := &played{cmd: cmd, done: make(chan error, 1)}
	go func() { run.done <- cmd.Wait() }()
	s.pods[string(p.UID)] = run
	now := metav1.Now()
	next := held.DeepCopy()
	next.Status.Phase, next.Status.StartTime = corev1.PodRunning, &now
	next.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Spec.Containers[0].Name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}, Ready: true}}
	return s.c.api(s.t).Status().Patch(ctx, next, kube.Changes(held))
}

// ended says how a trainer ended by itself.
func (s *standIn) ended(ctx context.Context, p *corev1.Pod, err error) error {
	next, code := p.DeepCopy(), int32(0)
	next.Status.Phase = corev1.PodSucceeded
	if err != nil {
		next.Status.Phase, code = corev1.PodFailed, 1
	}
	next.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Spec.Containers[0].Name, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.Now(), Message: fmt.Sprint(err)}}}}
	return s.c.api(s.t).Status().Patch(ctx, next, kube.Changes(p))
}

// release lets a pod go whose process has ended, or never was.
func (s *standIn) release(ctx context.Context, p *corev1.Pod) error {
	next := p.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == standFinalizer })
	if len(next.Finalizers) == len(p.Finalizers) {
		return nil
	}
	if err := s.c.api(s.t).Patch(ctx, next, kube.Changes(p)); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}
